"""CHB-MIT summaries (chbNN-summary.txt): every recording of a case with its seizures in seconds.

A recording that the summary does not name has no labels, which is an error (lesson 8), save in
chb24, whose summary names the recordings with seizures only.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches

from bgb.eeg.annotations.labels import Labels, Line, keep, numbered
from bgb.eeg.events import Event
from bgb.errors import AnnotationError

_DAY_S = 24 * 3600
_NAMES_ONLY_SEIZURES = "chb24"
_FILE = re.compile(r"File Name:\s*(\S+)")
_COUNT = re.compile(r"Number of Seizures in File:\s*(\d+)")
_CLOCK = re.compile(r"File (Start|End) Time:\s*(\d{1,2}):(\d{2}):(\d{2})")  # hours up to 28
_EDGE = re.compile(r"Seizure(?:\s+\d+)?\s+(Start|End) Time:\s*(\d+)\s*seconds")
_IGNORED = re.compile(
    r"|\*+|Data Sampling Rate:.*|Channels changed:|Channels in EDF Files:|Channel \d+:.*"
)


def is_summary(text: str) -> bool:
    """Tell whether a text is a CHB-MIT summary."""
    return "Channels in EDF Files:" in text and _FILE.search(text) is not None


def parse_summary(path: str, text: str, recording: str) -> Labels:
    """Parse what the summary says of one recording, by its EDF file name."""
    for name, head, lines in _sections(path, text):
        if name == recording:
            return _section(head, lines)
    if recording.startswith(_NAMES_ONLY_SEIZURES):
        return Labels(
            (),
            remarks=(
                f"not in the summary, which names {_NAMES_ONLY_SEIZURES} "
                "recordings with seizures only: read as without seizure",
            ),
        )
    names = summary_names(path, text)
    raise AnnotationError(
        f"{path} does not name {recording!r}; nearest of its {len(names)} recordings: "
        f"{get_close_matches(recording, names) or names[:3]}"
    )


def summary_names(path: str, text: str) -> tuple[str, ...]:
    """Return the EDF file names that a summary names, in its order."""
    return tuple(name for name, _, _ in _sections(path, text))


def has_labels(recording: str, names: tuple[str, ...]) -> bool:
    """Tell whether a summary that names these recordings speaks for this one too."""
    return recording in names or recording.startswith(_NAMES_ONLY_SEIZURES)


def _sections(path: str, text: str) -> Iterator[tuple[str, Line, list[Line]]]:
    """Cut the summary at each `File Name:`, leaving out the channel lists in between."""
    head, name, lines = None, "", list[Line]()
    for line in numbered(path, text):
        if _IGNORED.fullmatch(line.text):
            continue
        match = _FILE.fullmatch(line.text)
        if match is None:
            lines.append(line)
            continue
        if head is not None:
            yield name, head, lines
        head, name, lines = line, match[1], []
    if head is not None:
        yield name, head, lines


def _section(head: Line, lines: list[Line]) -> Labels:
    count, clock_s, edges = None, dict[str, float](), list[tuple[Line, str, float]]()
    for line in lines:
        if match := _COUNT.fullmatch(line.text):
            count = (line, int(match[1]))
        elif match := _CLOCK.fullmatch(line.text):
            clock_s[match[1]] = 3600 * int(match[2]) + 60 * int(match[3]) + int(match[4])
        elif match := _EDGE.fullmatch(line.text):
            edges.append((line, match[1], float(match[2])))
        else:
            raise line.error(
                "expected file times, `Number of Seizures in File: N` or "
                "`Seizure [n] Start|End Time: N seconds`"
            )
    if count is None:
        raise head.error("no `Number of Seizures in File: N` follows")
    events = _pair(edges)
    if count[1] != len(events):
        raise count[0].error(f"{len(events)} seizures follow")
    kept, remarks = keep(events)
    return Labels(
        kept, duration_s=_duration(clock_s), clock_s=clock_s.get("Start"), remarks=remarks
    )


def _pair(edges: list[tuple[Line, str, float]]) -> list[Event]:
    """Join each start with the end that must follow it; numbers err (chb09_08) and are not read."""
    events = []
    for index in range(0, len(edges), 2):
        pair = edges[index : index + 2]
        line, edge, start_s = pair[0]
        if edge != "Start" or len(pair) == 1 or pair[1][1] != "End":
            raise line.error("a seizure is a Start Time line and then its End Time line")
        events.append(line.event(start_s, pair[1][2], "seiz"))
    return events


def _duration(clock_s: dict[str, float]) -> float | None:
    if len(clock_s) < 2:
        return None
    return (clock_s["End"] - clock_s["Start"]) % _DAY_S or None
