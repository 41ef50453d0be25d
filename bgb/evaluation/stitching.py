"""From windows to one probability series a recording.

Windows overlap and are blended with a triangular weight, so that no window edge is seen in the
series. A window has logits for its judged part only; the context that a detector looks at on both
sides is zero outside the recording, in training as here. A recording is stitched by itself, and
nothing but its own series is kept in memory (lessons 76 and 77: the predecessor matched events
between unrelated windows and patients).
"""

# Shapes: B windows, K output steps of a window, U units (common grid of windows and steps)

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bgb.config.evaluation import EvaluationConfig
from bgb.data.tiles import Tiles
from bgb.data.windows import WindowBatch, recording_windows, window_starts
from bgb.errors import ConfigError, RunError
from bgb.evaluation.series import RecordingScore, num_steps

Predict = Callable[[WindowBatch], Tensor]  # logits_BK; sigmoid is applied here
_FLOOR = 0.02  # smallest weight: also the first and last step of a recording count


class DetectorFacts(Protocol):
    """What stitching must know of a detector; `Detector` itself has these."""

    @property
    def window_s(self) -> int: ...
    @property
    def out_rate_hz(self) -> float: ...
    @property
    def context_s(self) -> tuple[int, int]: ...


@dataclass(frozen=True)
class _Plan:
    """How the steps of a window fall on the common grid.

    `rate_hz` = units_per_s / units_per_step in lowest terms: 4 Hz has 4 units a second and 1 a
    step, 0.25 Hz has 1 unit a second and 4 a step. So windows may begin at any second.
    """

    units_per_s: int
    units_per_step: int
    weight_K: NDArray[np.float64]
    window_s: int
    context_s: tuple[int, int]
    stride_s: int


def stitch_recording(
    predict: Predict,
    facts: DetectorFacts,
    tiles: Tiles,
    options: EvaluationConfig,
    *,
    patient: str = "",
) -> RecordingScore:
    """Stitch a recording as a detector's facts and the configuration say; see `stitch`."""
    return stitch(
        predict,
        tiles,
        window_s=facts.window_s,
        out_rate_hz=facts.out_rate_hz,
        context_s=facts.context_s,
        overlap=options.overlap,
        batch_size=options.batch_size,
        patient=patient,
    )


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
    """Run a detector over every second of a recording and blend what it says.

    Parameters
    ----------
    predict : windows to logits (B, K), K = (window_s - sum(context_s)) * out_rate_hz; called
        without gradients.
    context_s : seconds at the left and right of a window that have no logits.
    overlap : share of the judged part of a window that the next one covers again.

    Raises
    ------
    ConfigError : the window is too short for the context.
    RunError : the detector returned a wrong shape or a number that is not finite.
    """
    plan = _plan(window_s, _fraction(out_rate_hz), context_s, overlap)
    weighted_U, weight_U = _blend(predict, tiles, plan, batch_size)
    sum_K = weight_U.reshape(-1, plan.units_per_step).sum(axis=1)
    assert (sum_K > 0).all(), f"{tiles.recording_id}: {(sum_K == 0).sum()} steps not covered"
    probability_K = weighted_U.reshape(-1, plan.units_per_step).sum(axis=1) / sum_K
    return RecordingScore(
        tiles.recording_id,
        patient,
        probability_K.astype(np.float32),
        out_rate_hz,
        tiles.duration_s,
        tuple(tiles.events),
    )


def _blend(
    predict: Predict, tiles: Tiles, plan: _Plan, batch_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of weighted probabilities and of weights, per unit of the recording."""
    rate_hz = plan.units_per_s / plan.units_per_step
    num_units = num_steps(tiles.duration_s, rate_hz) * plan.units_per_step
    weighted_U, weight_U = np.zeros(num_units), np.zeros(num_units)
    windows = recording_windows(
        tiles,
        window_s=plan.window_s,
        stride_s=plan.stride_s,
        batch_size=batch_size,
        context_s=plan.context_s,
    )
    for batch in windows:
        probability_BK = _probability(predict, batch, len(plan.weight_K), tiles.recording_id)
        for start_s, probability_K in zip(batch.start_B.tolist(), probability_BK, strict=True):
            _add(weighted_U, plan.weight_K * probability_K, plan, start_s)
            _add(weight_U, plan.weight_K, plan, start_s)
    return weighted_U, weight_U


def check_window(facts: DetectorFacts) -> None:
    """Raise `ConfigError` before any work where `stitch` would refuse the detector's window."""
    _plan(facts.window_s, _fraction(facts.out_rate_hz), facts.context_s, overlap=0.0)


def count_windows(facts: DetectorFacts, num_seconds: int, *, overlap: float) -> int:
    """Return how many windows `stitch` runs for a recording of this length: its price."""
    plan = _plan(facts.window_s, _fraction(facts.out_rate_hz), facts.context_s, overlap)
    judged_s = plan.window_s - sum(plan.context_s)
    return len(window_starts(num_seconds, judged_s=judged_s, stride_s=plan.stride_s))


def _fraction(rate_hz: float) -> Fraction:
    return Fraction(rate_hz).limit_denominator(1000)


def _plan(window_s: int, rate: Fraction, context_s: tuple[int, int], overlap: float) -> _Plan:
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
    # A stride of whole steps keeps the windows aligned; only the last may lie between steps.
    stride_s = max(1, int(judged_s * (1 - overlap)) // rate.denominator) * rate.denominator
    return _Plan(
        units_per_s=rate.numerator,
        units_per_step=rate.denominator,
        weight_K=_weights(int(num_judged_steps)),
        window_s=window_s,
        context_s=context_s,
        stride_s=stride_s,
    )


def _weights(num_steps: int) -> NDArray[np.float64]:
    """Return a triangle over the judged steps."""
    centre_K = np.arange(num_steps, dtype=np.float64) + 0.5
    return np.maximum(np.minimum(centre_K, num_steps - centre_K) / (num_steps / 2), _FLOOR)


def _add(
    target_U: NDArray[np.float64], values_K: NDArray[np.float64], plan: _Plan, start_s: int
) -> None:
    first = start_s * plan.units_per_s
    values_U = np.repeat(values_K, plan.units_per_step)[: len(target_U) - first]
    target_U[first : first + len(values_U)] += values_U


def _probability(
    predict: Predict, batch: WindowBatch, num_window_steps: int, recording_id: str
) -> NDArray[np.float64]:
    with torch.inference_mode():
        logits_BK = predict(batch)
        expected = (len(batch.start_B), num_window_steps)
        if tuple(logits_BK.shape) != expected:
            raise RunError(
                f"{recording_id}: the detector returned logits of shape "
                f"{tuple(logits_BK.shape)} where {expected} (windows, steps) was expected"
            )
        if not torch.isfinite(logits_BK).all():
            raise RunError(
                f"{recording_id}: the detector returned logits that are not finite in a window "
                f"that begins at one of {batch.start_B.tolist()} s; its weights have diverged, "
                "train again with a lower optimizer.lr or use an earlier checkpoint"
            )
        probability_BK: NDArray[np.float32] = torch.sigmoid(logits_BK.float()).cpu().numpy()
    return probability_BK.astype(np.float64)
