"""What must hold before training or scoring starts, and the table that shows it.

The predecessor trained for days on caches without a single seizure (lessons 1, 14, 36), with a
patient in two splits (lesson 10) or labels of the wrong length (lesson 4). Here that is an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

from rich.console import Console
from rich.table import Table

from bgb.config.data import SPLITS
from bgb.data.cache import Cache, CachedRecording
from bgb.errors import CacheError


@dataclass(frozen=True)
class SplitSummary:
    """Counts of one split."""

    split: str
    num_recordings: int
    num_patients: int
    hours: float
    num_seizures: int
    seizure_s: float
    num_incomplete: int
    gigabytes: float

    @property
    def seizure_percent(self) -> float:
        return 100 * self.seizure_s / (3600 * self.hours) if self.hours else 0.0


def check_cache(cache: Cache, *, splits: Sequence[str] = SPLITS) -> None:
    """Refuse a cache that cannot be trained on or scored.

    Raises
    ------
    CacheError : a split is empty or has no seizure, a patient is in two splits, or labels outlast
        the signal; the message holds the table.
    """
    problems = [
        *_empty_splits(cache, splits),
        *_shared_patients(cache),
        *_labels_past_the_end(cache),
    ]
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise CacheError(f"{cache.folder} cannot be used:\n{lines}\n{summary_text(cache)}")


def refuse_missing(cache: Cache) -> None:
    """Apply the policy `frontend.missing=refuse`: no recording may lack an electrode."""
    lacking = [recording for recording in cache if recording.entry.missing]
    if lacking:
        names = [f"{item.recording_id} ({', '.join(item.entry.missing)})" for item in lacking[:10]]
        raise CacheError(
            f"{len(lacking)} recordings lack electrodes: {', '.join(names)}"
            f"{', ...' if len(lacking) > 10 else ''}; choose frontend.missing=interpolate or mask, "
            "or list them in data.exclude"
        )


def summarise(cache: Cache) -> tuple[SplitSummary, ...]:
    """Return the counts of each split that has recordings."""
    groups = ((split, cache.split(split)) for split in SPLITS)
    return tuple(_summary(split, recordings) for split, recordings in groups if recordings)


def summary_table(cache: Cache) -> Table:
    """Return the counts of each split as a table for the terminal."""
    table = Table(title=f"cache {cache.folder.parent.name}/{cache.folder.name}")
    table.add_column("split")
    for column in (
        "recordings",
        "patients",
        "hours",
        "seizures",
        "seizure s",
        "%",
        "lacking",
        "GB",
    ):
        table.add_column(column, justify="right")
    for row in summarise(cache):
        table.add_row(
            row.split,
            f"{row.num_recordings:,}",
            f"{row.num_patients:,}",
            f"{row.hours:,.2f}",
            f"{row.num_seizures:,}",
            f"{row.seizure_s:,.0f}",
            f"{row.seizure_percent:.1f}",
            f"{row.num_incomplete:,}",
            f"{row.gigabytes:.2f}",
        )
    return table


def summary_text(cache: Cache) -> str:
    """Return the table as plain text, for logs and errors."""
    return as_text(summary_table(cache))


def as_text(table: Table) -> str:
    """Draw any table without colours, 100 columns wide."""
    stream = StringIO()
    Console(file=stream, width=100, color_system=None).print(table)
    return stream.getvalue()


def _summary(split: str, recordings: Sequence[CachedRecording]) -> SplitSummary:
    entries = [recording.entry for recording in recordings]
    return SplitSummary(
        split=split,
        num_recordings=len(entries),
        num_patients=len({entry.patient for entry in entries}),
        hours=sum(entry.duration_s for entry in entries) / 3600,
        num_seizures=sum(entry.num_seizures for entry in entries),
        seizure_s=sum(entry.seizure_s for entry in entries),
        num_incomplete=sum(bool(entry.missing) for entry in entries),
        gigabytes=sum(entry.num_bytes for entry in entries) / 1e9,
    )


def _empty_splits(cache: Cache, splits: Sequence[str]) -> list[str]:
    counts = {row.split: row for row in summarise(cache)}
    problems = []
    for split in splits:
        if split not in counts:
            problems.append(f"split {split} has no recording; see data.split and data.limit")
        elif counts[split].num_seizures == 0 or counts[split].seizure_s == 0:
            problems.append(
                f"split {split} has no seizure in {counts[split].num_recordings} recordings; "
                "see the label files, data.split and data.limit"
            )
    return problems


def _shared_patients(cache: Cache) -> list[str]:
    splits_of: dict[str, set[str]] = {}
    for recording in cache:
        splits_of.setdefault(recording.patient, set()).add(recording.split)
    return [
        f"patient {patient} is in {' and '.join(sorted(splits, key=SPLITS.index))}: leakage; "
        "see data.split"
        for patient, splits in sorted(splits_of.items())
        if len(splits) > 1
    ]


def _labels_past_the_end(cache: Cache) -> list[str]:
    return [
        f"{recording.recording_id}: {event.label} ends at {event.stop_s} s, the signal at "
        f"{recording.duration_s} s; clip or correct its label file and build again"
        for recording in cache
        for event in recording.events
        if event.stop_s > min(recording.duration_s + 1e-6, recording.num_seconds)
    ]
