"""Label files: `read_events` recognises every dialect by content, `write_events` writes two.

csv and csv_bi and tse (TUSZ), summaries (CHB-MIT), lists (Siena), events.tsv (BIDS, SzCORE). The
vocabulary is explicit: an unknown label or a malformed line names file, line and what is valid.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from bgb.eeg.annotations import bids, chbmit, siena, tusz
from bgb.eeg.annotations.labels import Labels, fit, log_remarks, read_text
from bgb.eeg.events import Event, is_seizure, seizures
from bgb.errors import AnnotationError
from bgb.files import write_text

__all__ = ["Dialect", "Labels", "fit", "parse_labels", "read_events", "read_labels", "write_events"]

Dialect = Literal["csv_bi", "events_tsv"]


def read_events(
    path: str | Path, *, recording: str | None = None, duration_s: float | None = None
) -> tuple[Event, ...]:
    """Read the events of one recording from a label file or URL, whatever its dialect.

    Background rows yield no event. Remarks are logged as warnings.

    Parameters
    ----------
    recording : EDF file name; needed by the dialects that list many (CHB-MIT, Siena).
    duration_s : length of the recording; given, events past its end are clipped.
    """
    labels = read_labels(path, recording=recording)
    events, remarks = labels.events, labels.remarks
    if duration_s is not None:
        events, remarks = fit(labels, duration_s)
    log_remarks(path, remarks)
    return events


def read_labels(path: str | Path, *, recording: str | None = None) -> Labels:
    """Read all that a label file says of one recording, without clipping or logging."""
    return parse_labels(str(path), read_text(str(path)), recording=recording)


def parse_labels(path: str, text: str, *, recording: str | None = None) -> Labels:
    """Parse the text of a label file; the path serves the error messages."""
    first = next((line.strip("\r\n ") for line in text.splitlines() if line.strip()), "")
    if tusz.is_csv(first):
        return tusz.parse_csv(path, text)
    if tusz.is_tse(first):
        return tusz.parse_tse(path, text)
    if bids.is_events_tsv(first):
        return bids.parse_events_tsv(path, text)
    if siena.is_list(text):
        return siena.parse_list(path, text, _named(path, recording))
    if chbmit.is_summary(text):
        return chbmit.parse_summary(path, text, _named(path, recording))
    raise AnnotationError(
        f"{path} begins with {first[:60]!r}, which no dialect does; known are TUSZ csv, csv_bi and "
        "tse, CHB-MIT summaries, Siena lists and BIDS events.tsv"
    )


def write_events(
    path: str | Path,
    events: Sequence[Event],
    *,
    duration_s: float,
    dialect: Dialect,
    start: datetime | None = None,
    confidence: Sequence[float] | None = None,
) -> None:
    """Write the seizures among the events, atomically; overlapping ones become one.

    Parameters
    ----------
    duration_s : exact length of the EDF; an event past it is refused.
    dialect : "csv_bi" (TUSZ, NEDC) or "events_tsv" (BIDS, SzCORE).
    start : start of the recording for `dateTime`; without it 2000-01-01 00:00:00.
    confidence : one value in [0, 1] for each event; a merged event takes the largest.
    """
    _check(path, events, duration_s, confidence)
    rows = _with_confidence(events, confidence)
    match dialect:
        case "csv_bi":
            text = tusz.format_csv_bi(rows, name=Path(path).stem, duration_s=duration_s)
        case "events_tsv":
            text = bids.format_events_tsv(rows, duration_s=duration_s, start=start)
        case _:
            raise AnnotationError(f"dialect={dialect!r} is not valid; choose csv_bi or events_tsv")
    write_text(Path(path), text)


def _named(path: str, recording: str | None) -> str:
    if recording is None:
        raise AnnotationError(
            f"{path} lists many recordings; say which with recording=<EDF file name>"
        )
    return recording


def _check(
    path: str | Path, events: Sequence[Event], duration_s: float, confidence: Sequence[float] | None
) -> None:
    late = [event for event in events if event.stop_s > duration_s + 1e-6]
    if late or not duration_s > 0:
        raise AnnotationError(
            f"{path}: events must lie in [0, {duration_s}] s; {late[:3]} do not; clip_events clips"
        )
    if confidence is not None and len(confidence) != len(events):
        raise AnnotationError(f"{path}: {len(confidence)} confidences for {len(events)} events")


def _with_confidence(
    events: Sequence[Event], confidence: Sequence[float] | None
) -> list[tuple[Event, float | None]]:
    """Pair each merged seizure with the largest confidence of the events that it joins."""
    if confidence is None:
        return [(event, None) for event in seizures(events)]
    values = [pair for pair in zip(events, confidence, strict=True) if is_seizure(pair[0].label)]
    return [
        (whole, max(c for part, c in values if whole.start_s <= part.start_s <= whole.stop_s))
        for whole in seizures(events)
    ]
