"""CHB-MIT: summaries beside the EDF files, chb21 is chb01, chb24 lists seizures only."""

from pathlib import Path
from typing import Any

import pytest

from bgb.config.data import ChbmitCorpus, DataConfig, SplitConfig
from bgb.corpora import Corpus, find_corpus, load_recording
from bgb.errors import CorpusError

ONE = SplitConfig(mode="list", train=["chb01"])


def plant_case(
    root: Path, case: str, seizures: dict[str, int], extra: tuple[str, ...] = ()
) -> None:
    """Make a case folder with empty EDF files and a summary of those in `seizures`."""
    folder = root / case
    folder.mkdir(parents=True)
    lines = ["Data Sampling Rate: 256 Hz", "Channels in EDF Files:", "Channel 1: FP1-F7", ""]
    for number, count in seizures.items():
        (folder / f"{case}_{number}.edf").touch()
        lines += [f"File Name: {case}_{number}.edf", f"Number of Seizures in File: {count}"]
        lines += ["Seizure Start Time: 10 seconds", "Seizure End Time: 20 seconds"] * count
    for number in extra:
        (folder / f"{case}_{number}.edf").touch()
    (folder / f"{case}-summary.txt").write_text("\n".join(lines))


def find(root: Path, **options: Any) -> Corpus:  # Any: any key of data
    return find_corpus(
        DataConfig(corpus=ChbmitCorpus(), root=str(root), cache_root="cache", **options)
    )


def test_cases_are_patients_split_by_seeded_fractions(tmp_path: Path) -> None:
    for case in ("chb02", "chb03", "chb05", "chb06"):
        plant_case(tmp_path, case, {"01": 1, "02": 0})
    corpus = find(tmp_path)
    assert {one.split for one in corpus.recordings} == {"train", "dev", "eval"}
    assert len({(one.patient, one.split) for one in corpus.recordings}) == 4
    first = corpus.recordings[0]
    assert first.labels == str(tmp_path / first.patient / f"{first.patient}-summary.txt")
    assert first.labels_recording == f"{first.recording_id}.edf"


def test_chb21_is_never_parted_from_chb01(tmp_path: Path) -> None:
    """Lesson 10: two folders, one girl."""
    for case in ("chb01", "chb02", "chb03", "chb21"):
        plant_case(tmp_path, case, {"01": 1})
    for seed in range(10):
        corpus = find(tmp_path, split=SplitConfig(seed=seed))
        of = {one.recording_id: one for one in corpus.recordings}
        assert of["chb21_01"].patient == "chb01"
        assert of["chb21_01"].split == of["chb01_01"].split
    assert "chb21 is the same person as chb01" in " ".join(corpus.remarks)


def test_recording_absent_from_its_summary_has_no_labels(tmp_path: Path) -> None:
    """Lesson 8."""
    plant_case(tmp_path, "chb01", {"01": 1}, extra=("02",))
    with pytest.raises(CorpusError, match=r"1 of 2 recordings have no labels: .*chb01_02\.edf"):
        find(tmp_path, split=ONE)
    corpus = find(tmp_path, split=ONE, missing_labels="skip")
    assert [one.recording_id for one in corpus.recordings] == ["chb01_01"]


def test_chb24_may_hold_recordings_that_its_summary_lacks(tmp_path: Path) -> None:
    plant_case(tmp_path, "chb24", {"01": 1}, extra=("02",))
    corpus = find(tmp_path, split=SplitConfig(mode="list", eval=["chb24"]))
    assert [one.labels is not None for one in corpus.recordings] == [True, True]


def test_recording_that_the_summary_names_in_vain_is_a_remark(tmp_path: Path) -> None:
    plant_case(tmp_path, "chb01", {"01": 1, "02": 0})
    (tmp_path / "chb01" / "chb01_02.edf").unlink()
    corpus = find(tmp_path, split=ONE)
    assert any("names 1 recordings that are not there: chb01_02.edf" in r for r in corpus.remarks)


def test_variants_of_file_names_belong_to_their_case(tmp_path: Path) -> None:
    plant_case(tmp_path, "chb02", {"16": 1, "16+": 1})
    plant_case(tmp_path, "chb17", {"01": 0})
    (tmp_path / "chb17" / "chb17_01.edf").rename(tmp_path / "chb17" / "chb17a_01.edf")
    summary = tmp_path / "chb17" / "chb17-summary.txt"
    summary.write_text(summary.read_text().replace("chb17_01", "chb17a_01"))
    corpus = find(tmp_path, split=SplitConfig(mode="list", train=["chb02"], dev=["chb17"]))
    assert [one.recording_id for one in corpus.recordings] == ["chb17a_01", "chb02_16", "chb02_16+"]


def test_folder_without_cases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.edf").touch()
    with pytest.raises(CorpusError, match=r"no chbNN_\*\.edf under .*\['x.edf'\]"):
        find(tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize("below", ["", "chb01"])
def test_real_clips_are_found_from_the_corpus_or_the_case(real_data: Path, below: str) -> None:
    corpus = find(real_data / "chbmit_clips" / below, split=ONE)
    assert len(corpus.recordings) == 18
    assert {one.patient for one in corpus.recordings} == {"chb01"}
    of = {one.recording_id: one for one in corpus.recordings}
    recording = load_recording(of["chb01_04_seizure"])
    assert [(event.start_s, event.stop_s) for event in recording.events] == [(0, 27)]


@pytest.mark.real_data
def test_real_layout_of_chb05_is_found_and_its_late_events_dropped(real_data: Path) -> None:
    corpus = find(real_data / "layouts" / "chbmit", split=SplitConfig(mode="list", dev=["chb05"]))
    assert len(corpus.recordings) == 39
    of = {one.recording_id: one for one in corpus.recordings}
    recording = load_recording(of["chb05_06"])  # cut to 2 s; its seizure is at 417 s
    assert recording.events == ()
    assert any("[417.0000, 532.0000) s ends after" in remark for remark in recording.remarks)
    assert any("the label file states 3600.0000 s" in remark for remark in recording.remarks)
