"""BIDS / SzCORE trees, with and without sessions and a split column."""

from pathlib import Path
from typing import Any

import pytest

from bgb.config.data import BidsCorpus, DataConfig, SplitConfig
from bgb.corpora import Corpus, find_corpus, load_recording
from bgb.errors import CorpusError

EVENTS = "onset\tduration\teventType\n0\t1\tsz\n"


def plant(root: Path, subject: str, session: str = "ses-01/", run: str = "run-00") -> Path:
    folder = root / f"{subject}/{session}eeg"
    folder.mkdir(parents=True, exist_ok=True)
    base = f"{subject}_{session.replace('/', '_')}task-szMonitoring_{run}"
    (folder / f"{base}_eeg.edf").touch()
    (folder / f"{base}_ecg.edf").touch()  # SeizeIT2 has other devices beside
    events = folder / f"{base}_events.tsv"
    events.write_text(EVENTS)
    return events


def find(root: Path, **options: Any) -> Corpus:  # Any: any key of data
    return find_corpus(
        DataConfig(corpus=BidsCorpus(), root=str(root), cache_root="cache", **options)
    )


def test_tree_with_and_without_sessions_is_found(tmp_path: Path) -> None:
    events = plant(tmp_path, "sub-01")
    plant(tmp_path, "sub-01", run="run-01")
    plant(tmp_path, "sub-02", session="")
    plant(tmp_path, "sub-03")
    plant(tmp_path / "derivatives", "sub-04")
    corpus = find(tmp_path)
    assert {one.recording_id: one.patient for one in corpus.recordings} == {
        "sub-01_ses-01_task-szMonitoring_run-00": "sub-01",
        "sub-01_ses-01_task-szMonitoring_run-01": "sub-01",
        "sub-02_task-szMonitoring_run-00": "sub-02",
        "sub-03_ses-01_task-szMonitoring_run-00": "sub-03",
    }
    assert str(events) in {one.labels for one in corpus.recordings}


def test_split_column_decides(tmp_path: Path) -> None:
    for subject in ("sub-01", "sub-02", "sub-03"):
        plant(tmp_path, subject)
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tage\tsplit\nsub-01\t3\teval\nsub-02\t4\ttrain\nsub-03\t5\tdev\n"
    )
    found = {one.patient: one.split for one in find(tmp_path).recordings}
    assert found == {"sub-01": "eval", "sub-02": "train", "sub-03": "dev"}
    fractions = find(tmp_path, split=SplitConfig(mode="fractions", seed=1))
    assert {one.split for one in fractions.recordings} == {"train", "dev", "eval"}


def test_split_called_val_is_refused(tmp_path: Path) -> None:
    """Lesson 11."""
    plant(tmp_path, "sub-01")
    (tmp_path / "participants.tsv").write_text("participant_id\tsplit\nsub-01\tval\n")
    with pytest.raises(CorpusError, match=r"participants\.tsv, line 2: split 'val' of 'sub-01'"):
        find(tmp_path)


def test_participant_without_split_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, "sub-01")
    plant(tmp_path, "sub-02")
    (tmp_path / "participants.tsv").write_text("participant_id\tsplit\nsub-01\ttrain\n")
    with pytest.raises(CorpusError, match=r"no split in the split column .*\['sub-02'\]"):
        find(tmp_path)


def test_missing_events_file_stops(tmp_path: Path) -> None:
    """Lesson 8."""
    plant(tmp_path, "sub-01").unlink()
    plant(tmp_path, "sub-02")
    with pytest.raises(CorpusError, match=r"1 of 2 recordings have no labels: .*sub-01"):
        find(tmp_path)


def test_folder_without_subjects_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a_eeg.edf").touch()
    with pytest.raises(CorpusError, match=r"no sub-\*/.* data.root is the folder that holds"):
        find(tmp_path)


@pytest.mark.real_data
def test_real_neonates_are_split_with_seizures_in_every_split(real_data: Path) -> None:
    corpus = find(real_data / "helsinki_neonatal")
    assert len(corpus.recordings) == 42
    per_split = {
        split: [load_recording(one) for one in corpus.recordings if one.split == split]
        for split in ("train", "dev", "eval")
    }
    assert {split: len(found) for split, found in per_split.items()} == {
        "train": 26,
        "dev": 8,
        "eval": 8,
    }
    for recordings in per_split.values():
        assert any(recording.events for recording in recordings)
        assert all(recording.duration_s == 30 for recording in recordings)
