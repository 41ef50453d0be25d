"""Siena: lists beside the EDF files, misspelt names, recordings that no list names."""

from pathlib import Path
from typing import Any

import pytest

from bgb.config.data import DataConfig, SienaCorpus, SplitConfig
from bgb.corpora import Corpus, CorpusRecording, find_corpus, load_recording
from bgb.errors import CorpusError

BLOCK = """Seizure n {number}
File name: {name}
Registration start time: 19.00.00
Registration end time: 20.00.00
Seizure start time: 19.10.00
Seizure end time: 19.11.00

"""


def plant(root: Path, patient: str, files: list[str], named: list[str]) -> None:
    folder = root / patient
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).touch()
    blocks = (BLOCK.format(number=number, name=name) for number, name in enumerate(named, 1))
    (folder / f"Seizures-list-{patient}.txt").write_text(f"{patient}\n\n" + "".join(blocks))


def find(root: Path, *patients: str, **options: Any) -> Corpus:  # Any: any key of data
    return find_corpus(
        DataConfig(
            corpus=SienaCorpus(),
            root=str(root),
            cache_root="cache",
            split=SplitConfig(mode="list", train=list(patients)),
            **options,
        )
    )


@pytest.mark.parametrize(
    ("patient", "file", "named"),
    [
        ("PN01", "PN01-1.edf", "PN01.edf"),
        ("PN06", "PN06-2.edf", "PNO6-2.edf"),
        ("PN11", "PN11-1.edf", "PN11-.edf"),
        ("PN10", "PN10-4.5.6.edf", "PN10-4.5.6.edf"),
    ],
)
def test_published_file_names_meet_their_lists(
    tmp_path: Path, patient: str, file: str, named: str
) -> None:
    plant(tmp_path, patient, [file], [named])
    (recording,) = find(tmp_path, patient).recordings
    assert recording.recording_id == file.removesuffix(".edf")
    assert (recording.patient, recording.labels_recording) == (patient, file)
    assert recording.labels == str(tmp_path / patient / f"Seizures-list-{patient}.txt")


def test_recording_that_no_list_names_has_no_labels(tmp_path: Path) -> None:
    """Lesson 8: PN00-3 holds a seizure, though some copies of its list do not name it."""
    plant(tmp_path, "PN00", ["PN00-1.edf", "PN00-3.edf"], ["PN00-1.edf"])
    with pytest.raises(CorpusError, match=r"1 of 2 recordings have no labels: .*PN00-3\.edf"):
        find(tmp_path, "PN00")
    corpus = find(tmp_path, "PN00", missing_labels="skip")
    assert [one.recording_id for one in corpus.recordings] == ["PN00-1"]
    assert "PN00-3.edf: left out" in corpus.remarks[-1]


def test_listed_recording_that_is_not_there_is_a_remark(tmp_path: Path) -> None:
    plant(tmp_path, "PN06", ["PN06-1.edf"], ["PNO6-1.edf", "PNO6-2.edf"])
    remarks = find(tmp_path, "PN06").remarks
    assert "PN06/Seizures-list-PN06.txt names recordings that are not there: PN06-2.edf" in remarks


def test_folder_without_patients_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.edf").touch()
    with pytest.raises(CorpusError, match=r"no PNxx\*\.edf under"):
        find(tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize("below", ["", "PN00"])
def test_real_layout_is_found_and_its_late_events_dropped(real_data: Path, below: str) -> None:
    corpus = find(real_data / "layouts" / "siena" / below, "PN00")
    assert [one.recording_id for one in corpus.recordings] == [f"PN00-{n}" for n in range(1, 6)]
    assert corpus.remarks == ("all has 5 recordings (published 41) of 1 patients (published 14)",)
    recording = load_recording(corpus.recordings[2])  # cut to 2 s
    assert recording.events == ()
    assert any("read as 18.29.29" in remark for remark in recording.remarks)
    assert any("[765.0000, 825.0000) s ends after" in remark for remark in recording.remarks)


@pytest.mark.real_data
@pytest.mark.parametrize(("start", "remarks"), [("19.39.33", 0), ("19.39.23", 1)])
def test_list_that_starts_at_another_time_than_the_edf_is_remarked(
    tmp_path: Path, real_data: Path, start: str, remarks: int
) -> None:
    folder = real_data / "layouts" / "siena" / "PN00"
    text = (folder / "Seizures-list-PN00.txt").read_text()
    labels = tmp_path / "list.txt"
    labels.write_text(text.replace("19.39.33", start))
    edf = str(folder / "PN00-1.edf")
    recording = CorpusRecording("PN00-1", "PN00", "train", edf, str(labels), "PN00-1.edf")
    said = "the label file starts the recording 10 s away from the EDF header"
    assert load_recording(recording).remarks.count(said) == remarks
