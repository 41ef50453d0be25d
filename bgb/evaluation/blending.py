"""Blending: overlapping windows to one series, whose steps are given once they are final.

The windows of a recording are judged from every `stride_s` on, and a last one ends with the
recording. While a recording goes on, that last one may still come: a step is final when no window
that may come begins before its end.
"""

# Shapes: K output steps of a window, U units (common grid of windows and steps)

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bgb.errors import ConfigError

_FLOOR = 0.02  # smallest weight: also the first and last step of a recording count


@dataclass(frozen=True, eq=False)
class BlendPlan:
    """How the steps of a window fall on the common grid.

    Attributes
    ----------
    rate : steps a second, units_per_s / units_per_step in lowest terms: 4 Hz has 4 units a second
        and 1 a step, 0.25 Hz has 1 unit a second and 4 a step. So windows may begin at any second.
    """

    rate: Fraction
    weight_K: NDArray[np.float64]
    window_s: int
    context_s: tuple[int, int]
    stride_s: int

    @property
    def units_per_s(self) -> int:
        return self.rate.numerator

    @property
    def units_per_step(self) -> int:
        return self.rate.denominator

    @property
    def judged_s(self) -> int:
        return self.window_s - sum(self.context_s)

    def ready_s(self, step: int) -> int:
        """Return how many seconds of a recording that goes on must be there for a final step."""
        stop_s = math.ceil((step + 1) / self.rate)
        last_s = (stop_s - 1) // self.stride_s * self.stride_s  # the last window that reaches it
        return max(stop_s, last_s + self.context_s[1]) + self.judged_s


def plan_blend(
    window_s: int, out_rate_hz: float, context_s: tuple[int, int], overlap: float
) -> BlendPlan:
    """Lay windows and their weights.

    Raises
    ------
    ConfigError : the window is too short for the context, or holds no whole number of steps.
    """
    rate = Fraction(out_rate_hz).limit_denominator(1000)
    judged_s = window_s - sum(context_s)
    if judged_s < 1:
        raise ConfigError(
            f"data.window_s={window_s} leaves nothing to judge between the detector's context of "
            f"{context_s[0]} s and {context_s[1]} s; raise data.window_s"
        )
    num_judged_steps = judged_s * rate
    if num_judged_steps.denominator != 1:
        raise ConfigError(
            f"the {judged_s} s of data.window_s={window_s} that are judged hold no whole number of "
            f"output steps of {float(1 / rate):g} s; choose {sum(context_s)} s more than a "
            f"multiple of {rate.denominator} s"
        )
    # A stride of whole steps keeps the windows aligned; only the last may lie between steps, or
    # all of them where the stride is below a step.
    wanted_s = max(1, int(judged_s * (1 - overlap)))
    stride_s = wanted_s // rate.denominator * rate.denominator or wanted_s
    return BlendPlan(rate, _weights(int(num_judged_steps)), window_s, context_s, stride_s)


def _weights(num_steps: int) -> NDArray[np.float64]:
    """Return a triangle over the judged steps."""
    centre_K = np.arange(num_steps, dtype=np.float64) + 0.5
    return np.maximum(np.minimum(centre_K, num_steps - centre_K) / (num_steps / 2), _FLOOR)


class Blend:
    """Adds windows up, in any order, and forgets what has been taken."""

    def __init__(self, plan: BlendPlan) -> None:
        self._plan = plan
        self._sums_2U = np.zeros((2, 0))  # of weighted probabilities, and of weights
        self._num_taken = 0  # units

    def add(self, start_s: int, probability_K: NDArray[np.float64]) -> None:
        """Add a window that is judged from `start_s` on."""
        plan = self._plan
        weight_K = plan.weight_K
        values_2U = np.repeat([weight_K * probability_K, weight_K], plan.units_per_step, axis=1)
        first = start_s * plan.units_per_s - self._num_taken
        assert first >= 0, f"a window from {start_s} s on reaches into final steps"
        self._grow(first + values_2U.shape[1])
        self._sums_2U[:, first : first + values_2U.shape[1]] += values_2U

    def take(self, num_units: int) -> NDArray[np.float32]:
        """Return the whole steps that end within the first `num_units` and were not taken yet."""
        per_step = self._plan.units_per_step
        stop = max(0, num_units - self._num_taken) // per_step * per_step
        self._grow(stop)  # the last step may reach beyond the recording
        taken_2U, self._sums_2U = self._sums_2U[:, :stop], self._sums_2U[:, stop:]
        self._num_taken += stop
        weighted_K, weight_K = taken_2U.reshape(2, -1, per_step).sum(axis=2)
        assert (weight_K > 0).all(), f"{(weight_K == 0).sum()} steps not covered"
        probability_K: NDArray[np.float64] = weighted_K / weight_K
        return probability_K.astype(np.float32)

    def _grow(self, num_units: int) -> None:
        more = num_units - self._sums_2U.shape[1]
        if more > 0:
            self._sums_2U = np.pad(self._sums_2U, ((0, 0), (0, more)))
