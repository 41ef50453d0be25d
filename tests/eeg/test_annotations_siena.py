"""Siena lists: times of day by hand, their published slips, and strictness about all others."""

from pathlib import Path

import pytest

from bgb.eeg.annotations import parse_labels, read_events
from bgb.eeg.annotations.siena import list_names
from bgb.eeg.events import Event
from bgb.errors import AnnotationError

LIST = """PN06

Data Sampling Rate: 512 Hz

Channels in EDF files:
Channel 5: 1

Seizure n 1 (in sleep):
File name: PNO6-1.edf
Registration start time: 21.11.29
Registration end time:  00.41.49
Seizure start time: 23:59.59
Seizure end time:00.00.09
"""


def read(text: str, recording: str = "PN06-1.edf") -> tuple[Event, ...]:
    return parse_labels("Seizures-list-PN06.txt", text, recording=recording).events


def test_seizure_over_midnight_is_placed_after_the_start() -> None:
    assert read(LIST) == (Event(10110, 10120),)


def test_length_and_clock_are_those_of_the_registration() -> None:
    labels = parse_labels("l.txt", LIST, recording="PN06-1.edf")
    assert (labels.duration_s, labels.clock_s) == (12620, 76289)


def test_name_typed_with_letter_o_is_the_same_recording() -> None:
    assert read(LIST, "PNO6-1.edf") == read(LIST, "PN06-1.edf")
    assert list_names("l.txt", LIST) == ("PN06-1.edf",)


def test_second_seizure_may_rely_on_the_registration_of_the_first() -> None:
    second = "Seizure n 2\nFile name: PN06-1.edf\nStart time: 00.30.00\nEnd time: 00.31.00\n"
    assert read(LIST + second)[1] == Event(11911, 11971)


def test_second_seizure_of_another_file_may_not() -> None:
    second = "Seizure n 2\nFile name: PN06-2.edf\nStart time: 00.30.00\nEnd time: 00.31.00\n"
    with pytest.raises(AnnotationError, match="must give a file name, registration start and end"):
        read(LIST + second)


def test_registration_before_the_block_serves_it() -> None:
    head = "File name: PN01.edf\nRegistration start time: 19.00.44\n"
    rest = "Registration end time: 08.29.41\nSeizure n 1\nStart time: 21:51:02\nEnd time: 21.51.56"
    assert read(head + rest, "PN01-1.edf") == (Event(10218, 10272),)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("21.11.29", "21.1 1.29", "'21.1 1.29' is not a time of day; expected hh.mm.ss"),
        ("21.11.29", "25.11.29", "not a time of day"),
        ("Seizure end time:00.00.09", "Seizure ends: 00.00.09", "expected `Seizure n N`"),
        ("Seizure end time:00.00.09\n", "", "must give a file name, registration start and end"),
        ("File name: PNO6-1.edf\n", "", "must give a file name"),
        ("23:59.59", "00.00.19", "a stop not before its start"),
    ],
)
def test_malformed_list_names_its_line(old: str, new: str, problem: str) -> None:
    with pytest.raises(AnnotationError, match=r"Seizures-list-PN06\.txt, line \d+") as error:
        read(LIST.replace(old, new))
    assert problem in str(error.value)


def test_recording_that_the_list_lacks_is_an_error() -> None:
    """Lesson 8; a list of PN00 without PN00-3 exists, and PN00-3 holds a seizure."""
    with pytest.raises(AnnotationError, match=r"does not name 'PN06-3\.edf'.*PN06-1"):
        read(LIST, "PN06-3.edf")


def test_published_slip_is_corrected_with_a_remark() -> None:
    text = LIST.replace("PNO6-1", "PN10-7.8.9").replace("21.11.29", "1 6.49.25")
    labels = parse_labels("l.txt", text, recording="PN10-7.8.9.edf")
    assert labels.clock_s == 16 * 3600 + 49 * 60 + 25
    assert labels.remarks == (
        "registration start '1 6.49.25' read as 16.49.25 (a blank in the hour)",
    )


@pytest.mark.real_data
def test_real_lists_give_every_seizure(real_data: Path) -> None:
    folder = real_data / "annotations" / "siena_lists"
    pn01 = read_events(folder / "Seizures-list-PN01.txt", recording="PN01-1.edf")
    assert pn01 == (Event(10218, 10272), Event(46353, 46427))
    pn16 = folder / "Seizures-list-PN16.txt"
    assert read_events(pn16, recording="PN16-1.edf") == (Event(7184, 7307),)
    assert read_events(pn16, recording="PN16-2.edf") == (Event(8574, 8681),)
    pn00 = folder / "Seizures-list-PN00.txt"
    for name, event in {
        "PN00-1.edf": Event(1143, 1213),
        "PN00-2.edf": Event(1220, 1274),
        "PN00-4.edf": Event(1006, 1080),
        "PN00-5.edf": Event(904, 971),
    }.items():
        assert read_events(pn00, recording=name) == (event,)


@pytest.mark.real_data
def test_hour_of_pn00_3_is_corrected_and_logged(
    real_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = real_data / "layouts" / "siena" / "PN00" / "Seizures-list-PN00.txt"
    assert read_events(file, recording="PN00-3.edf") == (Event(765, 825),)
    assert "seizure end '19.29.29' read as 18.29.29" in caplog.text
