"""Tiles: a recording as int16 seconds, the form in which signals are cached, trained on and scored.

One tile is one second of all channels, channel-major inside, so a window at any whole second is one
contiguous read (DESIGN 4).
"""

# Shapes: S seconds, C channels, R samples a second

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bgb.config.data import PreprocessConfig
from bgb.data.tiling import SignalFacts, Tiling, count_seconds
from bgb.eeg.events import Event
from bgb.eeg.filters import reader
from bgb.eeg.recording import Recording
from bgb.eeg.signal import SignalSpec

__all__ = ["TiledRecording", "Tiles", "count_seconds", "tile_recording"]


class Tiles(Protocol):
    """What windows are cut from: a cached recording or one tiled in memory."""

    @property
    def recording_id(self) -> str: ...
    @property
    def spec(self) -> SignalSpec: ...
    @property
    def num_seconds(self) -> int: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def present_C(self) -> NDArray[np.bool_]: ...
    @property
    def events(self) -> tuple[Event, ...]: ...
    def tiles(self, start_second: int, stop_second: int) -> NDArray[np.int16]: ...


@dataclass(frozen=True, eq=False)
class TiledRecording:
    """A recording as int16 tiles, in memory.

    Attributes
    ----------
    tiles_SCR : one tile a second; the last is padded with zeros after `duration_s`.
    present_C : False where the file lacks the channel; its tiles are zero.
    statistics : per channel root mean square, extremes (uV) and the number of saturated samples.
    """

    recording_id: str
    tiles_SCR: NDArray[np.int16]
    spec: SignalSpec
    present_C: NDArray[np.bool_]
    duration_s: float
    events: tuple[Event, ...]
    remarks: tuple[str, ...] = ()
    statistics: tuple[dict[str, Any], ...] = ()  # Any: JSON, one object a channel

    @property
    def num_seconds(self) -> int:
        return len(self.tiles_SCR)

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name, here in zip(self.spec.channels, self.present_C) if not here)

    @property
    def clipped_samples(self) -> int:
        return sum(channel["clipped"] for channel in self.statistics)

    def tiles(self, start_second: int, stop_second: int) -> NDArray[np.int16]:
        """Return the tiles of [start_second, stop_second)."""
        return self.tiles_SCR[start_second:stop_second]


def tile_recording(
    recording: Recording,
    preprocess_config: PreprocessConfig,
    *,
    max_missing: int,
    recording_id: str = "recording",
) -> TiledRecording:
    """Select the channels, preprocess the whole recording, quantise and cut it into seconds.

    Raises
    ------
    ChannelError : the channels fit no montage, or more than `max_missing` are missing (lesson 6).
    CacheError : signal, duration and events contradict each other (lesson 4), or are not finite.
    """
    facts = SignalFacts(
        recording_id,
        channels=recording.channels,
        rate_hz=recording.rate_hz,
        num_samples=recording.signals_CT.shape[1],
        duration_s=recording.duration_s,
        events=recording.events,
    )
    tiling = Tiling(facts, preprocess_config, max_missing=max_missing)
    tiles_SCR, done = np.empty(tiling.shape, np.int16), 0
    for block_SCR in tiling.blocks(reader(recording.signals_CT, tiling.rows)):
        tiles_SCR[done : done + len(block_SCR)] = block_SCR
        done += len(block_SCR)
    assert done == len(tiles_SCR), f"{done} of {len(tiles_SCR)} tiles came"
    return TiledRecording(
        recording_id=recording_id,
        tiles_SCR=tiles_SCR,
        spec=tiling.spec,
        present_C=tiling.present_C,
        duration_s=recording.duration_s,
        events=recording.events,
        remarks=(*recording.remarks, *tiling.remarks),
        statistics=tiling.statistics,
    )
