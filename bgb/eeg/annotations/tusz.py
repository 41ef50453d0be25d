"""TUSZ label files: csv (types, a row per channel), csv_bi (seizure or not) and tse (v1.5).

Columns are found by their names in the header (lesson 1). Rows of several channels become, for each
label, the union over the channels; rows of `TERM` alone stay as they are.
"""

import re
from collections.abc import Sequence

from bgb.eeg.annotations.labels import Labels, Line, keep, numbered
from bgb.eeg.events import Event, union
from bgb.errors import AnnotationError

_TERM = "TERM"  # the channel name of rows that speak of the whole recording
_COLUMNS = ("channel", "start_time", "stop_time", "label", "confidence")
_REQUIRED = _COLUMNS[:4]
_DURATION = re.compile(r"#\s*duration\s*=\s*(\d+(?:\.\d*)?)\s*secs?")  # 301.0000 and 301.00
_MONTAGE = "nedc_eas_default_montage.txt"


def is_csv(first: str) -> bool:
    """Tell by its first line whether a text is csv or csv_bi."""
    return first.startswith("# version = csv_") or first.split(",")[0] == "channel"


def is_tse(first: str) -> bool:
    """Tell by its first line whether a text is tse or tse_bi."""
    return first.startswith("version = tse_")


def parse_csv(path: str, text: str) -> Labels:
    """Parse csv or csv_bi; a file without rows is refused, background must be stated."""
    lines = numbered(path, text)
    body = [line for line in lines if line.text and not line.text.startswith("#")]
    if len(body) < 2:
        raise AnnotationError(f"{path}: no rows; even a recording without seizure has one bckg row")
    names = _header(body[0])
    rows = [_row(line, names) for line in body[1:]]
    channels = {channel for channel, _ in rows}
    events, remarks = keep(event for _, event in rows)
    if channels != {_TERM}:
        events = _union_by_label(events)
    return Labels(events, duration_s=_stated_duration(lines), remarks=remarks)


def parse_tse(path: str, text: str) -> Labels:
    """Parse tse or tse_bi of v1.5: `start stop label probability` on each line."""
    lines = numbered(path, text)
    rows = [line for line in lines if line.text and not is_tse(line.text)]
    if not rows:
        raise AnnotationError(f"{path}: no rows; background must be stated as bckg")
    events, remarks = keep(map(_tse_event, rows))
    return Labels(events, remarks=remarks)


def format_csv_bi(
    seizures: Sequence[tuple[Event, float | None]], *, name: str, duration_s: float
) -> str:
    """Format disjoint seizures as csv_bi whose rows tile [0, duration_s] (else NEDC aborts)."""
    end = f"{duration_s:.4f}"
    rows, now = [], "0.0000"
    for event, confidence in seizures:
        start, stop = f"{event.start_s:.4f}", f"{event.stop_s:.4f}"
        if start != now:
            rows.append(_format_row(now, start, "bckg"))
        if stop != start:
            rows.append(_format_row(start, stop, "seiz", confidence))
        now = stop
    if now != end:
        rows.append(_format_row(now, end, "bckg"))
    head = [
        "# version = csv_v1.0.0",
        f"# bname = {name}",
        f"# duration = {end} secs",
        f"# montage_file = {_MONTAGE}",
        "#",
        ",".join(_COLUMNS),
    ]
    return "\n".join([*head, *rows]) + "\n"


def _header(line: Line) -> list[str]:
    names = [name.strip() for name in line.text.split(",")]
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise line.error(f"the header lacks {missing}; it must name {list(_REQUIRED)}")
    return names


def _row(line: Line, names: list[str]) -> tuple[str, Event]:
    values = [value.strip() for value in line.text.split(",")]
    if len(values) != len(names):
        raise line.error(f"{len(values)} values for the {len(names)} columns {names}")
    row = dict(zip(names, values, strict=True))
    start_s = line.seconds("start_time", row["start_time"])
    stop_s = line.seconds("stop_time", row["stop_time"])
    return row["channel"], line.event(start_s, stop_s, row["label"])


def _union_by_label(events: Sequence[Event]) -> tuple[Event, ...]:
    labels = {event.label for event in events}
    unions = (
        union((event for event in events if event.label == label), label=label) for label in labels
    )
    return tuple(sorted(event for part in unions for event in part))


def _stated_duration(lines: Sequence[Line]) -> float | None:
    for line in lines:
        if line.text.startswith("#") and "duration" in line.text.split("=")[0]:
            match = _DURATION.fullmatch(line.text)
            if match is None:
                raise line.error("expected `# duration = 301.0000 secs`")
            return float(match[1])
    return None


def _tse_event(line: Line) -> Event:
    values = line.text.split()
    if len(values) != 4:
        raise line.error("expected `start stop label probability`")
    start_s, stop_s = (line.seconds("time", value) for value in values[:2])
    return line.event(start_s, stop_s, values[2])


def _format_row(start: str, stop: str, label: str, confidence: float | None = None) -> str:
    return f"{_TERM},{start},{stop},{label},{1.0 if confidence is None else confidence:.4f}"
