"""CHB-MIT summaries: all 24 real ones, and each way in which one can be wrong."""

from pathlib import Path

import pytest

from bgb.eeg.annotations import chbmit, parse_labels, read_events
from bgb.eeg.events import Event
from bgb.errors import AnnotationError

HEAD = """Data Sampling Rate: 256 Hz
*************************

Channels in EDF Files:
**********************
Channel 1: FP1-F7

"""
FIRST = """File Name: chb01_03.edf
File Start Time: 23:03:03
File End Time: 24:03:03
Number of Seizures in File: 2
Seizure 1 Start Time: 100 seconds
Seizure 1 End Time: 140 seconds
Seizure 2 Start Time:  200 seconds
Seizure 2 End Time:   260 seconds
"""
SECOND = """
Channels changed:
*****************
Channel 4: -
Channel 5: FP1-CS2

File Name: chb01_04.edf
Number of Seizures in File: 0
"""


def read(text: str, recording: str = "chb01_03.edf") -> tuple[Event, ...]:
    return parse_labels("chb01-summary.txt", HEAD + text, recording=recording).events


def test_recording_is_found_between_channel_lists() -> None:
    assert read(FIRST + SECOND) == (Event(100, 140), Event(200, 260))
    assert read(FIRST + SECOND, "chb01_04.edf") == ()


def test_length_of_a_file_past_midnight_is_known() -> None:
    labels = parse_labels("s.txt", HEAD + FIRST, recording="chb01_03.edf")
    assert labels.duration_s == 3600
    assert labels.clock_s == 23 * 3600 + 183


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("in File: 2", "in File: 3", "2 seizures follow"),
        ("Number of Seizures in File: 2\n", "", "no `Number of Seizures in File: N` follows"),
        ("Seizure 1 End Time: 140 seconds\n", "", "a seizure is a Start Time line and then"),
        ("Seizure 1 End", "Seizure 1 Start", "a seizure is a Start Time line and then"),
        ("140 seconds", "14O seconds", "'Seizure 1 End Time: 14O seconds': expected file times"),
        ("140 seconds", "90 seconds", "a stop not before its start"),
    ],
)
def test_malformed_section_names_its_line(old: str, new: str, problem: str) -> None:
    with pytest.raises(AnnotationError, match=r"chb01-summary\.txt, line \d+") as error:
        read(FIRST.replace(old, new))
    assert problem in str(error.value)


def test_recording_that_the_summary_lacks_is_an_error() -> None:
    """Lesson 8: no entry is not the same as no seizure."""
    with pytest.raises(AnnotationError, match=r"does not name 'chb01_05.edf'; nearest .*chb01_0"):
        read(FIRST + SECOND, "chb01_05.edf")


def test_chb24_lists_recordings_with_seizures_only() -> None:
    labels = parse_labels("s.txt", HEAD + FIRST, recording="chb24_02.edf")
    assert labels.events == ()
    assert "names chb24 recordings with seizures only" in labels.remarks[0]


def test_summary_without_recording_name_says_what_is_lacking(tmp_path: Path) -> None:
    file = tmp_path / "chb01-summary.txt"
    file.write_text(HEAD + FIRST)
    with pytest.raises(AnnotationError, match="say which with recording="):
        read_events(file)
    assert len(read_events(file, recording="chb01_03.edf")) == 2


@pytest.mark.real_data
def test_real_summaries_hold_198_seizures_in_141_recordings(real_data: Path) -> None:
    files = sorted((real_data / "annotations" / "chbmit_summaries").glob("*.txt"))
    assert len(files) == 24
    counts = []
    for file in files:
        text = file.read_text()
        for name in chbmit.summary_names(str(file), text):
            labels = parse_labels(str(file), text, recording=name)
            assert labels.remarks == ()
            counts.append(len(labels.events))
    # 676 named and 10 of chb24 that are not: the 686 of RECORDS; 141 of RECORDS-WITH-SEIZURES.
    assert (len(counts), sum(counts), sum(map(bool, counts))) == (676, 198, 141)


@pytest.mark.real_data
def test_wrong_number_of_chb09_does_not_hide_its_seizure(real_data: Path) -> None:
    file = real_data / "annotations" / "chbmit_summaries" / "chb09-summary.txt"
    events = read_events(file, recording="chb09_08.edf")
    assert events == (Event(2951, 3030), Event(9196, 9267))
