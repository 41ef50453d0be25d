"""What a window is labelled with: one number an output step, and whether the step counts."""

# Shapes: B windows, K output steps of the judged part

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bgb.eeg.events import Event, seizures
from bgb.errors import ConfigError


def count_steps(judged_s: int, label_rate_hz: float) -> int:
    """Return K, the output steps of a window; it must judge a whole number of them."""
    num_steps = round(judged_s * label_rate_hz)
    if num_steps < 1 or abs(num_steps - judged_s * label_rate_hz) > 1e-6:
        raise ConfigError(
            f"the {judged_s} s of data.window_s that are judged are no whole number of steps of "
            f"{1 / label_rate_hz:g} s; choose a multiple of that"
        )
    return num_steps


def step_labels(
    events: Sequence[Event],
    start_s: float,
    *,
    num_steps: int,
    step_s: float,
    boundary_s: float = 0.0,
    duration_s: float = math.inf,
) -> NDArray[np.float32]:
    """Return 1 for each step from `start_s` on of which at least half is seizure, else 0 (K,).

    With `boundary_s` it is the share of seizure in so many seconds around the middle of the step,
    as far as they lie in the recording: a linear ramp at each onset and offset. Events outside the
    window count, so its ends are labelled as its middle is.
    """
    stop_s, reach_s = start_s + step_s * num_steps, boundary_s / 2
    near = [
        event
        for event in events
        if event.start_s < stop_s + reach_s and event.stop_s > start_s - reach_s
    ]
    if not near:
        return np.zeros(num_steps, np.float32)
    begin_K = start_s + step_s * np.arange(num_steps)
    end_K = begin_K + step_s
    if boundary_s:
        middle_K = np.minimum(begin_K + step_s / 2, duration_s)
        begin_K = np.maximum(middle_K - reach_s, 0)
        end_K = np.minimum(middle_K + reach_s, duration_s)
    covered_K = np.zeros(num_steps)
    for event in seizures(near):
        overlap_K = np.minimum(end_K, event.stop_s) - np.maximum(begin_K, event.start_s)
        covered_K += np.maximum(overlap_K, 0)
    if boundary_s:
        return (covered_K / (end_K - begin_K)).astype(np.float32)
    return (covered_K >= step_s / 2 - 1e-9).astype(np.float32)


def valid_steps(
    durations_s: Sequence[float], starts_s: Sequence[float], *, num_steps: int, step_s: float
) -> NDArray[np.bool_]:
    """Return which steps of each window begin before its recording ends (B, K)."""
    start_B1, duration_B1 = np.array(starts_s)[:, None], np.array(durations_s)[:, None]
    return np.asarray(start_B1 + step_s * np.arange(num_steps) < duration_B1 - 1e-9)
