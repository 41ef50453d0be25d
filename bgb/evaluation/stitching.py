"""From windows to one probability series a recording.

Windows overlap and are blended with a triangular weight, so that no window edge is seen in the
series. A window has logits for its judged part only; the context that a detector looks at on both
sides is zero outside the recording, in training as here. A recording is stitched by itself, and
nothing but its own series is kept in memory (lessons 76 and 77: the predecessor matched events
between unrelated windows and patients). A file is a live recording that has ended: one code
follows both (lesson 80).
"""

# Shapes: B windows, K output steps

import math
from collections.abc import Callable
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bgb.config.evaluation import EvaluationConfig
from bgb.data.tiles import Tiles
from bgb.data.windows import WindowBatch, window_starts, windows_at
from bgb.evaluation.blending import Blend, BlendPlan, plan_blend
from bgb.evaluation.causal import CausalDetector, CausalRun
from bgb.evaluation.probability import to_probability
from bgb.evaluation.series import RecordingScore, num_steps

Predict = Callable[[WindowBatch], Tensor]  # logits_BK; sigmoid is applied here


class DetectorFacts(Protocol):
    """What stitching must know of a detector; `Detector` itself has these.

    Attributes
    ----------
    is_causal : no logit looks ahead; it is a `CausalDetector` and is run without windows.
    """

    @property
    def window_s(self) -> int: ...
    @property
    def out_rate_hz(self) -> float: ...
    @property
    def context_s(self) -> tuple[int, int]: ...
    @property
    def is_causal(self) -> bool: ...


class Follower(Protocol):
    """Takes a recording that may still grow and gives the steps that no later second changes."""

    @property
    def wanted_from_s(self) -> int:
        """First second that will still be read."""

    @property
    def period_s(self) -> int:
        """Seconds after which the delays of the steps repeat."""

    def ready_s(self, step: int) -> int:
        """Return how many seconds of a recording that goes on must be there for a final step."""

    def advance(self, *, ended: bool) -> NDArray[np.float32]:
        """Return the probability of the steps that have become final; all, once it has ended."""


def stitch_recording(
    predict: Predict,
    facts: DetectorFacts,
    tiles: Tiles,
    options: EvaluationConfig,
    *,
    patient: str = "",
) -> RecordingScore:
    """Run a detector over every second of a recording, as its facts and the options say."""
    follower = follow(predict, facts, tiles, options, live=False)
    return _score(follower, facts.out_rate_hz, tiles, patient)


def follow(
    predict: Predict, facts: DetectorFacts, tiles: Tiles, options: EvaluationConfig, *, live: bool
) -> Follower:
    """Return what runs a detector along a recording; `predict` serves those that have windows.

    Raises
    ------
    ConfigError : the window is too short for the context, or holds no whole number of steps.
    """
    if facts.is_causal:
        return CausalRun(cast(CausalDetector, facts), tiles, live=live)
    plan = plan_blend(facts.window_s, facts.out_rate_hz, facts.context_s, options.overlap)
    return Stitcher(predict, tiles, plan, batch_size=options.batch_size)


def stitch(
    predict: Predict,
    tiles: Tiles,
    *,
    window_s: int,
    out_rate_hz: float,
    context_s: tuple[int, int] = (0, 0),
    overlap: float = 0.5,
    batch_size: int = 16,
    patient: str = "",
) -> RecordingScore:
    """Run windows over every second of a recording and blend what the detector says.

    Parameters
    ----------
    predict : windows to logits (B, K), K = (window_s - sum(context_s)) * out_rate_hz; called
        without gradients.
    context_s : seconds at the left and right of a window that have no logits.
    overlap : share of the judged part of a window that the next one covers again.

    Raises
    ------
    ConfigError : the window is too short for the context, or holds no whole number of steps.
    RunError : the detector returned a wrong shape or a number that is not finite.
    """
    plan = plan_blend(window_s, out_rate_hz, context_s, overlap)
    stitcher = Stitcher(predict, tiles, plan, batch_size=batch_size)
    return _score(stitcher, out_rate_hz, tiles, patient)


class Stitcher:
    """Follows a recording that may still grow, window by window; see `Follower`."""

    def __init__(self, predict: Predict, tiles: Tiles, plan: BlendPlan, *, batch_size: int) -> None:
        self._predict, self._tiles, self._plan = predict, tiles, plan
        self._batch_size, self._blend = batch_size, Blend(plan)
        self._num_windows = 0  # run so far, all of them `stride_s` apart until the recording ends

    @property
    def wanted_from_s(self) -> int:
        return max(0, self._next_start_s() - self._plan.context_s[0])

    @property
    def period_s(self) -> int:
        return math.lcm(self._plan.stride_s, self._plan.units_per_step)

    def ready_s(self, step: int) -> int:
        return self._plan.ready_s(step)

    def advance(self, *, ended: bool) -> NDArray[np.float32]:
        plan = self._plan
        starts, parts = self._due(ended=ended), []
        windows = windows_at(
            self._tiles,
            starts,
            window_s=plan.window_s,
            batch_size=self._batch_size,
            context_s=plan.context_s,
            first_sample=self._num_windows,
        )
        for batch in windows:
            self._run(batch)
            starts = starts[len(batch.start_B) :]
            if starts:
                parts.append(self._blend.take(starts[0] * plan.units_per_s))
        parts.append(self._blend.take(self._num_final_units(ended=ended)))
        return np.concatenate(parts)

    def _due(self, *, ended: bool) -> list[int]:
        """Return where the windows begin that can be run now and were not run before."""
        plan, num_seconds = self._plan, self._tiles.num_seconds
        if ended:
            starts = window_starts(num_seconds, judged_s=plan.judged_s, stride_s=plan.stride_s)
            return starts[self._num_windows :]
        complete_s = num_seconds - plan.judged_s - plan.context_s[1]
        first = self._num_windows * plan.stride_s
        return list(range(first, complete_s + 1, plan.stride_s))

    def _next_start_s(self) -> int:
        """Return the first second from which a window may still be judged."""
        last_s = max(0, self._tiles.num_seconds - self._plan.judged_s)
        return min(self._num_windows * self._plan.stride_s, last_s)

    def _num_final_units(self, *, ended: bool) -> int:
        plan = self._plan
        if not ended:
            return self._next_start_s() * plan.units_per_s
        return num_steps(self._tiles.duration_s, float(plan.rate)) * plan.units_per_step

    def _run(self, batch: WindowBatch) -> None:
        starts, name = batch.start_B.tolist(), self._tiles.recording_id
        with torch.inference_mode():
            logits_BK = self._predict(batch)
            probability_BK = to_probability(logits_BK, len(self._plan.weight_K), starts, name)
        for start_s, probability_K in zip(starts, probability_BK, strict=True):
            self._blend.add(start_s, probability_K)
        self._num_windows += len(starts)


def check_window(facts: DetectorFacts) -> None:
    """Raise `ConfigError` before any work where `stitch` would refuse the detector's window."""
    plan_blend(facts.window_s, facts.out_rate_hz, facts.context_s, overlap=0.0)


def count_windows(facts: DetectorFacts, num_seconds: int, *, overlap: float) -> int:
    """Return how many windows are run for a recording of this length: its price."""
    if facts.is_causal:
        return math.ceil(num_seconds / facts.window_s)
    plan = plan_blend(facts.window_s, facts.out_rate_hz, facts.context_s, overlap)
    return len(window_starts(num_seconds, judged_s=plan.judged_s, stride_s=plan.stride_s))


def _score(follower: Follower, rate_hz: float, tiles: Tiles, patient: str) -> RecordingScore:
    return RecordingScore(
        tiles.recording_id,
        patient,
        follower.advance(ended=True),
        rate_hz,
        tiles.duration_s,
        tuple(tiles.events),
    )
