"""The key hashes what changes the bytes, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_corpus import config_for

from bgb.config.data import (
    BidsCorpus,
    PreprocessConfig,
    SamplingConfig,
    SplitConfig,
    SyntheticCorpus,
    TuszCorpus,
)
from bgb.data import key
from bgb.data.key import cache_folder, cache_key

CONFIG = config_for(Path("/edf"), Path("/cache"))


@pytest.mark.parametrize(
    "change",
    [
        {"preprocess": PreprocessConfig(rate_hz=128, lowpass_hz=50.0)},
        {"preprocess": replace(CONFIG.preprocess, notch_hz=30.0)},
        {"corpus": TuszCorpus(labels="csv")},  # lesson 3: other labels, other cache
        {"corpus": SyntheticCorpus(seed=1)},
    ],
)
def test_what_changes_the_bytes_changes_the_key(change):
    assert cache_key(replace(CONFIG, **change)) != cache_key(CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"root": "/elsewhere"},
        {"cache_root": "/elsewhere"},
        {"window_s": 60},
        {"workers": 7},
        {"limit": 3},
        {"exclude": ["x"]},
        {"sampling": SamplingConfig(windows_per_epoch=1)},
        {"split": SplitConfig(mode="official")},
        {"split": SplitConfig(seed=5)},  # TUSZ has an official split: the seed is not used
    ],
)
def test_what_leaves_the_bytes_alone_leaves_the_key_alone(change):
    assert cache_key(replace(CONFIG, **change)) == cache_key(CONFIG)


def test_label_vocabulary_and_format_version_are_in_the_key(monkeypatch):  # lesson 3
    before = cache_key(CONFIG)
    monkeypatch.setattr(key, "LABEL_VOCABULARY", "seizure:seiz")
    other_labels = cache_key(CONFIG)
    monkeypatch.setattr(key, "FORMAT_VERSION", key.FORMAT_VERSION + 1)
    assert len({before, other_labels, cache_key(CONFIG)}) == 3


def test_drawn_splits_have_caches_of_their_own():  # lesson 10: no folder holds two assignments
    bids = replace(CONFIG, corpus=BidsCorpus())
    drawn = [
        replace(bids, split=SplitConfig(mode="fractions", seed=0)),
        replace(bids, split=SplitConfig(mode="fractions", seed=1)),
        replace(bids, split=SplitConfig(mode="list", train=["01"], dev=["02"], eval=["03"])),
        replace(bids, split=SplitConfig(mode="column")),
    ]
    assert len({cache_key(config) for config in drawn}) == 4
    listed = replace(bids, split=SplitConfig(mode="list", train=["2", "1"], dev=["3"]))
    same = replace(bids, split=SplitConfig(mode="list", train=["1", "2"], dev=["3"], seed=9))
    assert cache_key(listed) == cache_key(same)


def test_whole_numbers_and_decimals_are_one_key():
    decimal = replace(CONFIG, preprocess=replace(CONFIG.preprocess, lowpass_hz=25.0))
    whole = replace(CONFIG, preprocess=replace(CONFIG.preprocess, lowpass_hz=25))
    assert cache_key(decimal) == cache_key(whole)


def test_folder_is_root_corpus_key():
    folder = cache_folder(CONFIG)
    assert folder == Path("/cache") / "tusz" / cache_key(CONFIG)
    assert len(folder.name) == 16
