"""Tally: what a validation keeps of the recordings it scored: counts, however many hours they last.

Seconds are counted by bins of their logit, 1/2048 wide from -88 to 24: beyond, a mean of float32
probabilities is 0 or 1. Events are scored at a fixed grid of thresholds, so that no earlier
recording is needed again (lesson 72: the predecessor held every window, 120 GB). All counts are
whole numbers: `a + b` is exact in any order, also over processes.
"""

# Shapes: S seconds, N bins, Q thresholds

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bgb.config.evaluation import PostprocessConfig
from bgb.evaluation.postprocess import smooth
from bgb.evaluation.roc import Ranking, seconds_of
from bgb.evaluation.series import RecordingScore
from bgb.evaluation.szcore import EVENT_RATE_HZ, Scores
from bgb.evaluation.threshold import OperatingPoint, sweep_recording

_BINS_PER_LOGIT = 2048
_LOWEST, _HIGHEST = -88, 24
NUM_BINS = (_HIGHEST - _LOWEST) * _BINS_PER_LOGIT
# How much of a bin is seen when its precision is taken: half of it, on average over its seconds;
# all of it above a logit of 9, where two float32 lie further apart than a bin: those are ties.
_SEEN_N = np.where(np.arange(NUM_BINS) < (9 - _LOWEST) * _BINS_PER_LOGIT, 0.5, 1.0)
THRESHOLDS = 1 / (1 + np.exp(-np.linspace(-14, 14, 561)))  # every 0.05 of the logit


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of seconds and events, summed over recordings.

    Attributes
    ----------
    background_N, seizure_N : seconds by bin of their logit, ascending.
    tp_Q, fp_Q : events found and false alarms at each of `THRESHOLDS`.
    num_reference : reference pieces, as SzCORE counts them.
    num_samples : samples of `EVENT_RATE_HZ` on which events were scored.
    """

    background_N: NDArray[np.int64]
    seizure_N: NDArray[np.int64]
    tp_Q: NDArray[np.int64]
    fp_Q: NDArray[np.int64]
    num_reference: int
    num_samples: int

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.background_N + other.background_N,
            self.seizure_N + other.seizure_N,
            self.tp_Q + other.tp_Q,
            self.fp_Q + other.fp_Q,
            self.num_reference + other.num_reference,
            self.num_samples + other.num_samples,
        )

    def ranking(self) -> Ranking:
        """Return AUROC and AUPRC of the seconds, those of one bin being tied."""
        num_background, num_seizure = int(self.background_N.sum()), int(self.seizure_N.sum())
        auroc = auprc = float("nan")
        if num_background and num_seizure:
            above_N, found_N = _above(self.background_N), _above(self.seizure_N)
            twice_below_N = 2 * (num_background - above_N) - self.background_N  # ties count half
            auroc = int((self.seizure_N * twice_below_N).sum()) / (2 * num_background * num_seizure)
            tp_N = found_N + _SEEN_N * self.seizure_N + (1 - _SEEN_N)
            positive_N = tp_N + above_N + _SEEN_N * self.background_N
            precision_N = tp_N / np.maximum(positive_N, 0.5)  # 0 in empty bins only
            auprc = float((self.seizure_N * precision_N).sum()) / num_seizure
        return Ranking(auroc, auprc, num_background + num_seizure, num_seizure)

    def auroc_error(self) -> float:
        """Return how far the AUROC may be from that without bins: half the pairs in one bin."""
        pairs = int(self.background_N.sum()) * int(self.seizure_N.sum())
        return int((self.background_N * self.seizure_N).sum()) / 2 / pairs if pairs else 0.0

    def points(self) -> tuple[OperatingPoint, ...]:
        """Return the event scores at every threshold, ascending."""
        scored_s = self.num_samples / EVENT_RATE_HZ
        return tuple(
            OperatingPoint(threshold, Scores(tp, fp, self.num_reference, scored_s))
            for threshold, tp, fp in zip(
                THRESHOLDS.tolist(), self.tp_Q.tolist(), self.fp_Q.tolist(), strict=True
            )
        )


def empty_tally() -> Tally:
    """Return the tally of no recording."""
    seconds_N, events_Q = np.zeros(NUM_BINS, np.int64), np.zeros(len(THRESHOLDS), np.int64)
    return Tally(seconds_N, seconds_N, events_Q, events_Q, 0, 0)


def tally_recording(score: RecordingScore, config: PostprocessConfig) -> Tally:
    """Count the seconds and score the events of one recording."""
    probability_S, is_seizure_S = seconds_of(score)
    bins_S = _bins(probability_S)
    smoothed_K = smooth(score.probability_K, score.rate_hz, smooth_s=config.smooth_s)
    counts = sweep_recording(score, smoothed_K, THRESHOLDS, config)
    return Tally(
        np.bincount(bins_S[~is_seizure_S], minlength=NUM_BINS),
        np.bincount(bins_S[is_seizure_S], minlength=NUM_BINS),
        np.array([each.tp for each in counts], np.int64),
        np.array([each.fp for each in counts], np.int64),
        counts[0].num_reference,
        round(counts[0].scored_s * EVENT_RATE_HZ),
    )


def _above(counts_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many lie in the bins above each."""
    above_N: NDArray[np.int64] = np.cumsum(counts_N[::-1])[::-1] - counts_N
    return above_N


def _bins(probability_S: NDArray[np.float64]) -> NDArray[np.int64]:
    probability_S = np.clip(probability_S, 0, 1)  # a mean may be rounded past 1
    with np.errstate(divide="ignore"):  # 0 and 1 lie in the outermost bins
        logit_S = np.log(probability_S) - np.log1p(-probability_S)
    bins_S = np.floor((logit_S - _LOWEST) * _BINS_PER_LOGIT)
    limited_S: NDArray[np.int64] = np.clip(bins_S, 0, NUM_BINS - 1).astype(np.int64)
    return limited_S
