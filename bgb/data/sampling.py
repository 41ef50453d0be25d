"""Which windows an epoch is made of: a pure function of (seed, epoch), nothing else.

Every whole second starts a window; what it judges is `partial` (some seizure), `full` (all of it)
or `none`. Kinds are drawn in the proportion of their weights, or as often as they exist
(`natural`), patients evenly within a kind, and windows without repetition where there are enough;
everything afresh each epoch (lessons 14, 16, 17).
The index keeps runs of equal kind, so it grows with the events, not with the windows.
"""

# Shapes: S seconds, N windows of an epoch

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bgb.config.augment import ShiftConfig
from bgb.config.data import SamplingConfig
from bgb.data.cache import CachedRecording
from bgb.data.windows import num_starts
from bgb.eeg.events import seizures
from bgb.errors import CacheError

_LOG = logging.getLogger(__name__)
KINDS = ("none", "partial", "full")
_NONE, _PARTIAL, _FULL = range(3)


@dataclass(frozen=True, eq=False)
class Runs:
    """Stretches of window starts in a few recordings, addressable as one list of windows."""

    recordings: NDArray[np.int64]
    first_starts: NDArray[np.int64]
    ends: NDArray[np.int64]  # cumulative number of windows

    def __len__(self) -> int:
        return int(self.ends[-1])

    def locate(self, windows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return recording and start of the given windows, numbered from 0 to len."""
        run = np.searchsorted(self.ends, windows, side="right")
        before = np.where(run > 0, self.ends[run - 1], 0)
        return self.recordings[run], self.first_starts[run] + windows - before


@dataclass(frozen=True, eq=False)
class WindowIndex:
    """All windows of a split: for each kind that exists, the runs of each group of patients."""

    groups: dict[str, list[Runs]]

    def count(self, kind: str) -> int:
        """Return how many windows of a kind there are."""
        return sum(len(runs) for runs in self.groups.get(kind, []))


@dataclass(frozen=True, eq=False)
class Epoch:
    """The windows of one epoch, in order: index of the recording, and where they begin (s)."""

    recording_N: NDArray[np.int64]
    start_N: NDArray[np.int64] | NDArray[np.float64]  # between two whole seconds if shifted

    def __len__(self) -> int:
        return len(self.start_N)


def index_windows(
    recordings: Sequence[CachedRecording], *, judged_s: int, by_patient: bool = True
) -> WindowIndex:
    """Sort every window of a split into kinds and patients; reads events, no signals."""
    found: dict[str, dict[str, list[tuple[int, int, int]]]] = {kind: {} for kind in KINDS}
    for number, recording in enumerate(recordings):
        group = recording.patient if by_patient else ""
        for first, stop, kind in _equal_stretches(window_kinds(recording, judged_s)):
            found[KINDS[kind]].setdefault(group, []).append((number, first, stop - first))
    return WindowIndex(
        {
            kind: [_runs(groups[group]) for group in sorted(groups)]
            for kind, groups in found.items()
            if groups
        }
    )


def window_kinds(recording: CachedRecording, judged_s: int) -> NDArray[np.int8]:
    """Return the kind of the window at every start: 0 none, 1 partial, 2 full."""
    events = seizures(recording.events)
    if not events:  # most recordings: a large corpus is to be indexed within a second
        return np.full(num_starts(recording.num_seconds, judged_s), _NONE, np.int8)
    seizure_S = np.zeros(recording.num_seconds)  # seconds of seizure in each second
    for event in events:
        second_S = np.arange(int(event.start_s), min(int(np.ceil(event.stop_s)), len(seizure_S)))
        overlap_S = np.minimum(second_S + 1, event.stop_s) - np.maximum(second_S, event.start_s)
        seizure_S[second_S] += overlap_S
    total = np.concatenate([[0.0], np.cumsum(seizure_S)])
    starts = np.arange(num_starts(recording.num_seconds, judged_s))
    stops = np.minimum(starts + judged_s, recording.num_seconds)
    inside = total[stops] - total[starts]
    length = np.minimum(stops, recording.duration_s) - starts
    kinds = np.where(inside > 1e-6, _PARTIAL, _NONE)
    return np.where(inside >= length - 1e-6, _FULL, kinds).astype(np.int8)


def check_kinds(index: WindowIndex, sampling: SamplingConfig) -> None:
    """Say what there is to draw from; refuse a split without a seizure window to draw."""
    counts = {kind: index.count(kind) for kind in KINDS}
    _LOG.info("windows: %s", ", ".join(f"{kind} {count:,}" for kind, count in counts.items()))
    weights = _weights(index, sampling)
    if not any(weights[kind] for kind in ("partial", "full")):
        raise CacheError(
            f"no seizure window to draw: there are {counts['partial']} partial and "
            f"{counts['full']} full windows, data.sampling.partial={sampling.partial}, "
            f"full={sampling.full}; see the label files, data.window_s and data.sampling"
        )
    quotas = _share(sampling.windows_per_epoch, weights)
    if not quotas["partial"] + quotas["full"]:
        raise CacheError(
            f"an epoch of data.sampling.windows_per_epoch={sampling.windows_per_epoch} would hold "
            "no seizure window; raise it, or draw more of them (data.sampling)"
        )
    for kind in KINDS:
        if not sampling.natural and getattr(sampling, kind) > 0 and counts[kind] == 0:
            _LOG.warning("no window of kind %s exists: its share goes to the others", kind)


def draw_epoch(index: WindowIndex, sampling: SamplingConfig, *, seed: int, epoch: int) -> Epoch:
    """Draw the windows of an epoch, shuffled; the same arguments give the same epoch."""
    generator = np.random.default_rng([seed, epoch])
    quotas = _share(sampling.windows_per_epoch, _weights(index, sampling))
    parts = [
        _draw_kind(index.groups[kind], quota, generator)
        for kind, quota in quotas.items()
        if quota > 0
    ]
    recording_N, start_N = (np.concatenate(columns) for columns in zip(*parts))
    order = generator.permutation(len(start_N))
    return Epoch(recording_N[order], start_N[order])


def shift_epoch(epoch: Epoch, shift: ShiftConfig, *, rate_hz: int, seed: int, number: int) -> Epoch:
    """Let windows begin some samples after their second; `number` is that of the epoch."""
    if not shift.probability:
        return epoch
    generator = np.random.default_rng([seed, number, 1])  # not the numbers of `draw_epoch`
    shift_N = generator.integers(max(1, round(shift.max_s * rate_hz)), size=len(epoch))
    chosen_N = generator.random(len(epoch)) < shift.probability
    return Epoch(epoch.recording_N, epoch.start_N + chosen_N * shift_N / rate_hz)


def _draw_kind(
    groups: list[Runs], quota: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw evenly over the groups; who gets one more than the others is drawn as well."""
    share, rest = divmod(quota, len(groups))
    extra = np.zeros(len(groups), np.int64)
    extra[generator.permutation(len(groups))[:rest]] = 1
    drawn = [
        runs.locate(_draw_windows(len(runs), share + int(more), generator))
        for runs, more in zip(groups, extra)
    ]
    recording_N, start_N = zip(*drawn)
    return np.concatenate(recording_N), np.concatenate(start_N)


def _draw_windows(total: int, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw `count` of `total` windows; all of them before any comes again."""
    rounds, rest = divmod(count, total)
    once = generator.choice(total, size=rest, replace=False)
    return np.concatenate([np.tile(np.arange(total), rounds), once]).astype(np.int64)


def _weights(index: WindowIndex, sampling: SamplingConfig) -> dict[str, float]:
    if sampling.natural:
        return {kind: float(index.count(kind)) for kind in KINDS}
    weights = {"none": sampling.none, "partial": sampling.partial, "full": sampling.full}
    return {kind: weight if index.count(kind) else 0.0 for kind, weight in weights.items()}


def _share(total: int, weights: dict[str, float]) -> dict[str, int]:
    """Split a whole number by weights: largest remainders, ties in the order of the kinds."""
    exact = {kind: total * weight / sum(weights.values()) for kind, weight in weights.items()}
    quotas = {kind: int(value) for kind, value in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: quotas[kind] - exact[kind])
    for kind in by_remainder[: total - sum(quotas.values())]:
        quotas[kind] += 1
    return quotas


def _equal_stretches(kinds: NDArray[np.int8]) -> list[tuple[int, int, int]]:
    edges = np.flatnonzero(kinds[1:] != kinds[:-1]) + 1
    bounds = [0, *edges.tolist(), len(kinds)]
    return [(first, stop, int(kinds[first])) for first, stop in pairwise(bounds)]


def _runs(rows: list[tuple[int, int, int]]) -> Runs:
    recordings, firsts, lengths = np.array(rows, np.int64).T
    return Runs(recordings, firsts, np.cumsum(lengths))
