"""Siena lists (Seizures-list-PNxx.txt): hand-written blocks with times of day.

A time before the start of the registration belongs to the next day. The slips of the published
lists are corrected by the declared tables below, those of times with a remark; anything else that
cannot be read is an error. A recording that its list does not name has no labels (lesson 8): all
41 published recordings hold a seizure, and copies of the list of PN00 without PN00-3 exist.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from bgb.eeg.annotations.labels import Labels, Line, keep, numbered
from bgb.errors import AnnotationError

_DAY_S = 24 * 3600
_MISSPELT = {  # as the list spells it: as the EDF file is called
    "PN01.edf": "PN01-1.edf",
    "PNO6-1.edf": "PN06-1.edf",  # the letter O
    "PNO6-2.edf": "PN06-2.edf",
    "PNO6-4.edf": "PN06-4.edf",
    "PN11-.edf": "PN11-1.edf",
}
_ERRATA = {  # (EDF file, kind of line, as listed): (as read, why)
    ("PN00-3.edf", "seizure end", "19.29.29"): (
        "18.29.29",
        "61 minutes long and past the end of the registration; the SzCORE edition reads 18.29.29",
    ),
    ("PN10-2.edf", "seizure end", "11.41.04 opure 11.40.43"): ("11.41.04", "the later of two ends"),
    (
        "PN10-3.edf",
        "seizure start",
        "15.43.53 (CLINICAL ONSET); 15.43.59 (ELECTRIC ONSET)",
    ): ("15.43.59", "the onset in the EEG"),
    ("PN10-7.8.9.edf", "registration start", "1 6.49.25"): ("16.49.25", "a blank in the hour"),
    ("PN14-3.edf", "registration start", "16.17.45"): (
        "19.17.45",
        "the EDF starts at 19.17.45 and ends with the registration",
    ),
}
_BLOCK = re.compile(r"Seizure n\s*(\d+)\s*(\(.*\))?:?", re.IGNORECASE)
_FILE = re.compile(r"File name:\s*(\S+)", re.IGNORECASE)
_FIELD = re.compile(r"(Registration|Seizure)?\s*(start|end) time:\s*(.*)", re.IGNORECASE)
_TIME = re.compile(r"(\d{1,2})[.:](\d{2})[.:](\d{2})(\s*\(CLINICAL ONSET\))?")
_IGNORED = re.compile(
    r"|PN\d\d|Data Sampling Rate:.*|Channels in EDF files:|\**|Channel \d+:.*", re.IGNORECASE
)


@dataclass(frozen=True)
class _Time:
    """A time of day in seconds after midnight, the line it stands on and the correction made."""

    line: Line
    clock_s: int
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Seizure:
    recording: str
    registration: dict[str, _Time]
    times: dict[str, _Time]


def is_list(text: str) -> bool:
    """Tell whether a text is a Siena list."""
    return "Registration start time" in text and "Seizure n" in text


def parse_list(path: str, text: str, recording: str) -> Labels:
    """Parse what the list says of one recording, by its EDF file name."""
    wanted = _MISSPELT.get(recording, recording)
    blocks = list(_blocks(path, text))
    mine = [block for block in blocks if block.recording == wanted]
    if not mine:
        names = list_names(path, text)
        raise AnnotationError(
            f"{path} does not name {recording!r}, so nothing is known of its seizures; nearest of "
            f"its {len(names)} recordings: {get_close_matches(wanted, names) or names[:3]}"
        )
    start = mine[0].registration["start"]
    duration_s = (mine[0].registration["end"].clock_s - start.clock_s) % _DAY_S
    remarks = [remark for block in mine for remark in _remarks(block)]
    spans = [{edge: _since(time, start) for edge, time in block.times.items()} for block in mine]
    events = [
        block.times["start"].line.event(span["start"], span["end"], "seiz")
        for block, span in zip(mine, spans, strict=True)
    ]
    kept, dropped = keep(events)
    return Labels(
        kept,
        duration_s=duration_s,
        clock_s=start.clock_s,
        remarks=tuple(dict.fromkeys(remarks)) + dropped,
    )


def list_names(path: str, text: str) -> tuple[str, ...]:
    """Return the EDF files that a list names, corrected, each once."""
    return tuple(dict.fromkeys(block.recording for block in _blocks(path, text)))


def has_labels(recording: str, names: tuple[str, ...]) -> bool:
    """Tell whether a list that names these recordings speaks for this one too."""
    return _MISSPELT.get(recording, recording) in names


def _blocks(path: str, text: str) -> Iterator[_Seizure]:
    """Read line by line: file and registration hold until they are stated anew (PN12)."""
    recording, registration = "", dict[str, _Time]()
    times, opened = dict[str, _Time](), None
    for line in numbered(path, text):
        if _BLOCK.fullmatch(line.text):
            if opened is not None:
                yield _close(opened, recording, registration, times)
            opened, times = line, {}
        elif match := _FILE.fullmatch(line.text):
            name = _MISSPELT.get(match[1], match[1])
            if name != recording:
                recording, registration = name, {}
        elif match := _FIELD.fullmatch(line.text):
            group = "registration" if (match[1] or "").lower() == "registration" else "seizure"
            edge = match[2].lower()
            time = _time(line, recording, f"{group} {edge}", match[3].strip())
            if group == "registration":
                registration = {**registration, edge: time}
            else:
                times[edge] = time
        elif not _IGNORED.fullmatch(line.text):
            raise line.error(
                "expected `Seizure n N`, `File name: X.edf`, or a registration or seizure "
                "start or end time as hh.mm.ss"
            )
    if opened is not None:
        yield _close(opened, recording, registration, times)


def _close(
    line: Line, recording: str, registration: dict[str, _Time], times: dict[str, _Time]
) -> _Seizure:
    if not recording or len(registration) < 2 or len(times) < 2:
        raise line.error(
            "the block must give a file name, registration start and end, seizure start and end"
        )
    return _Seizure(recording, registration, times)


def _time(line: Line, recording: str, kind: str, text: str) -> _Time:
    read, why = _ERRATA.get((recording, kind, text), (text, ""))
    match = _TIME.fullmatch(read)
    if match is None or int(match[1]) > 23 or int(match[2]) > 59 or int(match[3]) > 59:
        raise line.error(f"{read!r} is not a time of day; expected hh.mm.ss or hh:mm:ss")
    remarks = (f"{kind} {text!r} read as {read} ({why})",) if why else ()
    return _Time(line, 3600 * int(match[1]) + 60 * int(match[2]) + int(match[3]), remarks)


def _remarks(block: _Seizure) -> Iterator[str]:
    for time in (*block.registration.values(), *block.times.values()):
        yield from time.remarks


def _since(time: _Time, start: _Time) -> float:
    """Seconds from the start of the registration; earlier in the day means the next day."""
    return float((time.clock_s - start.clock_s) % _DAY_S)
