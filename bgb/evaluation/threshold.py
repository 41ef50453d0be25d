"""The operating point: swept over dev scores, chosen there once, frozen for every other split.

Lesson 78: the predecessor bisected as if false alarms fell steadily with the threshold (merging
makes them rise and fall), returned a made-up value where its limit could not be met, and tuned on
the set it was scored on. Here every candidate is scored in full, and what was not met is said.
"""

# Shapes: K output steps, E events, Q candidates

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bgb.config.evaluation import PostprocessConfig
from bgb.errors import CacheError
from bgb.evaluation.postprocess import event_bounds, runs, smooth
from bgb.evaluation.series import RecordingScore
from bgb.evaluation.szcore import Scores, score_bounds, seizure_bounds

_BODY = np.linspace(0, 1, 101)
_TAIL = np.geomspace(0.1, 1e-4, 100)  # shares above: seizures and false alarms are rare
_GRID = np.linspace(0.01, 0.99, 99)  # between quantiles, where seizure and background lie far apart
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and the event scores that it gives, cumulated over recordings."""

    threshold: float
    scores: Scores


@dataclass(frozen=True)
class ThresholdChoice:
    """A frozen threshold and where it comes from.

    Attributes
    ----------
    chosen_on : "dev", or "config" where `postprocess.threshold` gave it.
    scores : cumulated event scores on the split it was chosen on; None from the configuration.
    constraint_met : whether `max_fp_per_day` was kept on that split; None without a constraint.
    """

    threshold: float
    chosen_on: str
    objective: str | None = None
    max_fp_per_day: float | None = None
    constraint_met: bool | None = None
    num_candidates: int = 0
    scores: Scores | None = None


def choose_threshold(
    scores: Sequence[RecordingScore], config: PostprocessConfig, *, split: str = "dev"
) -> ThresholdChoice:
    """Choose the threshold that serves the objective best on these recordings.

    Counts are cumulated over recordings: a mean over subjects jumps with each of the few dev
    patients, and false alarms in a subject without a seizure would hardly weigh. Of equally good
    candidates the middle of the widest stretch is taken, furthest from where they get worse.
    Where no candidate keeps to `max_fp_per_day`, the one with the fewest false alarms is taken,
    `constraint_met` is False and a warning is logged.

    Raises
    ------
    CacheError : there is no seizure to choose on.
    """
    points = sweep_thresholds(scores, config)
    if all(point.scores.num_reference == 0 for point in points):
        raise CacheError(
            f"{split} holds no seizure in {len(scores)} recordings, so no threshold can be "
            "chosen on it; change data.split, or set postprocess.threshold"
        )
    return choose_point(points, config, split=split)


def choose_point(
    points: Sequence[OperatingPoint], config: PostprocessConfig, *, split: str = "dev"
) -> ThresholdChoice:
    """Choose among points of a sweep, as `choose_threshold` does."""
    limit = config.max_fp_per_day
    allowed = [point for point in points if limit is None or point.scores.fp_per_day <= limit]
    if not allowed:
        point = _best(points, lambda scores: (-scores.fp_per_day, scores.sensitivity))
        _log.warning(
            "no threshold keeps to postprocess.max_fp_per_day=%g on %s: the fewest false alarms "
            "are %.2f per 24 h, at %.4g", limit, split, point.scores.fp_per_day, point.threshold,
        )  # fmt: skip
    elif config.objective == "sensitivity":
        point = _best(allowed, lambda scores: (scores.sensitivity, -scores.fp_per_day))
    else:
        point = _best(allowed, lambda scores: (scores.f1,))
    return ThresholdChoice(
        point.threshold,
        split,
        config.objective,
        limit,
        None if limit is None else bool(allowed),
        len(points),
        point.scores,
    )


def sweep_thresholds(
    scores: Sequence[RecordingScore], config: PostprocessConfig
) -> tuple[OperatingPoint, ...]:
    """Score every candidate threshold, ascending: events are rebuilt and scored at each.

    Candidates are quantiles of the smoothed scores, dense where few seconds lie above, and an even
    grid between them. A recording is scored once for each distinct list of events.
    """
    smoothed = [smooth(s.probability_K, s.rate_hz, smooth_s=config.smooth_s) for s in scores]
    thresholds_Q = _candidates(smoothed)
    totals = [Scores(0, 0, 0, 0.0)] * len(thresholds_Q)
    for score, smoothed_K in zip(scores, smoothed):
        counts_Q = sweep_recording(score, smoothed_K, thresholds_Q, config)
        for candidate, counts in enumerate(counts_Q):
            totals[candidate] = totals[candidate] + counts
    return tuple(OperatingPoint(float(t), total) for t, total in zip(thresholds_Q, totals))


def sweep_recording(
    score: RecordingScore,
    smoothed_K: NDArray[np.float64],
    thresholds_Q: NDArray[np.float64],
    config: PostprocessConfig,
) -> list[Scores]:
    """Score one recording at every threshold; events are rebuilt where steps come or go."""
    reference = seizure_bounds(score.events)
    # Masks of rising thresholds are nested: as many steps are the same steps.
    num_below_Q = np.searchsorted(np.sort(smoothed_K), thresholds_Q)
    by_steps: dict[int, Scores] = {}
    by_events: dict[bytes, Scores] = {}
    for threshold, num_below in zip(thresholds_Q, num_below_Q.tolist()):
        if num_below in by_steps:
            continue
        bounds_E2 = event_bounds(smoothed_K, score.rate_hz, score.duration_s, config, threshold)
        key = bounds_E2.tobytes()
        if key not in by_events:
            hypothesis = [(float(start_s), float(stop_s)) for start_s, stop_s in bounds_E2]
            by_events[key] = score_bounds(reference, hypothesis, duration_s=score.duration_s)
        by_steps[num_below] = by_events[key]
    return [by_steps[num_below] for num_below in num_below_Q.tolist()]


def _candidates(smoothed: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    seen = np.concatenate(smoothed)
    quantiles_Q = np.quantile(seen, np.concatenate([_BODY, 1 - _TAIL]))
    grid_Q = _GRID[(seen.min() < _GRID) & (seen.max() >= _GRID)]
    return np.unique(np.concatenate([quantiles_Q, grid_Q]))


def _best(
    points: Sequence[OperatingPoint], value: Callable[[Scores], tuple[float, ...]]
) -> OperatingPoint:
    """Return the middle of the widest stretch of equally best points; of two, the higher."""
    values = [value(point.scores) for point in points]
    best = max(values)
    is_best = np.array([candidate == best for candidate in values])
    thresholds = [point.threshold for point in points]
    stretches: list[list[int]] = runs(is_best).tolist()
    widths = [thresholds[stop - 1] - thresholds[start] for start, stop in stretches]
    start, stop = max(zip(widths, stretches))[1]
    middle = (thresholds[start] + thresholds[stop - 1]) / 2
    return min(points[start:stop], key=lambda point: abs(point.threshold - middle))
