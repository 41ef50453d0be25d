"""From a probability per step to seizure events: smooth, threshold, merge, drop.

Every length is in seconds and the order is fixed (lesson 79: kernels in samples and a minimum
length applied before merging cost the predecessor its short seizures). Runs are found by
differences, not by a loop over samples (lesson 74).
"""

# Shapes: K output steps, E events

import numpy as np
from numpy.typing import NDArray

from bgb.config.evaluation import PostprocessConfig
from bgb.eeg.events import Event
from bgb.evaluation.series import integrate, mean_between, mean_over

_TOLERANCE_S = 1e-9  # 0.1 + 0.2 s is not longer than 0.3 s


def to_events(
    probability_K: NDArray[np.floating],
    rate_hz: float,
    duration_s: float,
    config: PostprocessConfig,
    threshold: float,
) -> tuple[Event, ...]:
    """Return the seizures in a series, sorted, disjoint and within [0, duration_s].

    Parameters
    ----------
    threshold : a smoothed probability at or above it is a seizure (`config.threshold` may be null).
    """
    smoothed_K = smooth(probability_K, rate_hz, smooth_s=config.smooth_s)
    bounds_E2 = event_bounds(smoothed_K, rate_hz, duration_s, config, threshold)
    return tuple(Event(float(start_s), float(stop_s)) for start_s, stop_s in bounds_E2)


def smooth(
    probability_K: NDArray[np.floating], rate_hz: float, *, smooth_s: float
) -> NDArray[np.float64]:
    """Average each step over `smooth_s` around its centre; at the ends over what there is."""
    if smooth_s * rate_hz <= 1:  # not longer than a step
        return probability_K.astype(np.float64)
    start_s_K, stop_s_K = _around(0, len(probability_K), rate_hz, smooth_s)
    return mean_over(probability_K, rate_hz, start_s_K, stop_s_K)


class GrowingSmooth:
    """`smooth` of a series that grows, to the last bit, as far as no later step changes it.

    It remembers no more of the series than the stretch that one mean covers.
    """

    def __init__(self, rate_hz: float, *, smooth_s: float) -> None:
        self._rate_hz, self._smooth_s = rate_hz, smooth_s
        self._integral_E = np.zeros(1)  # from edge `_first_edge` on
        self._first_edge = self._num_given = 0

    def add(self, probability_K: NDArray[np.floating]) -> NDArray[np.float64]:
        """Take the next steps; return the smoothed ones that have become certain."""
        rate_hz = self._rate_hz
        if self._smooth_s * rate_hz <= 1:
            return probability_K.astype(np.float64)
        added_E = integrate(self._integral_E[-1], probability_K)[1:]
        self._integral_E = np.concatenate([self._integral_E, added_E])
        num_steps = self._first_edge + len(self._integral_E) - 1
        start_s_K, stop_s_K = _around(self._num_given, num_steps, rate_hz, self._smooth_s)
        num_certain = int(np.searchsorted(stop_s_K * rate_hz, num_steps, side="right"))
        start_K, stop_K = start_s_K[:num_certain] * rate_hz, stop_s_K[:num_certain] * rate_hz
        smoothed_K = mean_between(self._integral_E, self._first_edge, start_K, stop_K)
        self._num_given += num_certain
        self._forget()
        return smoothed_K

    def _forget(self) -> None:
        """Drop the edges before the stretch of the next step."""
        wanted = int((self._num_given + 0.5) - self._smooth_s * self._rate_hz / 2) - 1
        num_old = max(0, min(wanted - self._first_edge, len(self._integral_E) - 1))
        self._integral_E = self._integral_E[num_old:].copy()
        self._first_edge += num_old


def _around(
    first: int, stop: int, rate_hz: float, smooth_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the seconds around the centres of steps [first, stop), a beginning and an end each."""
    centre_s_K = (np.arange(first, stop, dtype=np.float64) + 0.5) / rate_hz
    return centre_s_K - smooth_s / 2, centre_s_K + smooth_s / 2


def event_bounds(
    smoothed_K: NDArray[np.float64],
    rate_hz: float,
    duration_s: float,
    config: PostprocessConfig,
    threshold: float,
) -> NDArray[np.float64]:
    """Return (E, 2) starts and stops in seconds: the steps after smoothing."""
    bounds_E2 = np.minimum(runs(smoothed_K >= threshold) / rate_hz, duration_s)
    bounds_E2 = _merge(bounds_E2, gap_s=config.merge_gap_s)
    duration_s_E = bounds_E2[:, 1] - bounds_E2[:, 0]
    return bounds_E2[duration_s_E >= config.min_duration_s - _TOLERANCE_S]


def runs(mask_K: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return (E, 2) first and last-plus-one of each unbroken stretch of True."""
    padded = np.concatenate([[False], mask_K, [False]])
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)


def _merge(bounds_E2: NDArray[np.float64], *, gap_s: float) -> NDArray[np.float64]:
    if len(bounds_E2) == 0:
        return bounds_E2
    is_apart = bounds_E2[1:, 0] - bounds_E2[:-1, 1] >= gap_s - _TOLERANCE_S
    start_s = bounds_E2[np.append(True, is_apart), 0]
    stop_s = bounds_E2[np.append(is_apart, True), 1]
    return np.stack([start_s, stop_s], axis=1)
