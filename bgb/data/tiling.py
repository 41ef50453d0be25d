"""Tiling: the signals of a recording, as they are read, to int16 seconds.

Filtered blocks are rounded to the quantum and cut into seconds while they are in the cache of the
core; a recording of a day needs no more memory than one of minutes. `Tiling` is the only way from
signals to tiles: building a cache and detection on a single EDF both take it.
"""

# Shapes: S seconds, C channels, P channels that are present, R samples a second, N samples

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgb.config.data import PreprocessConfig
from bgb.eeg.channels import assign_channels
from bgb.eeg.events import Event
from bgb.eeg.filter_plan import plan_filter
from bgb.eeg.filters import BlockFilter, Read
from bgb.eeg.signal import QUANTUM_UV, SignalSpec
from bgb.errors import CacheError, ChannelError

_LARGEST = 32767  # saturation is symmetric: +-3276.7 microvolts


@dataclass(frozen=True)
class SignalFacts:
    """What tiling must know of the signals of a recording before it reads them."""

    recording_id: str
    channels: tuple[str, ...]
    rate_hz: float
    num_samples: int
    duration_s: float
    events: tuple[Event, ...]


class Tiling:
    """Turns the signals of one recording into tiles, block by block.

    Attributes
    ----------
    spec, present_C : of the tiles; a channel that the file lacks is zero and not present.
    rows : the channels of the file to be read, in the order of those that are present.
    shape : (S, C, R) of all tiles together.
    filter : what has been done of the recording.
    missing, remarks : channels that the file lacks, and what was odd about the others.

    Parameters
    ----------
    live : filter in the shortest blocks, which differs from the longest by no more than rounding.

    Raises
    ------
    ChannelError : the channels fit no montage, or more than `max_missing` are missing (lesson 6).
    CacheError : signal, duration and events contradict each other (lesson 4).
    """

    def __init__(
        self, facts: SignalFacts, config: PreprocessConfig, *, max_missing: int, live: bool = False
    ) -> None:
        _check_lengths(facts)
        assignment = assign_channels(facts.channels)
        if len(assignment.missing) > max_missing:
            raise ChannelError(
                f"{facts.recording_id} lacks {len(assignment.missing)} of "
                f"{len(assignment.channels)} channels ({', '.join(assignment.missing)}), more than "
                f"data.max_missing={max_missing}; raise data.max_missing or list the recording in "
                "data.exclude"
            )
        self._recording_id, self._source_hz = facts.recording_id, facts.rate_hz
        plan = plan_filter(facts.num_samples, facts.rate_hz, config, unit_uv=QUANTUM_UV, live=live)
        self.spec = SignalSpec(assignment.channel_set, assignment.channels, config.rate_hz)
        self.missing, self.remarks = assignment.missing, assignment.remarks
        self.present_C = np.array([source is not None for source in assignment.sources])
        num_channels = len(assignment.channels)
        self.shape = (count_seconds(facts.duration_s), num_channels, config.rate_hz)
        sources = [source for source in assignment.sources if source is not None]
        self.rows = [row for row, _ in sources]
        self.filter = BlockFilter(len(self.rows), plan)
        self._turned_P = np.array([sign < 0 for _, sign in sources])
        self._places_P = np.flatnonzero(self.present_C)
        self._sums = [_Sums() if here else _Sums(0, 0, 0) for here in self.present_C]
        # The last tile may hold less than half a sample: then no block reaches into it.
        most = plan.hop_out // config.rate_hz + 1
        self._tiles_SCR = np.zeros((most, num_channels, config.rate_hz), np.int16)
        self._done = 0

    def blocks(self, read: Read) -> Iterator[NDArray[np.int16]]:
        """Yield consecutive tiles, (n, C, R); the memory is used again.

        `read` is asked for every sample of `rows` once, in microvolts, from beginning to end.

        Raises
        ------
        CacheError : samples that are not finite.
        """
        while not self.filter.is_done:
            yield self.block(read)

    def block(self, read: Read) -> NDArray[np.int16]:
        """Return the next tiles, (n, C, R), in memory that is used again; see `blocks`."""
        rate_hz, count = self.shape[-1], 0
        for start, first, piece_GN in self.filter.next(read):
            is_last = start + piece_GN.shape[1] >= self.filter.plan.length
            count = self.shape[0] - self._done if is_last else piece_GN.shape[1] // rate_hz
            for row, piece_N in enumerate(piece_GN, start=first):
                if self._turned_P[row]:
                    piece_N *= -1
                self._round(piece_N, self._sums[self._places_P[row]])
                _cut(piece_N, self._tiles_SCR[:count, self._places_P[row]])
        self._done += count
        return self._tiles_SCR[:count]

    def end(self, num_samples: int) -> None:
        """Let a live recording end after so many samples; `blocks` yields what is left."""
        duration_s, rate_hz = num_samples / self._source_hz, self.shape[-1]
        length = round(duration_s * rate_hz)
        self.filter.plan = replace(self.filter.plan, num_samples=num_samples, length=length)
        self.shape = (count_seconds(duration_s), *self.shape[1:])

    @property
    def statistics(self) -> tuple[dict[str, Any], ...]:  # Any: JSON, one object a channel
        """Of the tiles so far: root mean square, extremes (uV), number of saturated samples."""
        return tuple(
            {
                "channel": name,
                "rms_uv": round(math.sqrt(sums.squares / self.filter.plan.length) * QUANTUM_UV, 3),
                "min_uv": round(sums.lowest * QUANTUM_UV, 1),
                "max_uv": round(sums.highest * QUANTUM_UV, 1),
                "clipped": sums.num_clipped,
            }
            for name, sums in zip(self.spec.channels, self._sums, strict=True)
        )

    def _round(self, piece_N: NDArray[np.float32], sums: "_Sums") -> None:
        """Round quanta, saturate them and count them in."""
        np.rint(piece_N, out=piece_N)
        lowest, highest = float(piece_N.min()), float(piece_N.max())
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            raise CacheError(
                f"{self._recording_id}: the filtered signal is not finite; exclude the recording"
            )
        if lowest < -_LARGEST or highest > _LARGEST:
            sums.num_clipped += int(np.count_nonzero(np.abs(piece_N) > _LARGEST))
            np.clip(piece_N, -_LARGEST, _LARGEST, out=piece_N)
            lowest, highest = max(lowest, -_LARGEST), min(highest, _LARGEST)
        sums.lowest, sums.highest = min(sums.lowest, lowest), max(sums.highest, highest)
        # Sums of whole numbers below 2**53 are exact: the same samples, the same bytes anywhere.
        sums.squares += int(np.square(piece_N, dtype=np.float64).sum())


@dataclass
class _Sums:
    """What the statistics of a channel are made of, in quanta."""

    squares: int = 0
    lowest: float = math.inf
    highest: float = -math.inf
    num_clipped: int = 0


def count_seconds(duration_s: float) -> int:
    """Return the number of tiles of a recording: whole seconds, the last one begun counts."""
    return max(1, math.ceil(round(duration_s, 6)))  # 3 x 0.1 s must not begin a further second


def _cut(piece_N: NDArray[np.float32], tiles_SR: NDArray[np.int16]) -> None:
    """Copy one channel into its tiles; zeros fill the last second.

    Rounding of a fractional rate may leave a sample or two beyond the duration, never more.
    """
    num_tiles, rate_hz = tiles_SR.shape
    whole = min(len(piece_N) // rate_hz, num_tiles)
    tiles_SR[:whole] = piece_N[: whole * rate_hz].reshape(whole, rate_hz)
    if whole < num_tiles:
        tiles_SR[whole:] = 0
        rest_N = piece_N[whole * rate_hz :]
        tiles_SR[whole, : len(rest_N)] = rest_N


def _check_lengths(facts: SignalFacts) -> None:
    name = facts.recording_id
    if facts.num_samples == 0:
        raise CacheError(f"{name} holds no samples; list it in data.exclude")
    signal_s = facts.num_samples / facts.rate_hz
    if abs(signal_s - facts.duration_s) > 1.5 / facts.rate_hz:
        raise CacheError(
            f"{name}: {facts.num_samples} samples at {facts.rate_hz} Hz are {signal_s:.4f} s "
            f"but its duration is {facts.duration_s:.4f} s; list it in data.exclude"
        )
    for event in facts.events:
        if event.stop_s > facts.duration_s + 1e-6:
            raise CacheError(
                f"{name}: {event.label} [{event.start_s}, {event.stop_s}) s ends after the signal "
                f"({facts.duration_s} s); clip the events or correct the label file"
            )
