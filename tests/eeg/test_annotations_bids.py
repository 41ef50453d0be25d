"""events.tsv of BIDS / SzCORE: columns by name, impd is no seizure, nothing unknown is guessed."""

from pathlib import Path

import pytest

from bgb.eeg.annotations import read_events, read_labels
from bgb.eeg.events import Event, is_seizure
from bgb.errors import AnnotationError

HEAD = "onset\tduration\teventType\tlateralization\tconfidence\tdateTime\trecordingDuration\n"
REST = "n/a\tn/a\t2000-01-01 00:00:00\t360.00"


def read(tmp_path: Path, text: str) -> tuple[Event, ...]:
    file = tmp_path / "a_events.tsv"
    file.write_text(text)
    return read_events(file)


def test_columns_are_found_by_name_and_further_ones_allowed(tmp_path: Path) -> None:
    rows = f"30.00\t19.00\tsz\t{REST}\n60.00\t5.50\tsz_foc_ia_m_tonic\t{REST}\n"
    assert read(tmp_path, HEAD + rows) == (
        Event(30, 49, "sz"),
        Event(60, 65.5, "sz_foc_ia_m_tonic"),
    )


def test_impedance_check_is_an_event_but_no_seizure(tmp_path: Path) -> None:
    (event,) = read(tmp_path, f"{HEAD}0.00\t12.00\timpd\t{REST}\n")
    assert event == Event(0, 12, "impd")
    assert not is_seizure(event.label)


def test_empty_last_cell_is_a_cell(tmp_path: Path) -> None:
    text = "onset\tduration\teventType\tnote\n30.00\t19.00\tsz\t\n"
    assert read(tmp_path, text) == (Event(30, 49, "sz"),)


def test_background_yields_no_event(tmp_path: Path) -> None:
    assert read(tmp_path, f"{HEAD}0.00\t360.00\tbckg\t{REST}\n") == ()


def test_recording_duration_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a_events.tsv"
    file.write_text(f"{HEAD}0.00\t360.00\tbckg\t{REST}\n")
    assert read_labels(file).duration_s == 360
    file.write_text("onset\tduration\teventType\n0\t1\tsz\n")
    assert read_labels(file).duration_s is None


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (f"1.0\tn/a\tsz\t{REST}", "duration must be a number of seconds, not 'n/a'"),
        (f"n/a\t1.0\tsz\t{REST}", "onset must be a number of seconds, not 'n/a'"),
        (f"1.0\t-1.0\tsz\t{REST}", "a stop not before its start"),
        (f"1.0\t1.0\tseizure\t{REST}", "unknown label 'seizure'"),
        ("1.0\t1.0\tsz", "3 values for the 7 columns"),
    ],
)
def test_malformed_row_names_file_and_line(tmp_path: Path, row: str, problem: str) -> None:
    with pytest.raises(AnnotationError, match=r"a_events\.tsv, line 2") as error:
        read(tmp_path, f"{HEAD}{row}\n")
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD, "a header alone; a recording without seizure has one bckg row"),
        ("onset\tduration\ttrial_type\n1\t2\tsz\n", r"the header lacks \['eventType'\]"),
    ],
)
def test_unusable_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(AnnotationError, match=problem):
        read(tmp_path, text)


@pytest.mark.real_data
def test_every_file_of_seizeit2_parses(real_data: Path) -> None:
    files = sorted((real_data / "annotations" / "seizeit2_events").rglob("*_events.tsv"))
    events = [event for file in files for event in read_events(file)]
    seizures = [event for event in events if is_seizure(event.label)]
    assert (len(files), len(events), len(seizures)) == (233, 247, 76)
    assert {event.label for event in events if not is_seizure(event.label)} == {"impd"}
