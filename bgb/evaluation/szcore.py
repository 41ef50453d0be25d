"""SzCORE event and sample scores through timescoring 0.0.7, and their average over subjects.

Events are scored at 10 Hz (merged below 90 s, split above 300 s, 30 s and 60 s of tolerance),
samples at 1 Hz. timescoring changed what F1 and a false positive are between 0.0.5 and 0.0.7, so
the version is pinned and reported with every score. Nothing is pooled over windows (lessons 76 and
77): one recording is scored at a time, counts are summed over the recordings of a subject.
"""

# Shapes: N subjects

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np
from timescoring.annotations import Annotation
from timescoring.scoring import EventScoring, SampleScoring

from bgb.eeg.events import Event, clip_events, seizures

METRICS = ("sensitivity", "precision", "f1", "fp_per_day")
EVENT_RATE_HZ = 10  # the precision at which timescoring compares events
SAMPLE_RATE_HZ = 1
_ANNOTATION_RATE_HZ = 256  # annotations are counted in samples of this rate before scoring
_DAY_S = 24 * 3600

Variant = Literal["timescoring", "szcore_1hz"]
Bounds = Sequence[tuple[float, float]]  # (start_s, stop_s), sorted and disjoint


@dataclass(frozen=True)
class Scores:
    """Counts and what follows from them; NaN where undefined, as in timescoring 0.0.7.

    Attributes
    ----------
    tp : reference pieces (or seconds) that were found.
    fp : false alarms (or seconds).
    num_reference : reference pieces after merging and splitting (or seconds).
    scored_s : length of the scored recordings in seconds.
    """

    tp: int
    fp: int
    num_reference: int
    scored_s: float

    @property
    def sensitivity(self) -> float:
        return _ratio(self.tp, self.num_reference)

    @property
    def precision(self) -> float:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN): 0 without a detection, NaN only with nothing to count."""
        return _ratio(2 * self.tp, self.tp + self.fp + self.num_reference)

    @property
    def fp_per_day(self) -> float:
        return _ratio(self.fp, self.scored_s / _DAY_S)

    def __add__(self, other: "Scores") -> "Scores":
        return Scores(
            self.tp + other.tp,
            self.fp + other.fp,
            self.num_reference + other.num_reference,
            self.scored_s + other.scored_s,
        )


@dataclass(frozen=True)
class SzcoreScores:
    """Event and sample scores of one recording, or of several summed up."""

    event: Scores
    sample: Scores

    def __add__(self, other: "SzcoreScores") -> "SzcoreScores":
        return SzcoreScores(self.event + other.event, self.sample + other.sample)


@dataclass(frozen=True)
class SubjectAverage:
    """Mean and standard deviation over the subjects in whom a score is defined."""

    sensitivity: float
    precision: float
    f1: float
    fp_per_day: float
    sensitivity_std: float
    precision_std: float
    f1_std: float
    fp_per_day_std: float


@dataclass(frozen=True)
class SzcoreSummary:
    """Scores of a set of recordings: per subject, averaged over subjects, and cumulated.

    The average over subjects is what the SzCORE leaderboard shows (`avg_per_subject`): precision
    averages only subjects with a detection, sensitivity only those with a seizure.
    """

    per_subject: Mapping[str, SzcoreScores]
    event_average: SubjectAverage
    sample_average: SubjectAverage
    cumulated: SzcoreScores


def timescoring_version() -> str:
    """Return the version of timescoring, without which its scores cannot be compared."""
    return version("timescoring")


def score_szcore(
    reference: Iterable[Event],
    hypothesis: Iterable[Event],
    *,
    duration_s: float,
    variant: Variant = "timescoring",
) -> SzcoreScores:
    """Score the seizures of a hypothesis against those of a reference, on one recording.

    Events that are no seizure are ignored, overlapping ones are joined, and what lies past the end
    is cut off.

    Parameters
    ----------
    duration_s : length of the recording.
    variant : "timescoring" scores the times as they are. "szcore_1hz" first truncates both
        sides to whole seconds, as the leaderboard does (szcore-evaluation reads events.tsv into
        1 Hz masks); only sample counts of events with fractional seconds differ.
    """
    bounds = [_bounds(events, duration_s) for events in (reference, hypothesis)]
    if variant == "szcore_1hz":
        return _score_whole_seconds(bounds[0], bounds[1], int(duration_s))
    return SzcoreScores(
        score_bounds(bounds[0], bounds[1], duration_s=duration_s),
        _score(SampleScoring, bounds[0], bounds[1], duration_s, rate_hz=SAMPLE_RATE_HZ),
    )


def score_bounds(reference: Bounds, hypothesis: Bounds, *, duration_s: float) -> Scores:
    """Return the event scores of sorted, disjoint (start_s, stop_s) pairs: the core of a sweep."""
    return _score(EventScoring, reference, hypothesis, duration_s, rate_hz=EVENT_RATE_HZ)


def summarise(scores: Iterable[tuple[str, SzcoreScores]]) -> SzcoreSummary:
    """Sum (subject, scores) over the recordings of each subject, then average over subjects."""
    per_subject: dict[str, SzcoreScores] = {}
    for subject, score in scores:
        per_subject[subject] = per_subject[subject] + score if subject in per_subject else score
    nothing = Scores(0, 0, 0, 0.0)
    cumulated = SzcoreScores(nothing, nothing)
    for score in per_subject.values():
        cumulated = cumulated + score
    return SzcoreSummary(
        per_subject,
        _average([score.event for score in per_subject.values()]),
        _average([score.sample for score in per_subject.values()]),
        cumulated,
    )


def seizure_bounds(events: Iterable[Event]) -> list[tuple[float, float]]:
    """Return the union of all seizures as sorted, disjoint (start_s, stop_s) pairs."""
    return [(event.start_s, event.stop_s) for event in seizures(events)]


def _bounds(events: Iterable[Event], duration_s: float) -> list[tuple[float, float]]:
    return seizure_bounds(clip_events(tuple(events), duration_s)[0])


def _num_samples(duration_s: float, rate_hz: int) -> int:
    # By way of 256 Hz, like scores computed from masks of that rate, but without such masks.
    return round(round(duration_s * _ANNOTATION_RATE_HZ) / _ANNOTATION_RATE_HZ * rate_hz)


def _score(
    scoring: type[EventScoring] | type[SampleScoring],
    reference: Bounds,
    hypothesis: Bounds,
    duration_s: float,
    *,
    rate_hz: int,
) -> Scores:
    num_samples = _num_samples(duration_s, rate_hz)
    if num_samples == 0:  # timescoring divides by the length
        return Scores(0, 0, 0, 0.0)
    pair = [Annotation(list(bounds), rate_hz, num_samples) for bounds in (reference, hypothesis)]
    return _scores(scoring(*pair))


def _score_whole_seconds(reference: Bounds, hypothesis: Bounds, num_seconds: int) -> SzcoreScores:
    if num_seconds == 0:
        return SzcoreScores(Scores(0, 0, 0, 0.0), Scores(0, 0, 0, 0.0))
    pair = []
    for bounds in (reference, hypothesis):
        mask_S = np.zeros(num_seconds, dtype=bool)
        for start_s, stop_s in bounds:
            mask_S[int(start_s) : int(stop_s)] = True
        pair.append(Annotation(mask_S, SAMPLE_RATE_HZ))
    return SzcoreScores(_scores(EventScoring(*pair)), _scores(SampleScoring(*pair)))


def _scores(scoring: EventScoring | SampleScoring) -> Scores:
    return Scores(
        int(scoring.tp), int(scoring.fp), int(scoring.refTrue), scoring.numSamples / scoring.fs
    )


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")


def _average(scores: Sequence[Scores]) -> SubjectAverage:
    values = {}
    for metric in METRICS:
        values_N = np.array([getattr(score, metric) for score in scores], dtype=float)
        defined_N = values_N[~np.isnan(values_N)]
        values[metric] = float(defined_N.mean()) if defined_N.size else float("nan")
        values[f"{metric}_std"] = float(defined_N.std()) if defined_N.size else float("nan")
    return SubjectAverage(**values)
