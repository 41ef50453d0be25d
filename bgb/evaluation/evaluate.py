"""Score a detector: stitch dev, choose the threshold there, freeze it, score every split with it.

The baseline walks the same path on the same recordings.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from rich.console import Console
from rich.progress import track

from bgb.config.evaluation import EvaluationConfig, PostprocessConfig
from bgb.errors import CacheError
from bgb.evaluation.baseline import fit_baseline
from bgb.evaluation.results import Evaluation, ScoredDetector, require_seizures, score_split
from bgb.evaluation.series import PatientTiles, RecordingScore
from bgb.evaluation.stitching import DetectorFacts, Predict, stitch_recording
from bgb.evaluation.threshold import ThresholdChoice, choose_threshold

_log = logging.getLogger(__name__)
_HOUR_S = 3600


class Splits(Protocol):
    """Recordings by split: `Cache`."""

    def split(self, name: str, /) -> Sequence[PatientTiles]: ...


def evaluate_detector(
    predict: Predict,
    facts: DetectorFacts,
    cache: Splits,
    *,
    postprocess: PostprocessConfig,
    evaluation: EvaluationConfig,
    seed: int,
    progress: bool = True,
) -> Evaluation:
    """Score a detector on whole recordings of patients that it never saw.

    Without `postprocess.threshold` the threshold is chosen on dev, and dev and eval are scored;
    with it only eval is.

    Parameters
    ----------
    predict : windows to logits (B, K); the detector is in evaluation mode already.
    facts : the `Detector`, or anything with its window_s, out_rate_hz and context_s.

    Raises
    ------
    CacheError : a split that is to be scored has no recording or no seizure (lesson 36).
    """
    splits = ("dev", "eval") if postprocess.threshold is None else ("eval",)
    recordings = {split: cache.split(split) for split in splits}
    for split, members in recordings.items():
        _require_some(split, members)

    def score_detector(tiles: PatientTiles) -> RecordingScore:
        return stitch_recording(predict, facts, tiles, evaluation, patient=tiles.patient)

    detector = _score("detector", score_detector, recordings, postprocess, seed, progress)
    baseline = None
    if evaluation.baseline:
        train = cache.split("train")
        _require_some("train", train)
        fitted = fit_baseline(train, max_seconds=evaluation.baseline_seconds, seed=seed)
        baseline = _score("baseline", fitted.score, recordings, postprocess, seed, progress)
    return Evaluation(detector, baseline, postprocess)


def stitch_all(
    predict: Predict,
    facts: DetectorFacts,
    recordings: Iterable[PatientTiles],
    evaluation: EvaluationConfig,
) -> list[RecordingScore]:
    """Stitch each recording by itself."""
    return [
        stitch_recording(predict, facts, tiles, evaluation, patient=tiles.patient)
        for tiles in recordings
    ]


def _score(
    name: str,
    score: Callable[[PatientTiles], RecordingScore],
    recordings: Mapping[str, Sequence[PatientTiles]],
    postprocess: PostprocessConfig,
    seed: int,
    progress: bool,
) -> ScoredDetector:
    started = time.perf_counter()
    scores = {
        split: [score(tiles) for tiles in _tracked(members, f"{name} on {split}", progress)]
        for split, members in recordings.items()
    }
    if postprocess.threshold is None:
        choice = choose_threshold(scores["dev"], postprocess)
    else:
        choice = ThresholdChoice(postprocess.threshold, "config")
    results = {
        split: score_split(split, members, postprocess, threshold=choice.threshold, seed=seed)
        for split, members in scores.items()
    }
    hours = sum(result.hours for result in results.values())
    _log.info(
        "%s: %.2f h scored in %.1f s, threshold %.4g from %s",
        name, hours, time.perf_counter() - started, choice.threshold, choice.chosen_on,
    )  # fmt: skip
    return ScoredDetector(choice, results)


def _require_some(split: str, recordings: Sequence[PatientTiles]) -> None:
    if not recordings:
        raise CacheError(
            f"split {split} has no recordings to score; change data.split or data.limit"
            + (", or set postprocess.threshold" if split == "dev" else "")
            + (", or set evaluation.baseline=false" if split == "train" else "")
        )
    require_seizures(split, recordings)


def _tracked(
    recordings: Sequence[PatientTiles], title: str, progress: bool
) -> Iterable[PatientTiles]:
    console = Console(stderr=True)
    if progress and console.is_terminal:
        return track(recordings, title, console=console)
    return recordings
