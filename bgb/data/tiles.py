"""Tiles: a recording as int16 seconds, the form in which signals are cached, trained on and scored.

One tile is one second of all channels, channel-major inside, so a window at any whole second is one
contiguous read (DESIGN 4). `tile_recording` is the only way from a `Recording` to tiles: the cache
builder and detection on a single EDF both take it.
"""

# Shapes: S seconds, C channels, R samples a second, T samples

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bgb.config.data import PreprocessConfig
from bgb.eeg.channels import assign_channels
from bgb.eeg.events import Event
from bgb.eeg.filters import preprocess
from bgb.eeg.recording import Recording
from bgb.eeg.signal import QUANTUM_UV, SignalSpec
from bgb.errors import CacheError, ChannelError

_LARGEST = 32767  # saturation is symmetric: +-3276.7 microvolts


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
    _check_lengths(recording, recording_id)
    assignment = assign_channels(recording.channels)
    if len(assignment.missing) > max_missing:
        raise ChannelError(
            f"{recording_id} lacks {len(assignment.missing)} of {len(assignment.channels)} "
            f"channels ({', '.join(assignment.missing)}), more than data.max_missing="
            f"{max_missing}; raise data.max_missing or list the recording in data.exclude"
        )
    rate_hz = preprocess_config.rate_hz
    num_seconds = count_seconds(recording.duration_s)
    # A flat or silent channel is still present; a missing one is zero AND listed (lesson 9).
    tiles_SCR = np.zeros((num_seconds, len(assignment.channels), rate_hz), np.int16)
    statistics = []
    for channel, (name, source) in enumerate(zip(assignment.channels, assignment.sources)):
        steps_T, num_clipped = np.zeros(num_seconds * rate_hz, np.int16), 0
        if source is not None:  # one channel at a time: a 24 h recording must fit in memory
            signal_T = _filter(recording, source, preprocess_config, recording_id)
            steps_T, num_clipped = _quantise(signal_T)
            tiles_SCR[:, channel] = _pad(steps_T, num_seconds * rate_hz).reshape(num_seconds, -1)
        statistics.append(_statistics(name, steps_T, num_clipped))
    return TiledRecording(
        recording_id=recording_id,
        tiles_SCR=tiles_SCR,
        spec=SignalSpec(assignment.channel_set, tuple(assignment.channels), rate_hz),
        present_C=np.array([source is not None for source in assignment.sources]),
        duration_s=recording.duration_s,
        events=recording.events,
        remarks=(*recording.remarks, *assignment.remarks),
        statistics=tuple(statistics),
    )


def count_seconds(duration_s: float) -> int:
    """Return the number of tiles of a recording: whole seconds, the last one begun counts."""
    return max(1, math.ceil(round(duration_s, 6)))  # 3 x 0.1 s must not begin a further second


def _check_lengths(recording: Recording, recording_id: str) -> None:
    num_samples = recording.signals_CT.shape[1]
    signal_s = num_samples / recording.rate_hz
    if num_samples == 0:
        raise CacheError(f"{recording_id} holds no samples; list it in data.exclude")
    if abs(signal_s - recording.duration_s) > 1.5 / recording.rate_hz:
        raise CacheError(
            f"{recording_id}: {num_samples} samples at {recording.rate_hz} Hz are {signal_s:.4f} s "
            f"but its duration is {recording.duration_s:.4f} s; list it in data.exclude"
        )
    for event in recording.events:
        if event.stop_s > recording.duration_s + 1e-6:
            raise CacheError(
                f"{recording_id}: {event.label} [{event.start_s}, {event.stop_s}) s ends after the "
                f"signal ({recording.duration_s} s); clip the events or correct the label file"
            )


def _filter(
    recording: Recording, source: tuple[int, int], config: PreprocessConfig, recording_id: str
) -> NDArray[np.float32]:
    """Return one channel, turned round where its derivation is reversed, filtered."""
    index, sign = source
    signal_1T = recording.signals_CT[index : index + 1] * np.float32(sign)
    signal_T: NDArray[np.float32] = preprocess(signal_1T, recording.rate_hz, config)[0]
    if not np.isfinite(signal_T).all():
        raise CacheError(
            f"{recording_id}: the filtered signal is not finite; exclude the recording"
        )
    return signal_T


def _quantise(signal_T: NDArray[np.float32]) -> tuple[NDArray[np.int16], int]:
    """Return steps of 0.1 microvolt and how many samples saturated."""
    steps_T = np.rint(signal_T * np.float32(1 / QUANTUM_UV))
    num_clipped = int((np.abs(steps_T) > _LARGEST).sum())
    return np.clip(steps_T, -_LARGEST, _LARGEST).astype(np.int16), num_clipped


def _pad(steps_T: NDArray[np.int16], num_samples: int) -> NDArray[np.int16]:
    """Bring a channel to whole seconds: zeros at the end.

    Rounding of a fractional rate may leave a sample or two beyond the duration, never more.
    """
    padded_T = np.zeros(num_samples, np.int16)
    padded_T[: len(steps_T)] = steps_T[:num_samples]
    return padded_T


def _statistics(
    name: str, steps_T: NDArray[np.int16], num_clipped: int
) -> dict[str, Any]:  # Any: JSON
    # Sums of whole numbers below 2**53 are exact: the same samples give the same bytes anywhere.
    exact_T = steps_T.astype(np.float64)
    return {
        "channel": name,
        "rms_uv": round(math.sqrt(int(exact_T @ exact_T) / len(steps_T)) * QUANTUM_UV, 3),
        "min_uv": round(float(steps_T.min()) * QUANTUM_UV, 1),
        "max_uv": round(float(steps_T.max()) * QUANTUM_UV, 1),
        "clipped": num_clipped,
    }
