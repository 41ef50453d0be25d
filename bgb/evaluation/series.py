"""RecordingScore: the probability of a seizure along one whole recording, and means over it.

A series is piecewise constant: step k covers [k, k + 1) / rate_hz seconds. Smoothing and second-by-
second scores are exact means over stretches of it, so every output rate, also below 1 Hz, is
treated alike.
"""

# Shapes: K output steps, N stretches, E edges of steps

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bgb.data.tiles import Tiles
from bgb.eeg.events import Event

_TOLERANCE_STEPS = 1e-6  # 3 x 0.1 s at 10 Hz is not a fourth step


@dataclass(frozen=True, eq=False)
class RecordingScore:
    """What a detector says about one recording, and what is true.

    Attributes
    ----------
    probability_K : float32, K = ceil(duration_s * rate_hz); the last step may be partial.
    rate_hz : steps a second; below 1 for detectors that judge segments.
    events : the reference, all labels.
    """

    recording_id: str
    patient: str
    probability_K: NDArray[np.float32]
    rate_hz: float
    duration_s: float
    events: tuple[Event, ...]

    def __post_init__(self) -> None:
        expected = num_steps(self.duration_s, self.rate_hz)
        assert self.probability_K.shape == (expected,), (self.probability_K.shape, expected)


class PatientTiles(Tiles, Protocol):
    """A recording whose patient is known, such as `CachedRecording`."""

    @property
    def patient(self) -> str: ...


def num_steps(duration_s: float, rate_hz: float) -> int:
    """Return how many steps cover a recording, the last one perhaps in part."""
    return math.ceil(round(duration_s, 6) * rate_hz - _TOLERANCE_STEPS)


def mean_over(
    values_K: NDArray[np.floating],
    rate_hz: float,
    start_s_N: NDArray[np.float64],
    stop_s_N: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the mean of a piecewise constant series over each [start, stop), clipped to it."""
    integral_E = integrate(0.0, values_K)
    return mean_between(integral_E, 0, start_s_N * rate_hz, stop_s_N * rate_hz)


def integrate(before: float, values_K: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the integral at the K + 1 edges of steps, given that at the first."""
    return np.cumsum(np.concatenate([[before], values_K]), dtype=np.float64)


def mean_between(
    integral_E: NDArray[np.float64],
    first_edge: int,
    start_N: NDArray[np.float64],
    stop_N: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the mean over each [start, stop) in steps, from the integral at consecutive edges."""
    edges_E = first_edge + np.arange(len(integral_E))
    start_N = np.clip(start_N, 0, edges_E[-1])
    stop_N = np.clip(stop_N, 0, edges_E[-1])
    area_N = np.interp(stop_N, edges_E, integral_E) - np.interp(start_N, edges_E, integral_E)
    return np.asarray(area_N / (stop_N - start_N), dtype=np.float64)
