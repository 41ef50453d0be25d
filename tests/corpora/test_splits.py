"""Splits: whole patients only, by lists or stratified fractions; every corpus dispatches."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgb.config.data import (
    CORPORA,
    BidsCorpus,
    ChbmitCorpus,
    DataConfig,
    SienaCorpus,
    SplitConfig,
    SyntheticCorpus,
    TuszCorpus,
)
from bgb.corpora import CorpusRecording, find_corpus
from bgb.corpora.base import Finding, SplitCounts
from bgb.corpora.splits import assign_splits, check_leakage, draw_fractions
from bgb.errors import BgbError, CorpusError

SEIZURE = "channel,start_time,stop_time,label\nTERM,1,2,seiz\n"
NONE = "channel,start_time,stop_time,label\nTERM,0,9,bckg\n"


def recording(patient: str, labels: str = "", split: str = "", number: int = 0) -> CorpusRecording:
    return CorpusRecording(f"{patient}_{number}", patient, split, "x.edf", labels or None)


def finding(*patients: str, **options: Any) -> Finding:  # Any: fields of Finding
    return Finding("siena", tuple(recording(patient) for patient in patients), **options)


def split_of(found: Finding, config: SplitConfig) -> dict[str, str]:
    return {one.patient: one.split for one in assign_splits(found, config)}


def test_patient_in_two_splits_is_named() -> None:
    """Lesson 10: a patient on both sides once voided every result."""
    leaking = [recording("p1", split="train"), recording("p1", split="dev"), recording("p2")]
    with pytest.raises(CorpusError, match=r"1 patients stand in more than one split: \{'p1'"):
        check_leakage(leaking)


def test_auto_prefers_official_then_column_then_lists_then_fractions() -> None:
    lists = SplitConfig(train=["a"], dev=["b"], eval=["c"])
    column = {"a": "eval", "b": "train", "c": "dev"}
    found = finding("a", "b", "c")
    official = Finding("tusz", tuple(recording(p, split="dev") for p in "abc"), official=True)
    assert set(split_of(replace(official, column=column), lists).values()) == {"dev"}
    assert split_of(replace(found, column=column), lists) == column
    assert split_of(found, lists) == {"a": "train", "b": "dev", "c": "eval"}
    assert set(split_of(found, SplitConfig()).values()) == {"train", "dev", "eval"}


@pytest.mark.parametrize("mode", ["official", "column"])
def test_mode_that_the_corpus_cannot_offer_is_refused(mode: str) -> None:
    with pytest.raises(CorpusError, match=f"data.split.mode={mode} is not possible: .*siena"):
        assign_splits(finding("a", "b", "c"), SplitConfig(mode=mode))


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (SplitConfig(mode="list", train=["a", "z"]), r"lacks: \['z'\]; it has \['a', 'b'\]"),
        (SplitConfig(mode="list", train=["a"], dev=["a", "b"]), r"more than once: \['a'\]"),
        (SplitConfig(mode="list", train=["a"]), r"\['b'\]; assign them, or .*data.exclude=\[b\]"),
    ],
)
def test_wrong_lists_are_refused(config: SplitConfig, problem: str) -> None:
    with pytest.raises(CorpusError, match=problem):
        assign_splits(finding("a", "b"), config)


def test_lists_may_leave_a_split_empty() -> None:
    assert split_of(finding("a"), SplitConfig(mode="list", eval=["a"])) == {"a": "eval"}


def test_fractions_are_a_function_of_seed_and_patients_alone() -> None:
    patients = [f"p{n}" for n in range(40)]
    config = SplitConfig(mode="fractions", seed=3)
    once = draw_fractions(patients, patients[:9], config)
    assert draw_fractions(patients[::-1], set(patients[:9]), config) == once
    assert draw_fractions(patients, patients[:9], replace(config, seed=4)) != once


def test_one_patient_more_moves_few_others() -> None:
    patients = [f"p{n}" for n in range(40)]
    config = SplitConfig()
    once = draw_fractions(patients, patients, config)
    for new in range(20):
        again = draw_fractions([*patients, f"new{new}"], [*patients, f"new{new}"], config)
        assert sum(again[patient] != once[patient] for patient in patients) <= 4


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.45, 0.49])
def test_no_split_is_empty_and_seizures_land_in_every_split(fraction: float) -> None:
    config = SplitConfig(dev_fraction=fraction, eval_fraction=fraction)
    for count in range(3, 30):
        patients = [f"p{n}" for n in range(count)]
        for seizing in range(count + 1):
            drawn = draw_fractions(patients, patients[:seizing], config)
            assert sorted(drawn) == sorted(patients)
            assert set(drawn.values()) == {"train", "dev", "eval"}
            wanted = 3 if seizing >= 3 else min(seizing, 2)
            assert len({drawn[patient] for patient in patients[:seizing]}) == wanted


def test_shares_are_those_asked_for() -> None:
    patients = [f"p{n}" for n in range(100)]
    drawn = list(draw_fractions(patients, patients[:30], SplitConfig(eval_fraction=0.1)).values())
    assert [drawn.count(split) for split in ("train", "dev", "eval")] == [70, 20, 10]


def test_fewer_than_three_patients_cannot_be_split_by_fractions() -> None:
    with pytest.raises(CorpusError, match=r"needs 3 patients or more, found \['a', 'b'\]"):
        assign_splits(finding("a", "b"), SplitConfig(mode="fractions"))


def test_patients_with_seizures_are_known_from_their_label_files(tmp_path: Path) -> None:
    recordings = []
    for number in range(12):
        labels = tmp_path / f"p{number}.csv_bi"
        labels.write_text(SEIZURE if number < 3 else NONE)
        recordings.append(recording(f"p{number}", str(labels)))
    for seed in range(5):
        drawn = split_of(Finding("siena", tuple(recordings)), SplitConfig(seed=seed))
        assert {drawn["p0"], drawn["p1"], drawn["p2"]} == {"train", "dev", "eval"}


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_of_the_configuration_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A corpus without a finder would pass the configuration and fail only here."""
    asked = []
    monkeypatch.setattr(
        "bgb.corpora.synthetic.ensure_synthetic", lambda *_, **__: asked.append(name)
    )
    config = DataConfig(corpus=CORPORA[name](), root=str(tmp_path), cache_root="cache")
    with pytest.raises(BgbError, match=f"no .*under {tmp_path}"):
        find_corpus(config)
    assert asked == (["synthetic"] if name == "synthetic" else [])


@pytest.mark.parametrize(
    ("corpus", "key"),
    [(TuszCorpus, "train"), (ChbmitCorpus, "all"), (SienaCorpus, "all"), (BidsCorpus, None)],
)
def test_every_corpus_declares_its_counts(
    corpus: type[TuszCorpus | ChbmitCorpus | SienaCorpus | BidsCorpus], key: str | None
) -> None:
    from bgb.corpora import chbmit, siena, tusz

    published: dict[type, dict[str, SplitCounts]] = {
        TuszCorpus: tusz.PUBLISHED,
        ChbmitCorpus: chbmit.PUBLISHED,
        SienaCorpus: siena.PUBLISHED,
    }
    counts = published.get(corpus, {})
    assert (key in counts) == (key is not None)
    assert all(one.recordings >= one.patients > 0 for one in counts.values())


def test_synthetic_corpus_is_read_as_tusz_but_has_no_published_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(root: Path, config: SyntheticCorpus, *, progress: bool) -> None:
        for split in ("train", "dev", "eval"):
            folder = root / "edf" / split / f"{split}p" / "s001_2020" / "01_tcp_ar"
            folder.mkdir(parents=True)
            for suffix in (".edf", ".csv_bi"):
                (folder / f"{split}p_s001_t000{suffix}").touch()

    monkeypatch.setattr("bgb.corpora.synthetic.ensure_synthetic", write)
    config = DataConfig(corpus=SyntheticCorpus(), root=str(tmp_path), cache_root="cache")
    corpus = find_corpus(config, progress=False)
    assert (corpus.name, len(corpus.recordings)) == ("synthetic", 3)
    assert (corpus.expected, corpus.remarks) == ({}, ())
