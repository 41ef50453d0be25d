"""How well seconds of seizure rank above seconds of background: AUROC and AUPRC at 1 Hz.

Pooled over recordings, and NaN where only one class exists. Chance is 0.5 for AUROC and the share
of seizure for AUPRC. The interval draws whole patients: seconds of one patient are not independent.
"""

# Shapes: S seconds, P patients, Q bins of equal mass, N draws

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bgb.evaluation.series import RecordingScore, mean_over
from bgb.evaluation.szcore import seizure_bounds

CHANCE_AUROC = 0.5
_NUM_BINS = 2000
_MIN_PATIENTS = 3  # fewer say nothing about other patients


@dataclass(frozen=True)
class Ranking:
    """AUROC and AUPRC of pooled seconds; NaN without both classes."""

    auroc: float
    auprc: float
    num_seconds: int
    num_seizure_seconds: int


@dataclass(frozen=True)
class Interval:
    """Percentile interval of a bootstrap; NaN where it cannot be drawn."""

    low: float
    high: float
    level: float = 0.95


def rank_seconds(scores: Sequence[RecordingScore]) -> Ranking:
    """Score the seconds of all recordings together."""
    # Not on top: training starts without scikit-learn.
    from sklearn.metrics import average_precision_score, roc_auc_score

    probability_S, is_seizure_S = _pooled(scores)
    num_seizure = int(is_seizure_S.sum())
    auroc = auprc = float("nan")
    if 0 < num_seizure < len(is_seizure_S):
        auroc = float(roc_auc_score(is_seizure_S, probability_S))
        auprc = float(average_precision_score(is_seizure_S, probability_S))
    return Ranking(auroc, auprc, len(is_seizure_S), num_seizure)


def auroc_interval(
    scores: Sequence[RecordingScore], *, seed: int, num_draws: int = 1000
) -> Interval:
    """Return the interval of the pooled AUROC when patients are drawn with replacement.

    Scores are put into bins of equal mass once, so that a draw is a weighted sum of the
    histograms of its patients and not a new sort.
    """
    patients = sorted({score.patient for score in scores})
    if len(patients) < _MIN_PATIENTS:
        return Interval(float("nan"), float("nan"))
    histograms_P2Q = _histograms(scores, patients)
    generator = np.random.default_rng(seed)
    chances = np.full(len(patients), 1 / len(patients))
    weights_NP = generator.multinomial(len(patients), chances, size=num_draws)
    background_NQ, seizure_NQ = (weights_NP @ histograms_P2Q[:, kind] for kind in (0, 1))
    pairs_N = background_NQ.sum(axis=1) * seizure_NQ.sum(axis=1)
    below_NQ = np.cumsum(background_NQ, axis=1) - background_NQ / 2  # ties count half
    wins_N = (seizure_NQ * below_NQ).sum(axis=1)
    auroc_N = wins_N[pairs_N > 0] / pairs_N[pairs_N > 0]
    if not auroc_N.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.percentile(auroc_N, [2.5, 97.5])
    return Interval(float(low), float(high))


def seconds_of(score: RecordingScore) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return probability and truth of each second; a second is seizure by the 50 % rule.

    Event edges are rounded to the nearest second, as in the sample score of timescoring.
    """
    num_seconds = max(round(score.duration_s), 1)
    start_s_S = np.arange(num_seconds, dtype=np.float64)
    probability_S = mean_over(score.probability_K, score.rate_hz, start_s_S, start_s_S + 1)
    is_seizure_S = np.zeros(num_seconds, dtype=bool)
    for start_s, stop_s in seizure_bounds(score.events):
        is_seizure_S[round(start_s) : round(stop_s)] = True
    return probability_S, is_seizure_S


def _pooled(scores: Sequence[RecordingScore]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    pairs = [seconds_of(score) for score in scores]
    if not pairs:
        return np.zeros(0), np.zeros(0, dtype=bool)
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def _histograms(scores: Sequence[RecordingScore], patients: Sequence[str]) -> NDArray[np.float64]:
    """Count background and seizure seconds of each patient in bins of equal mass."""
    edges = np.unique(np.quantile(_pooled(scores)[0], np.linspace(0, 1, _NUM_BINS + 1)[1:-1]))
    histograms_P2Q = np.zeros((len(patients), 2, len(edges) + 1))
    for score in scores:
        probability_S, is_seizure_S = seconds_of(score)
        bins_S = np.searchsorted(edges, probability_S, side="right")
        np.add.at(
            histograms_P2Q[patients.index(score.patient)], (is_seizure_S.astype(int), bins_S), 1
        )
    return histograms_P2Q
