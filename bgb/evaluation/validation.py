"""Scores during training: whole recordings of a bounded, stratified, seeded part of dev.

The names of all metrics stand here and nowhere else (lesson 64: the predecessor monitored a name
that did not exist and kept its first epoch as the best). The part is the same at every epoch
(lesson 73: validating every overlapping window took longer than training).
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from bgb.config.evaluation import EvaluationConfig, PostprocessConfig
from bgb.config.training import VALIDATION_METRICS
from bgb.eeg.events import seizures
from bgb.evaluation.evaluate import stitch_all
from bgb.evaluation.results import require_seizures
from bgb.evaluation.roc import rank_seconds
from bgb.evaluation.series import PatientTiles
from bgb.evaluation.stitching import DetectorFacts, Predict
from bgb.evaluation.threshold import choose_threshold

_HOUR_S = 3600
Member = TypeVar("Member", bound=PatientTiles)


def validate(
    predict: Predict,
    facts: DetectorFacts,
    recordings: Sequence[PatientTiles],
    *,
    max_hours: float,
    postprocess: PostprocessConfig,
    evaluation: EvaluationConfig,
    seed: int,
) -> dict[str, float]:
    """Return every one of `VALIDATION_METRICS` for at most `max_hours` of these recordings.

    Event scores are cumulated over recordings, at the threshold that is best on these very
    recordings: good for choosing a checkpoint, too kind as a result.

    Raises
    ------
    CacheError : the recordings hold no seizure.
    """
    subset = bounded_subset(recordings, max_hours=max_hours, seed=seed)
    require_seizures("dev (as validated)", subset)
    scores = stitch_all(predict, facts, subset, evaluation)
    ranking = rank_seconds(scores)
    choice = choose_threshold(scores, postprocess)
    assert choice.scores is not None  # it was chosen on these recordings
    values = (
        ranking.auroc,
        ranking.auprc,
        choice.scores.f1,
        choice.scores.sensitivity,
        choice.scores.precision,
        choice.scores.fp_per_day,
        choice.threshold,
    )
    return dict(zip(VALIDATION_METRICS, values, strict=True))


def bounded_subset(
    recordings: Sequence[Member], *, max_hours: float, seed: int
) -> tuple[Member, ...]:
    """Choose recordings of at most `max_hours` in all, in the same mix as the whole.

    Recordings with and without seizure are shuffled apart and dealt out evenly; one that does not
    fit is passed over. At least one recording with a seizure is taken, be it longer than the bound.
    """
    generator = np.random.default_rng(seed)
    with_seizure = [bool(seizures(recording.events)) for recording in recordings]
    place = np.zeros(len(recordings))
    for kind in (True, False):
        members = np.flatnonzero(np.array(with_seizure, dtype=bool) == kind)
        place[generator.permutation(members)] = (np.arange(len(members)) + 0.5) / max(
            1, len(members)
        )
    order = sorted(
        range(len(recordings)), key=lambda index: (place[index], not with_seizure[index])
    )
    chosen: list[int] = []
    left_s = max_hours * _HOUR_S
    for index in order:
        is_first_seizure = with_seizure[index] and not any(with_seizure[other] for other in chosen)
        if recordings[index].duration_s <= left_s or is_first_seizure:
            chosen.append(index)
            left_s -= recordings[index].duration_s
    return tuple(recordings[index] for index in sorted(chosen))
