"""What every dialect shares: text in, numbered lines, and events that name their line when wrong.

Nothing here is forgiving (lessons 1, 2 and 8): a value that cannot be read raises and says where.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bgb.eeg.events import BACKGROUND_LABELS, Event, clip_events, is_seizure
from bgb.eeg.remote import read_url
from bgb.errors import AnnotationError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """What one label file says about one recording.

    Attributes
    ----------
    events : every event that is not background, sorted, not clipped.
    duration_s : length of the recording as the label file states it.
    clock_s : seconds after midnight at which the label file lets the recording begin.
    remarks : what was odd and how it was read, one line each.
    """

    events: tuple[Event, ...]
    duration_s: float | None = None
    clock_s: float | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One line of a label file, which knows how to complain."""

    path: str
    number: int
    text: str

    def error(self, problem: str) -> AnnotationError:
        """Return an error that names file, line number and text."""
        return AnnotationError(f"{self.path}, line {self.number}: {self.text!r}: {problem}")

    def seconds(self, name: str, text: str) -> float:
        """Read a number of seconds."""
        try:
            return float(text)
        except ValueError:
            raise self.error(f"{name} must be a number of seconds, not {text!r}") from None

    def event(self, start_s: float, stop_s: float, label: str) -> Event:
        """Make an event; a label outside the vocabulary or a stop before the start raises."""
        try:
            is_seizure(label)
            return Event(start_s, stop_s, label)
        except AnnotationError as error:
            raise self.error(str(error)) from error


def read_text(path: str) -> str:
    """Read a text file, local or remote."""
    try:
        return read_url(path).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise AnnotationError(
            f"no label file {path}; give the right path, or annotations=None for none"
        ) from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path} is not a text file in UTF-8: {error}") from error


def numbered(path: str, text: str) -> tuple[Line, ...]:
    """Split a text into its lines, counted from 1, without surrounding blanks.

    Tabs stay: an empty last cell of an events.tsv is a value.
    """
    return tuple(
        Line(path, number, line.strip(" \r\n")) for number, line in enumerate(text.splitlines(), 1)
    )


def keep(events: Iterable[Event]) -> tuple[tuple[Event, ...], tuple[str, ...]]:
    """Drop background, and with a remark events of no length (TUSZ has one at 0 s); sort."""
    marked = sorted(event for event in events if event.label not in BACKGROUND_LABELS)
    remarks = tuple(
        f"{event.label} at {event.start_s:.4f} s has no length: dropped"
        for event in marked
        if event.duration_s == 0
    )
    return tuple(event for event in marked if event.duration_s > 0), remarks


def fit(labels: Labels, duration_s: float) -> tuple[tuple[Event, ...], tuple[str, ...]]:
    """Clip the events to the recording; remark on each change and on a length that differs."""
    events, clipped = clip_events(labels.events, duration_s)
    remarks = labels.remarks
    if labels.duration_s is not None and abs(labels.duration_s - duration_s) > 1:
        remarks += (
            f"the label file states {labels.duration_s:.4f} s, "
            f"the recording has {duration_s:.4f} s",
        )
    return events, remarks + clipped


def log_remarks(path: str | Path, remarks: Iterable[str]) -> None:
    """Log one warning for each remark."""
    for remark in remarks:
        _log.warning("%s: %s", path, remark)
