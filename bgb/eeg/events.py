"""Events: what a reader of EEG marked, in seconds from the start of the recording, half-open.

The vocabulary is explicit (lessons 2, 3 and 8): a label is a seizure, background or a known
other event; anything else is an error, never silently background.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bgb.errors import AnnotationError

SEIZURE_LABELS = frozenset(
    # TUSZ v2.0.3 (csv and csv_bi) and v1.5 (tse); "sz" is BIDS / SzCORE.
    "seiz fnsz gnsz spsz cpsz absz tnsz cnsz tcsz atsz mysz nesz sz".split()
)
SEIZURE_PREFIX = "sz_"  # HED-SCORE subtypes: sz_foc_ia_m_tonic, sz_gen_...
BACKGROUND_LABELS = frozenset({"bckg"})
OTHER_LABELS = frozenset({"impd"})  # SeizeIT2: impedance check
LABEL_VOCABULARY = (
    "seizure:" + ",".join(sorted(SEIZURE_LABELS)) + f",{SEIZURE_PREFIX}*"
    ";background:"
    + ",".join(sorted(BACKGROUND_LABELS))
    + ";other:"
    + ",".join(sorted(OTHER_LABELS))
)


@dataclass(frozen=True, order=True)
class Event:
    """One marked stretch of a recording: [start_s, stop_s) seconds and its label."""

    start_s: float
    stop_s: float
    label: str = "seiz"

    def __post_init__(self) -> None:
        if not 0 <= self.start_s <= self.stop_s < float("inf"):
            raise AnnotationError(
                f"event {self.label!r} [{self.start_s}, {self.stop_s}) s: "
                "a start must be >= 0 and a stop not before its start"
            )

    @property
    def duration_s(self) -> float:
        return self.stop_s - self.start_s


def is_seizure(label: str) -> bool:
    """Tell whether a label is a seizure; an unknown label raises `AnnotationError`."""
    if label in SEIZURE_LABELS or label.startswith(SEIZURE_PREFIX):
        return True
    if label in BACKGROUND_LABELS or label in OTHER_LABELS:
        return False
    raise AnnotationError(f"unknown label {label!r}; known are {LABEL_VOCABULARY}")


def seizures(events: Iterable[Event]) -> tuple[Event, ...]:
    """Return the union of all seizure events as disjoint, sorted events labelled `seiz`."""
    return union(event for event in events if is_seizure(event.label))


def union(events: Iterable[Event], *, label: str = "seiz") -> tuple[Event, ...]:
    """Merge overlapping or touching events, whatever their labels, into disjoint ones."""
    merged: list[list[float]] = []
    for event in sorted(events):
        if merged and event.start_s <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], event.stop_s)
        else:
            merged.append([event.start_s, event.stop_s])
    return tuple(Event(start, stop, label) for start, stop in merged)


def clip_events(
    events: Sequence[Event], duration_s: float
) -> tuple[tuple[Event, ...], tuple[str, ...]]:
    """Clip events to [0, duration_s); return them and one remark for each that was changed.

    An event wholly past the end is dropped, with a remark (TUSZ before 2.0.1 has both kinds).
    """
    kept, remarks = [], []
    for event in events:
        if event.stop_s <= duration_s:
            kept.append(event)
            continue
        what = "dropped" if event.start_s >= duration_s else "clipped"
        remarks.append(
            f"{event.label} [{event.start_s:.4f}, {event.stop_s:.4f}) s ends after the recording "
            f"({duration_s:.4f} s): {what}"
        )
        if what == "clipped":
            kept.append(Event(event.start_s, duration_s, event.label))
    return tuple(kept), tuple(remarks)
