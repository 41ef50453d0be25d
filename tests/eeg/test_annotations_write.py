"""write_events: both dialects to the letter, and back again."""

import os
from datetime import datetime
from pathlib import Path
from typing import Literal

import pytest

from bgb.eeg.annotations import read_events, read_labels, write_events
from bgb.eeg.events import Event
from bgb.errors import AnnotationError

Dialect = Literal["csv_bi", "events_tsv"]
DIALECTS: list[Dialect] = ["csv_bi", "events_tsv"]
EVENTS = (Event(30, 49, "cpsz"), Event(60, 90), Event(100, 110, "impd"))


def test_csv_bi_tiles_the_recording(tmp_path: Path) -> None:
    file = tmp_path / "aaa_s001_t000.csv_bi"
    write_events(file, EVENTS, duration_s=360, dialect="csv_bi")
    assert file.read_text().splitlines() == [
        "# version = csv_v1.0.0",
        "# bname = aaa_s001_t000",
        "# duration = 360.0000 secs",
        "# montage_file = nedc_eas_default_montage.txt",
        "#",
        "channel,start_time,stop_time,label,confidence",
        "TERM,0.0000,30.0000,bckg,1.0000",
        "TERM,30.0000,49.0000,seiz,1.0000",
        "TERM,49.0000,60.0000,bckg,1.0000",
        "TERM,60.0000,90.0000,seiz,1.0000",
        "TERM,90.0000,360.0000,bckg,1.0000",
    ]


def test_events_tsv_is_that_of_szcore(tmp_path: Path) -> None:
    file = tmp_path / "a_events.tsv"
    start = datetime(2016, 11, 6, 13, 43, 4)
    write_events(
        file,
        EVENTS,
        duration_s=360.004,
        dialect="events_tsv",
        start=start,
        confidence=(0.5, 0.875, 1.0),
    )
    assert file.read_text().splitlines() == [
        "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration",
        "30.00\t19.00\tsz\t0.5000\tn/a\t2016-11-06 13:43:04\t360.00",
        "60.00\t30.00\tsz\t0.8750\tn/a\t2016-11-06 13:43:04\t360.00",
    ]


@pytest.mark.parametrize("events", [(), (Event(1, 2, "impd"),)])
def test_without_seizure_one_background_row_is_written(
    tmp_path: Path, events: tuple[Event, ...]
) -> None:
    """A header alone is scored as a file without detections, or crashes the scorer."""
    write_events(tmp_path / "a.tsv", events, duration_s=30, dialect="events_tsv")
    write_events(tmp_path / "a.csv_bi", events, duration_s=30, dialect="csv_bi")
    last = (tmp_path / "a.tsv").read_text().splitlines()[1:]
    assert last == ["0.00\t30.00\tbckg\tn/a\tn/a\t2000-01-01 00:00:00\t30.00"]
    last = (tmp_path / "a.csv_bi").read_text().splitlines()[6:]
    assert last == ["TERM,0.0000,30.0000,bckg,1.0000"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "events",
    [
        (),
        (Event(0, 30.25),),
        (Event(0, 10.13), Event(10.5, 30.25)),
        (Event(1.01, 2.02), Event(3.03, 4.04)),
    ],
)
def test_what_was_written_is_read_back(
    tmp_path: Path, dialect: Dialect, events: tuple[Event, ...]
) -> None:
    file = tmp_path / "a"
    write_events(file, events, duration_s=30.25, dialect=dialect)
    back = read_events(file)
    assert [(e.start_s, e.stop_s) for e in back] == [
        pytest.approx((e.start_s, e.stop_s)) for e in events
    ]
    assert read_labels(file).duration_s == 30.25


@pytest.mark.parametrize("dialect", DIALECTS)
def test_overlapping_events_become_one_with_the_larger_confidence(
    tmp_path: Path, dialect: Dialect
) -> None:
    file = tmp_path / "a"
    events = (Event(1, 5), Event(4, 9), Event(12, 13))
    write_events(file, events, duration_s=20, dialect=dialect, confidence=(0.25, 0.75, 0.5))
    assert [(e.start_s, e.stop_s) for e in read_events(file)] == [(1, 9), (12, 13)]
    assert "0.7500" in file.read_text()
    assert "0.2500" not in file.read_text()


def test_confidence_of_what_is_no_seizure_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "a"
    events = (Event(1, 5), Event(2, 3, "impd"))
    write_events(file, events, duration_s=20, dialect="csv_bi", confidence=(0.25, 0.75))
    assert "TERM,1.0000,5.0000,seiz,0.2500" in file.read_text()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_rounding_leaves_no_event_past_the_end(tmp_path: Path, dialect: Dialect) -> None:
    file = tmp_path / "a"
    write_events(file, [Event(0.00001, 9.99999)], duration_s=9.99999, dialect=dialect)
    labels = read_labels(file)
    assert labels.duration_s is not None
    assert labels.events[-1].stop_s <= labels.duration_s


@pytest.mark.parametrize(
    ("events", "duration_s", "problem"),
    [
        ([Event(1, 31)], 30, r"events must lie in \[0, 30\] s"),
        ([], 0, r"events must lie in \[0, 0\] s"),
    ],
)
def test_event_past_the_end_is_refused(
    tmp_path: Path, events: list[Event], duration_s: float, problem: str
) -> None:
    with pytest.raises(AnnotationError, match=problem):
        write_events(tmp_path / "a", events, duration_s=duration_s, dialect="csv_bi")
    assert not any(tmp_path.iterdir())


def test_confidences_must_match_the_events(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="2 confidences for 1 events"):
        write_events(
            tmp_path / "a", [Event(1, 2)], duration_s=3, dialect="csv_bi", confidence=[1, 1]
        )


def test_unknown_dialect_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"dialect='edf' is not valid; choose csv_bi or"):
        write_events(tmp_path / "a", [], duration_s=3, dialect="edf")  # type: ignore[arg-type]


def test_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    write_events(file, [], duration_s=3, dialect="csv_bi")
    before = file.read_text()

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_events(file, [Event(1, 2)], duration_s=3, dialect="csv_bi")
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.real_data
@pytest.mark.parametrize("dialect", DIALECTS)
def test_events_of_the_helsinki_experts_survive_a_round_trip(
    tmp_path: Path, real_data: Path, dialect: Dialect
) -> None:
    files = sorted((real_data / "scoring").rglob("*.csv_bi"))
    assert files
    for file in files[:40]:
        labels = read_labels(file)
        assert labels.duration_s is not None
        copy = tmp_path / "copy"
        write_events(copy, labels.events, duration_s=labels.duration_s, dialect=dialect)
        times = [(e.start_s, e.stop_s) for e in read_events(copy)]
        assert times == [(e.start_s, e.stop_s) for e in labels.events]
