"""What stops a run before it starts, and the reports on caches."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from tiny_corpus import RECORDINGS

from bgb.data.cache import Cache
from bgb.data.check import as_text, check_cache, refuse_missing, summarise, summary_text
from bgb.data.npz import write_npz
from bgb.data.verify import (
    inspect_table,
    list_caches,
    list_table,
    verify_cache,
    verify_table,
)
from bgb.eeg.events import Event
from bgb.errors import CacheError


def changed(cache: Cache, recording_id: str, **changes) -> Cache:
    """Return the cache with another manifest entry for one recording."""
    return Cache(
        cache.folder,
        tuple(
            replace(item, entry=replace(item.entry, **changes))
            if item.recording_id == recording_id
            else item
            for item in cache
        ),
    )


def test_good_cache_passes(cache):
    check_cache(cache)


def test_split_without_seizures_stops_with_the_table(cache):  # lessons 1, 14, 36
    with pytest.raises(CacheError, match=r"split dev has no seizure in 1 recordings") as caught:
        check_cache(changed(cache, "aaaaaaac_s001_t000", events=()))
    assert "recordings" in str(caught.value) and "train" in str(caught.value)


def test_empty_split_stops(cache):
    only_train = Cache(cache.folder, cache.split("train"))
    with pytest.raises(CacheError, match="split dev has no recording"):
        check_cache(only_train)
    check_cache(only_train, splits=["train"])


def test_patient_in_two_splits_stops(cache):  # lesson 10
    with pytest.raises(CacheError, match="patient aaaaaaaa is in train and dev: leakage"):
        check_cache(changed(cache, "aaaaaaac_s001_t000", patient="aaaaaaaa"))


def test_labels_past_the_end_stop(cache):  # lesson 4
    late = (Event(4.0, 21.0),)
    with pytest.raises(CacheError, match=r"aaaaaaac_s001_t000: seiz ends at 21.0 s, the signal at"):
        check_cache(changed(cache, "aaaaaaac_s001_t000", events=late))


def test_missing_electrodes_can_be_refused(cache):
    with pytest.raises(
        CacheError, match=r"1 recordings lack electrodes: aaaaaaaa_s001_t001 \(Fz, Pz\)"
    ):
        refuse_missing(cache)


def test_summary_counts(cache):
    train, dev, _ = summarise(cache)
    assert (train.split, train.num_recordings, train.num_patients) == ("train", 3, 2)
    assert train.hours == pytest.approx(82.5 / 3600)
    assert (train.num_seizures, train.seizure_s, train.num_incomplete) == (2, 18.75, 1)
    assert dev.seizure_percent == pytest.approx(100 * 8 / 20.5)
    assert "seizure s" in summary_text(cache)


def test_verify_finds_nothing_wrong_with_a_sound_cache(cache):
    files = verify_cache(cache.folder)
    assert len(files) == len(RECORDINGS)
    assert {file.problem for file in files} == {None}


def test_verify_finds_a_flipped_bit_and_says_how_to_mend(cache, tmp_path):
    folder = shutil.copytree(cache.folder, tmp_path / cache.folder.name)
    path = folder / "dev" / "aaaaaaac_s001_t000.npz"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(bytes(data))
    (folder / "eval" / "aaaaaaad_s001_t000.npz").write_bytes(bytes(data[:9000]))
    problems = {file.path: file.problem for file in verify_cache(folder) if file.problem}
    assert set(problems) == {"dev/aaaaaaac_s001_t000.npz", "eval/aaaaaaad_s001_t000.npz"}
    assert "CRC" in problems["dev/aaaaaaac_s001_t000.npz"]
    assert "action=build" in as_text(verify_table(verify_cache(folder)))


def test_verify_compares_the_signal_with_its_own_crc(cache, tmp_path):
    folder = shutil.copytree(cache.folder, tmp_path / cache.folder.name)
    path = folder / "dev" / "aaaaaaac_s001_t000.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        members = {name: archive[name] for name in ("signal", "events", "meta")}
    members["signal"][3, 2, 1] += 1
    write_npz(path, members)  # a sound zip with another signal
    problems = [file.problem for file in verify_cache(folder) if file.problem]
    assert problems == ["the signal differs from its CRC"]


def test_list_shows_every_cache_below_a_root(cache):
    (listing,) = list_caches(cache.folder.parent.parent)
    assert (listing.corpus, listing.key) == ("tusz", cache.folder.name)
    assert listing.num_recordings == {"train": 3, "dev": 1, "eval": 1}
    assert (listing.manifest, listing.num_unfinished) == ("current", 0)
    assert cache.folder.name in as_text(list_table([listing]))


def test_inspect_shows_statistics_and_missing_channels(cache):
    text = as_text(inspect_table(cache["aaaaaaaa_s001_t001"]))
    assert "Fz (missing)" in text
    assert "12.5 s" in text
