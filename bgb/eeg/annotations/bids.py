"""events.tsv of BIDS in the form that SzCORE fixed: onset, duration, eventType, recordingDuration.

Columns are found by name, further ones are allowed (SeizeIT2 has three). An unknown duration is an
error, never a guess. Written files never hold a header alone: scorers refuse or misread that.
"""

from collections.abc import Sequence
from datetime import datetime

from bgb.eeg.annotations.labels import Labels, Line, keep, numbered
from bgb.eeg.events import Event
from bgb.errors import AnnotationError

_COLUMNS = [  # of SzCORE, in its order
    "onset",
    "duration",
    "eventType",
    "confidence",
    "channels",
    "dateTime",
    "recordingDuration",
]
_REQUIRED = _COLUMNS[:3]
_NO_DATE = datetime(2000, 1, 1)


def is_events_tsv(first: str) -> bool:
    """Tell by its first line whether a text is events.tsv."""
    return "onset" in first.split("\t")


def parse_events_tsv(path: str, text: str) -> Labels:
    """Parse events.tsv; `bckg` yields no event, `impd` is an event but not a seizure."""
    head, *body = [line for line in numbered(path, text) if line.text]
    names = head.text.split("\t")
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise head.error(f"the header lacks {missing}; it must name {_REQUIRED}")
    if not body:
        raise AnnotationError(
            f"{path}: a header alone; a recording without seizure has one bckg row"
        )
    rows = [_row(line, names) for line in body]
    events, remarks = keep(_event(line, row) for line, row in zip(body, rows, strict=True))
    return Labels(events, duration_s=_recording_duration(body[0], rows[0]), remarks=remarks)


def format_events_tsv(
    seizures: Sequence[tuple[Event, float | None]], *, duration_s: float, start: datetime | None
) -> str:
    """Format disjoint seizures as SzCORE events.tsv; without seizure, one bckg row.

    recordingDuration repeats the length of the EDF: where it differs by a second, a scorer takes
    the file for one without detections.
    """
    rows = [
        _format_row(event, "sz", confidence, duration_s, start) for event, confidence in seizures
    ]
    if not rows:
        rows = [_format_row(Event(0, duration_s), "bckg", None, duration_s, start)]
    return "\n".join(["\t".join(_COLUMNS), *rows]) + "\n"


def _row(line: Line, names: list[str]) -> dict[str, str]:
    values = line.text.split("\t")
    if len(values) != len(names):
        raise line.error(f"{len(values)} values for the {len(names)} columns {names}")
    return dict(zip(names, values, strict=True))


def _event(line: Line, row: dict[str, str]) -> Event:
    start_s = line.seconds("onset", row["onset"])
    return line.event(
        start_s, start_s + line.seconds("duration", row["duration"]), row["eventType"]
    )


def _recording_duration(line: Line, row: dict[str, str]) -> float | None:
    text = row.get("recordingDuration", "n/a")
    return None if text == "n/a" else line.seconds("recordingDuration", text)


def _format_row(
    event: Event, label: str, confidence: float | None, duration_s: float, start: datetime | None
) -> str:
    onset_s = round(event.start_s, 2)
    values = (
        f"{onset_s:.2f}",
        f"{event.stop_s - onset_s:.2f}",  # from the rounded onset: none outlasts the recording
        label,
        "n/a" if confidence is None else f"{confidence:.4f}",
        "n/a",
        f"{start or _NO_DATE:%Y-%m-%d %H:%M:%S}",
        f"{duration_s:.2f}",
    )
    return "\t".join(values)
