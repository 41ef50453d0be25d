"""TUSZ: the official tree, v1.5 and flat folders; counts, missing labels, exclusions and limits."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from bgb.config.data import DataConfig, SplitConfig, TuszCorpus
from bgb.corpora import Corpus, find_corpus, load_recording
from bgb.errors import CorpusError

V2 = {
    "train": "edf/train/aaaaaaac/s001_2002/02_tcp_le/aaaaaaac_s001_t000",
    "train again": "edf/train/aaaaaaac/s001_2002/02_tcp_le/aaaaaaac_s001_t001",
    "dev": "edf/dev/aaaaadkb/s010_2016/01_tcp_ar/aaaaadkb_s010_t000",
    "eval": "edf/eval/aaaaaaaq/s007_2014/03_tcp_ar_a/aaaaaaaq_s007_t000",
}
V1_5 = {
    "train": "edf/train/01_tcp_ar/065/00006514/s005_2011_09_21/00006514_s005_t000",
    "dev": "edf/dev/01_tcp_ar/002/00000258/s001_2003_07_16/00000258_s001_t000",
}


def plant(root: Path, stems: Iterable[str], suffixes: Iterable[str] = (".edf", ".csv_bi")) -> None:
    """Make empty files; finding reads names alone."""
    for stem in stems:
        for suffix in suffixes:
            file = root / f"{stem}{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


def find(root: Path | str, *, labels: str = "csv_bi", **options: Any) -> Corpus:  # Any: any key
    corpus = TuszCorpus(labels=labels)
    return find_corpus(DataConfig(corpus=corpus, root=str(root), cache_root="cache", **options))


def splits(corpus: Corpus) -> dict[str, tuple[str, str]]:
    return {one.recording_id: (one.patient, one.split) for one in corpus.recordings}


@pytest.mark.parametrize("below", ["", "edf"])
def test_official_tree_is_found_from_root_or_root_edf(tmp_path: Path, below: str) -> None:
    plant(tmp_path, V2.values())
    corpus = find(tmp_path / below)
    assert splits(corpus) == {
        "aaaaadkb_s010_t000": ("aaaaadkb", "dev"),
        "aaaaaaaq_s007_t000": ("aaaaaaaq", "eval"),
        "aaaaaaac_s001_t000": ("aaaaaaac", "train"),
        "aaaaaaac_s001_t001": ("aaaaaaac", "train"),
    }
    assert list(splits(corpus)) == [one.recording_id for one in corpus.recordings]
    first = corpus.recordings[0]
    assert first.edf == str(tmp_path / f"{V2['dev']}.edf")
    assert first.labels == str(tmp_path / f"{V2['dev']}.csv_bi")


def test_flat_folders_take_the_patient_from_the_file_name(tmp_path: Path) -> None:
    plant(tmp_path, ["train/p1_s001_t000", "train/p1_s001_t001", "dev/p2_a", "eval/p3_a"])
    corpus = find(tmp_path)
    assert {one.patient for one in corpus.recordings} == {"p1", "p2", "p3"}
    assert corpus.expected == {}
    assert corpus.remarks == ()


def test_tree_on_a_remote_file_system_is_found() -> None:
    url = "memory://test_tusz/corpus"
    for stem in V2.values():
        for suffix in (".edf", ".csv_bi"):
            with fsspec.open(f"{url}/{stem}{suffix}", "wb") as file:
                file.write(b"x")
    corpus = find(url)
    assert len(corpus.recordings) == 4
    assert corpus.recordings[0].labels == f"{url}/{V2['dev']}.csv_bi"
    with pytest.raises(CorpusError, match=r"does not exist or is empty; set data\.root"):
        find("memory://test_tusz/nothing")


def test_links_are_followed_and_hidden_files_are_not_recordings(tmp_path: Path) -> None:
    plant(tmp_path / "real", V2.values())
    plant(tmp_path / "real/edf/dev/aaaaadkb/s010_2016/01_tcp_ar", ["._aaaaadkb_s010_t000"])
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "edf").symlink_to(tmp_path / "real" / "edf")
    assert len(find(tmp_path / "corpus").recordings) == 4


def test_missing_root_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"data.root='.*/none' does not exist .* set data.root"):
        find(tmp_path / "none")


def test_folder_names_other_than_train_dev_eval_are_refused(tmp_path: Path) -> None:
    """Lesson 11: `val` is not a split."""
    plant(tmp_path, ["val/p1_a", "test/p2_a"])
    with pytest.raises(CorpusError, match=r"found there: \['test', 'val'\].*train, dev and eval"):
        find(tmp_path)


def test_file_in_the_folder_of_another_patient_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, ["edf/train/aaaaaaac/s001_2002/02_tcp_le/aaaaaaad_s001_t000"])
    with pytest.raises(CorpusError, match="the file name says patient 'aaaaaaad', its folders"):
        find(tmp_path)


def test_v1_5_has_no_eval_and_says_so(tmp_path: Path) -> None:
    plant(tmp_path, V1_5.values(), (".edf", ".tse"))
    corpus = find(tmp_path, labels="tse")
    assert splits(corpus) == {
        "00000258_s001_t000": ("00000258", "dev"),
        "00006514_s005_t000": ("00006514", "train"),
    }
    assert corpus.expected == {}
    assert "no recordings in ['eval'] (v1.5 has no eval" in corpus.remarks[0]


def test_patient_of_v1_5_2_in_train_and_dev_is_leakage(tmp_path: Path) -> None:
    """Lesson 10."""
    twice = V1_5["train"].replace("edf/train", "edf/dev").replace("s005", "s006")
    plant(tmp_path, [*V1_5.values(), twice], (".edf", ".tse"))
    with pytest.raises(CorpusError) as error:
        find(tmp_path, labels="tse")
    assert "{'00006514': ['dev', 'train']}" in str(error.value)
    assert "data.exclude=[00006514]" in str(error.value)
    corpus = find(tmp_path, labels="tse", exclude=["00006514"])
    assert list(splits(corpus)) == ["00000258_s001_t000"]
    split = SplitConfig(mode="list", train=["00006514"], dev=["00000258"])
    corpus = find(tmp_path, labels="tse", split=split)
    assert [one.split for one in corpus.recordings] == ["dev", "train", "train"]


def test_counts_that_differ_from_the_published_are_a_remark(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant(tmp_path, V2.values())
    corpus = find(tmp_path)
    assert corpus.expected["train"].recordings == 4664
    remark = "train has 2 recordings (published 4664) of 1 patients (published 579)"
    assert remark in corpus.remarks
    assert f"corpus tusz: {remark}" in caplog.text


def test_incomplete_corpus_is_refused_where_completeness_is_expected(tmp_path: Path) -> None:
    plant(tmp_path, V2.values())
    with pytest.raises(
        CorpusError, match=r"not as published \(train has 2 .*expect_complete=false"
    ):
        find(tmp_path, expect_complete=True)


def test_missing_label_file_stops_with_its_name(tmp_path: Path) -> None:
    """Lesson 8: a missing label file once became a recording without seizures."""
    plant(tmp_path, V2.values())
    plant(tmp_path, [f"edf/dev/p/s001_2000/01_tcp_ar/p_s001_t{n:03d}" for n in range(12)], [".edf"])
    with pytest.raises(CorpusError) as error:
        find(tmp_path)
    text = str(error.value)
    assert "12 of 16 recordings have no labels" in text
    assert text.count("p_s001_t") == 10
    assert "data.missing_labels=skip" in text


def test_missing_label_file_is_left_out_on_request_and_said(tmp_path: Path) -> None:
    plant(tmp_path, V2.values())
    plant(tmp_path, ["edf/dev/p/s001_2000/01_tcp_ar/p_s001_t000"], [".edf"])
    corpus = find(tmp_path, missing_labels="skip")
    assert len(corpus.recordings) == 4
    assert "1 of 5 recordings have no labels" in corpus.remarks[-1]


def test_other_kind_of_label_file_is_suggested(tmp_path: Path) -> None:
    plant(tmp_path, V1_5.values(), (".edf", ".tse"))
    with pytest.raises(CorpusError, match=r"data.corpus.labels could be one of \['tse'\]"):
        find(tmp_path)


@pytest.mark.parametrize(
    "name", ["aaaaaaac_s001_t001", "02_tcp_le/aaaaaaac_s001_t001.edf", "aaaaaaac"]
)
def test_excluded_recording_or_patient_is_left_out(tmp_path: Path, name: str) -> None:
    plant(tmp_path, V2.values())
    found = splits(find(tmp_path, exclude=[name]))
    assert "aaaaaaac_s001_t001" not in found
    assert ("aaaaaaac_s001_t000" in found) == (name != "aaaaaaac")


def test_unknown_exclusion_names_the_nearest(tmp_path: Path) -> None:
    plant(tmp_path, V2.values())
    with pytest.raises(CorpusError, match=r"'aaaaaaac_s001_t002'.*nearest: .*aaaaaaac_s001_t00"):
        find(tmp_path, exclude=["aaaaaaac_s001_t002"])


def test_excluding_everything_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, ["train/p1_a"])
    with pytest.raises(CorpusError, match=r"data\.exclude leaves no recording"):
        find(tmp_path, exclude=["p1"])


def test_limit_keeps_the_first_of_each_split_and_is_said_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Lesson 18: a limit once leaked into a full run."""
    plant(tmp_path, V2.values())
    corpus = find(tmp_path, limit=1)
    assert [one.recording_id for one in corpus.recordings] == [
        "aaaaadkb_s010_t000",
        "aaaaaaaq_s007_t000",
        "aaaaaaac_s001_t000",
    ]
    said = [one for one in caplog.records if "data.limit=1: 3 of 4" in one.getMessage()]
    assert said[0].levelno == logging.WARNING


def test_recordings_of_one_name_are_refused_until_one_is_excluded(tmp_path: Path) -> None:
    """TUSZ before 2.0.2 held some files of eval in two montage folders."""
    twin = V2["eval"].replace("03_tcp_ar_a", "01_tcp_ar")
    plant(tmp_path, [*V2.values(), twin])
    with pytest.raises(CorpusError, match=r"same name.*data.exclude=\[01_tcp_ar/aaaaaaaq_s007"):
        find(tmp_path)
    assert len(find(tmp_path, exclude=["01_tcp_ar/aaaaaaaq_s007_t000.edf"]).recordings) == 4


@pytest.mark.real_data
def test_real_flat_folders_load(real_data: Path) -> None:
    corpus = find(real_data / "helsinki_neonatal" / "assembled")
    assert [one.split for one in corpus.recordings] == ["dev", "eval", "train", "train", "train"]
    recordings = [load_recording(one) for one in corpus.recordings]
    assert sum(len(recording.events) for recording in recordings) == 30
    assert all(360 <= recording.duration_s <= 390 for recording in recordings)


def test_edf_that_no_finder_takes_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split in ("train", "dev", "eval"):
        folder = tmp_path / split
        folder.mkdir()
        (folder / f"{split}_s001_t000.edf").touch()
        (folder / f"{split}_s001_t000.csv_bi").touch()
    (tmp_path / "train" / "shouted_s001_t000.EDF").touch()
    config = DataConfig(corpus=TuszCorpus(), root=str(tmp_path), cache_root="cache")
    assert len(find_corpus(config).recordings) == 3
    assert "1 EDF files are not where or named" in caplog.text
    assert "shouted_s001_t000.EDF" in caplog.text
