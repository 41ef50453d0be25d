"""Write an evaluation: detected events as files that other tools read, and scores.json.

    events/<split>/<recording>.csv_bi        TUSZ and NEDC
    events/<split>/<recording>_events.tsv    BIDS and SzCORE
    scores.json                              every figure; strict JSON, undefined scores are null

Each recording has its own files (lesson 81: the predecessor wrote one file for all).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import bgb
from bgb.eeg.annotations import Dialect, write_events
from bgb.eeg.events import Event
from bgb.evaluation.results import (
    Evaluation,
    PatientResult,
    ScoredDetector,
    SplitResult,
)
from bgb.evaluation.roc import CHANCE_AUROC, Interval, Ranking
from bgb.evaluation.szcore import METRICS, Scores, SubjectAverage, timescoring_version
from bgb.files import write_json

SCHEMA_VERSION = 1
Json = dict[str, Any]  # Any: JSON values


def write_results(folder: Path, evaluation: Evaluation) -> Path:
    """Write events of every split, then scores.json; return the path of scores.json.

    Each file is replaced in one step; scores.json comes last, so that where it stands the
    events are complete.
    """
    for split, result in evaluation.detector.splits.items():
        for recording in result.recordings:
            stem = folder / "events" / split / recording.recording_id
            write_event_files(
                stem,
                recording.events,
                duration_s=recording.duration_s,
                confidence=recording.confidence,
            )
    path = folder / "scores.json"
    write_json(path, scores_json(evaluation))
    return path


def write_event_files(
    stem: Path,
    events: Sequence[Event],
    *,
    duration_s: float,
    start: datetime | None = None,
    confidence: Sequence[float] | None = None,
) -> None:
    """Write the events of one recording in both dialects beside each other."""
    dialects: tuple[tuple[Dialect, str], ...] = (
        ("csv_bi", ".csv_bi"),
        ("events_tsv", "_events.tsv"),
    )
    for dialect, ending in dialects:
        write_events(
            stem.with_name(stem.name + ending),
            events,
            duration_s=duration_s,
            dialect=dialect,
            start=start,
            confidence=confidence,
        )


def scores_json(evaluation: Evaluation) -> Json:
    """Return every figure of an evaluation as strict JSON values, NaN as None."""
    baseline = evaluation.baseline
    figures = {
        "schema_version": SCHEMA_VERSION,
        "bgb": bgb.__version__,
        "timescoring": timescoring_version(),
        "chance_auroc": CHANCE_AUROC,
        "postprocess": asdict(evaluation.postprocess),
        "detector": _scored(evaluation.detector),
        "baseline": None if baseline is None else _scored(baseline),
    }
    strict: Json = _strict(figures)
    return strict


def _scored(scored: ScoredDetector) -> Json:
    threshold = asdict(scored.threshold)
    threshold["scores"] = (
        None if scored.threshold.scores is None else _scores(scored.threshold.scores)
    )
    return {
        "threshold": threshold,
        "splits": {split: _split(result) for split, result in scored.splits.items()},
    }


def _split(result: SplitResult) -> Json:
    summary = result.summary
    return {
        "num_patients": len(result.patients),
        "num_recordings": len(result.recordings),
        "num_seizures": result.num_seizures,
        "hours": result.hours,
        "event": {
            "avg_per_subject": _average(summary.event_average),
            "cumulated": _scores(summary.cumulated.event),
        },
        "sample": {
            "avg_per_subject": _average(summary.sample_average),
            "cumulated": _scores(summary.cumulated.sample),
        },
        **_ranking(result.ranking),
        "auroc_interval": _interval(result.auroc_interval),
        "patients": {patient.patient: _patient(patient) for patient in result.patients},
        "recordings": {
            recording.recording_id: {
                "patient": recording.patient,
                "duration_s": recording.duration_s,
                "num_seizures": len(recording.reference),
                "num_detections": len(recording.events),
                "event": _scores(recording.szcore.event),
                "sample": _scores(recording.szcore.sample),
            }
            for recording in result.recordings
        },
    }


def _patient(patient: PatientResult) -> Json:
    return {
        "num_recordings": patient.num_recordings,
        "num_seizures": patient.num_seizures,
        "hours": patient.hours,
        "event": _scores(patient.szcore.event),
        "sample": _scores(patient.szcore.sample),
        **_ranking(patient.ranking),
    }


def _scores(scores: Scores) -> Json:
    return {**asdict(scores), **{metric: getattr(scores, metric) for metric in METRICS}}


def _average(average: SubjectAverage) -> Json:
    return asdict(average)


def _ranking(ranking: Ranking) -> Json:
    return asdict(ranking)


def _interval(interval: Interval) -> Json:
    return asdict(interval)


def _strict(value: Any) -> Any:  # Any: JSON values
    """Replace what strict JSON lacks: NaN and infinity become None."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
