"""Real recordings through the cache: Helsinki (BIDS, electrodes) and CHB-MIT (bipolar)."""

import json

import numpy as np
import pytest

from bgb.config.data import BidsCorpus, DataConfig, PreprocessConfig
from bgb.corpora import find_corpus
from bgb.data.build import build_cache
from bgb.data.cache import open_cache
from bgb.data.check import check_cache
from bgb.data.tiles import tile_recording
from bgb.data.verify import verify_cache
from bgb.eeg import read_recording
from bgb.eeg.filters import preprocess_reference
from bgb.eeg.montage import DOUBLE_BANANA, ELECTRODES

pytestmark = pytest.mark.real_data


def test_helsinki_clips_are_cached_as_scipy_filters_them(real_data, tmp_path):
    root = real_data / "helsinki_neonatal"
    config = DataConfig(
        corpus=BidsCorpus(), root=str(root), cache_root=str(tmp_path), limit=3, workers=1
    )
    corpus = find_corpus(config)
    cache = open_cache(build_cache(config, corpus).folder)
    assert len(cache) == len(corpus.recordings) == 9
    check_cache(cache, splits=["train", "dev"])
    assert not any(file.problem for file in verify_cache(cache.folder))
    first, source = cache.recordings[0], corpus.recordings[-3]
    assert first.recording_id == source.recording_id
    recording = read_recording(source.edf, annotations=None)
    labels = [label.split()[-1].split("-")[0].upper() for label in recording.channels]
    rows = [labels.index(name.upper()) for name in ELECTRODES]
    expected_CT = preprocess_reference(
        recording.signals_CT[rows], recording.rate_hz, config.preprocess
    )
    np.testing.assert_allclose(first.signal_CT(), expected_CT, atol=0.06)
    assert str(root) not in json.dumps(first.meta)


def test_bipolar_source_is_tiled_as_the_double_banana(real_data):
    path = sorted((real_data / "chbmit_clips" / "chb01").glob("*.edf"))[0]
    tiled = tile_recording(
        read_recording(path, annotations=None), PreprocessConfig(), max_missing=0
    )
    assert tiled.spec.channel_set == "double_banana"
    assert tiled.spec.channels == DOUBLE_BANANA
    assert tiled.tiles_SCR.shape[1:] == (18, 256)
    assert tiled.present_C.all()
