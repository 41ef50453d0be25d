"""What an evaluation found: per recording, per patient, per split, for detector and baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bgb.config.evaluation import PostprocessConfig
from bgb.eeg.events import Event, seizures
from bgb.errors import CacheError
from bgb.evaluation.postprocess import to_events
from bgb.evaluation.roc import Interval, Ranking, auroc_interval, rank_seconds
from bgb.evaluation.series import RecordingScore, mean_over
from bgb.evaluation.szcore import SzcoreScores, SzcoreSummary, score_szcore, summarise
from bgb.evaluation.threshold import ThresholdChoice

_HOUR_S = 3600


@dataclass(frozen=True)
class RecordingResult:
    """Detected and true seizures of one recording; the mean probability of each detection."""

    recording_id: str
    patient: str
    duration_s: float
    reference: tuple[Event, ...]
    events: tuple[Event, ...]
    confidence: tuple[float, ...]
    szcore: SzcoreScores


@dataclass(frozen=True)
class PatientResult:
    """Scores of one patient: counts summed over the recordings."""

    patient: str
    num_recordings: int
    num_seizures: int
    hours: float
    szcore: SzcoreScores
    ranking: Ranking


@dataclass(frozen=True)
class SplitResult:
    """Scores of a split at a frozen threshold.

    `num_seizures` counts seizures as annotated; SzCORE counts them after merging those less than
    90 s apart and splitting those longer than 300 s.
    """

    split: str
    recordings: tuple[RecordingResult, ...]
    patients: tuple[PatientResult, ...]
    summary: SzcoreSummary
    ranking: Ranking
    auroc_interval: Interval

    @property
    def hours(self) -> float:
        return sum(patient.hours for patient in self.patients)

    @property
    def num_seizures(self) -> int:
        return sum(patient.num_seizures for patient in self.patients)


@dataclass(frozen=True)
class ScoredDetector:
    """One detector, its frozen threshold and its scores by split."""

    threshold: ThresholdChoice
    splits: Mapping[str, SplitResult]


@dataclass(frozen=True)
class Evaluation:
    """A detector and, unless switched off, the baseline on the same recordings."""

    detector: ScoredDetector
    baseline: ScoredDetector | None
    postprocess: PostprocessConfig


def score_split(
    split: str,
    scores: Sequence[RecordingScore],
    postprocess: PostprocessConfig,
    *,
    threshold: float,
    seed: int,
) -> SplitResult:
    """Turn series into events at a frozen threshold and score them.

    Raises
    ------
    CacheError : the split holds no seizure (lesson 36: the predecessor scored 865 recordings
        whose labels were all zero and reported the result).
    """
    require_seizures(split, scores)
    recordings = tuple(_score_recording(score, postprocess, threshold) for score in scores)
    summary = summarise((recording.patient, recording.szcore) for recording in recordings)
    patients = tuple(
        _patient(patient, [score for score in scores if score.patient == patient], szcore)
        for patient, szcore in sorted(summary.per_subject.items())
    )
    return SplitResult(
        split,
        recordings,
        patients,
        summary,
        rank_seconds(scores),
        auroc_interval(scores, seed=seed),
    )


class Labelled(Protocol):
    """Anything with a reference: a recording or its series."""

    @property
    def events(self) -> tuple[Event, ...]: ...
    @property
    def duration_s(self) -> float: ...


def require_seizures(split: str, recordings: Sequence[Labelled]) -> None:
    """Refuse a split in which nothing is labelled as seizure."""
    if any(seizures(recording.events) for recording in recordings):
        return
    hours = sum(recording.duration_s for recording in recordings) / _HOUR_S
    raise CacheError(
        f"split {split} holds no seizure in {len(recordings)} recordings ({hours:.2f} h): scores "
        "would mean nothing; check the label files and data.split, then rebuild with bgb.cache"
    )


def _score_recording(
    score: RecordingScore, postprocess: PostprocessConfig, threshold: float
) -> RecordingResult:
    events = to_events(score.probability_K, score.rate_hz, score.duration_s, postprocess, threshold)
    szcore = score_szcore(score.events, events, duration_s=score.duration_s)
    return RecordingResult(
        score.recording_id,
        score.patient,
        score.duration_s,
        seizures(score.events),
        events,
        _confidence(score, events),
        szcore,
    )


def _confidence(score: RecordingScore, events: Sequence[Event]) -> tuple[float, ...]:
    start_s_E = np.array([event.start_s for event in events])
    stop_s_E = np.array([event.stop_s for event in events])
    mean_E = mean_over(score.probability_K, score.rate_hz, start_s_E, stop_s_E)
    return tuple(np.clip(mean_E, 0, 1).tolist())


def _patient(patient: str, scores: Sequence[RecordingScore], szcore: SzcoreScores) -> PatientResult:
    return PatientResult(
        patient,
        len(scores),
        sum(len(seizures(score.events)) for score in scores),
        sum(score.duration_s for score in scores) / _HOUR_S,
        szcore,
        rank_seconds(scores),
    )
