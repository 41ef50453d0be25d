"""Scores during training: whole recordings of a part of dev, and of all of it on demand.

The names of all metrics stand in `VALIDATION_METRICS` and nowhere else (lesson 64: the predecessor
monitored a name that did not exist and kept its first epoch as the best). Nothing is kept of a
recording but its tally (lesson 72).
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from bgb.config.evaluation import EvaluationConfig, PostprocessConfig
from bgb.config.training import VALIDATION_METRICS
from bgb.evaluation.results import require_seizures
from bgb.evaluation.series import PatientTiles
from bgb.evaluation.stitching import DetectorFacts, Predict, stitch_recording
from bgb.evaluation.tally import Tally, empty_tally, tally_recording
from bgb.evaluation.threshold import OperatingPoint, choose_point

_UNSURE = 0.05  # the bound is careful: the error itself is far smaller
_log = logging.getLogger(__name__)


def validate(
    predict: Predict,
    facts: DetectorFacts,
    recordings: Sequence[PatientTiles],
    *,
    others: Sequence[PatientTiles] | None = None,
    postprocess: PostprocessConfig,
    evaluation: EvaluationConfig,
    fp_per_day: float,
    between: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Return every one of `VALIDATION_METRICS` for these recordings.

    Event scores are cumulated over recordings, at the threshold that is best on these very
    recordings: good for choosing a checkpoint, too kind as a result.

    Parameters
    ----------
    others : the rest of the split: then the metrics of both together come too, as `val_full/...`.
    fp_per_day : false alarms per 24 h that `val/sensitivity_at_fp` keeps to.
    between : called after each recording; what it raises ends the validation.

    Raises
    ------
    CacheError : the recordings hold no seizure.
    """
    require_seizures("dev (as validated)", recordings)
    tally = partial(
        tally_recordings, predict, facts, postprocess=postprocess, evaluation=evaluation
    )
    part = tally(recordings, between=between)
    metrics = metrics_of(part, postprocess, fp_per_day=fp_per_day)
    if others is not None:
        whole = part + tally(others, between=between)
        values = metrics_of(whole, postprocess, fp_per_day=fp_per_day)
        metrics |= {name.replace("val/", "val_full/"): value for name, value in values.items()}
    return metrics


def tally_recordings(
    predict: Predict,
    facts: DetectorFacts,
    recordings: Iterable[PatientTiles],
    *,
    postprocess: PostprocessConfig,
    evaluation: EvaluationConfig,
    between: Callable[[], None] = lambda: None,
) -> Tally:
    """Score recordings, one in memory at a time; tallies of parts of a split add up to its own."""
    total = empty_tally()
    for tiles in recordings:
        score = stitch_recording(predict, facts, tiles, evaluation, patient=tiles.patient)
        total = total + tally_recording(score, postprocess)
        between()
    return total


def metrics_of(
    tally: Tally, postprocess: PostprocessConfig, *, fp_per_day: float
) -> dict[str, float]:
    """Return the validation metrics that follow from counts; NaN where one is undefined."""
    ranking, points = tally.ranking(), tally.points()
    if tally.auroc_error() > _UNSURE:
        _log.warning(
            "the detector says nearly the same everywhere: AUROC %.4f is known to +-%.4f only",
            *(ranking.auroc, tally.auroc_error()),
        )
    choice = choose_point(points, postprocess, split="dev (as validated)")
    assert choice.scores is not None  # it was chosen on these recordings
    values = {
        "val/auroc": ranking.auroc,
        "val/auprc": ranking.auprc,
        "val/event_f1": choice.scores.f1,
        "val/sensitivity": choice.scores.sensitivity,
        "val/precision": choice.scores.precision,
        "val/fp_per_day": choice.scores.fp_per_day,
        "val/sensitivity_at_fp": sensitivity_at(points, fp_per_day),
        "val/threshold": choice.threshold,
    }
    assert tuple(values) == VALIDATION_METRICS
    return values


def sensitivity_at(points: Sequence[OperatingPoint], fp_per_day: float) -> float:
    """Return the best sensitivity with at most so many false alarms per 24 h.

    0 where no threshold keeps to it, as where nothing is detected. Every point counts: false
    alarms do not fall steadily with the threshold (lesson 78).
    """
    allowed = [point.scores for point in points if point.scores.fp_per_day <= fp_per_day]
    return max((scores.sensitivity for scores in allowed), default=0.0)
