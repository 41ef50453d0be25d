"""From windows to scores.json: dev chooses, eval is scored with what dev chose."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fake_recordings import FakeCache, small
from rich.console import Console

from bgb.config.evaluation import EvaluationConfig, PostprocessConfig
from bgb.data.windows import WindowBatch
from bgb.eeg.annotations import read_events
from bgb.errors import CacheError
from bgb.evaluation.evaluate import evaluate_detector
from bgb.evaluation.results import Evaluation, score_split
from bgb.evaluation.series import RecordingScore
from bgb.evaluation.szcore import score_szcore
from bgb.evaluation.table import scores_table
from bgb.evaluation.writing import scores_json, write_results

FACTS = SimpleNamespace(window_s=60, out_rate_hz=2.0, context_s=(2, 2), is_causal=False)
POSTPROCESS = PostprocessConfig()
EVALUATION = EvaluationConfig(batch_size=4, baseline_seconds=1000)
NO_BASELINE = EvaluationConfig(baseline=False)


def amplitude(batch: WindowBatch) -> torch.Tensor:
    """A detector that goes by amplitude: two logits a second."""
    tiles_BSCR = batch.tiles_BSCR.float()
    halves = tiles_BSCR.unflatten(-1, (2, -1)).std(dim=-1).mean(dim=2)
    return ((halves.flatten(1) - 320) / 40)[:, 4:-4]  # 2 s of context on both sides


def blind(batch: WindowBatch) -> torch.Tensor:
    """A detector that knows nothing: chance."""
    generator = torch.Generator().manual_seed(int(batch.start_B.sum()))
    return torch.randn(len(batch.start_B), 112, generator=generator)


def evaluate(predict: Any, cache: FakeCache, **changes: Any) -> Evaluation:
    options = {"postprocess": POSTPROCESS, "evaluation": EVALUATION, "seed": 0} | changes
    return evaluate_detector(predict, FACTS, cache, **options)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(amplitude, small())


def test_a_good_detector_scores_well_on_eval(evaluation: Evaluation) -> None:
    result = evaluation.detector.splits["eval"]
    event = result.summary.cumulated.event
    assert (event.tp, event.fp, event.num_reference) == (4, 0, 4)
    assert result.ranking.auroc > 0.98
    assert result.num_seizures == 4
    assert result.hours == pytest.approx(8 * 150.5 / 3600)
    assert [patient.patient for patient in result.patients] == ["eval0", "eval1"]


def test_a_blind_detector_is_at_chance(small_cache: FakeCache) -> None:
    result = evaluate(blind, small_cache, evaluation=NO_BASELINE).detector.splits["eval"]
    assert 0.4 < result.ranking.auroc < 0.6


def test_the_baseline_walks_the_same_path(evaluation: Evaluation) -> None:
    baseline = evaluation.baseline
    assert baseline is not None
    assert baseline.threshold.chosen_on == "dev"
    assert set(baseline.splits) == {"dev", "eval"}
    ids = [
        [r.recording_id for r in s.splits["eval"].recordings]
        for s in (evaluation.detector, baseline)
    ]
    assert ids[0] == ids[1]
    assert baseline.splits["eval"].ranking.auroc > 0.9


def test_the_threshold_never_sees_eval(small_cache: FakeCache) -> None:
    """Lesson 78: the predecessor tuned on the set it was scored on."""
    swapped = FakeCache({**small_cache.splits, "eval": small_cache.splits["train"]})
    first, second = (
        evaluate(amplitude, cache, evaluation=NO_BASELINE).detector
        for cache in (small_cache, swapped)
    )
    assert first.threshold == second.threshold
    assert first.splits["eval"] != second.splits["eval"]


def test_a_given_threshold_is_kept_and_dev_is_not_read(small_cache: FakeCache) -> None:
    without_dev = FakeCache({"eval": small_cache.splits["eval"]})
    scored = evaluate(
        amplitude,
        without_dev,
        postprocess=PostprocessConfig(threshold=0.42),
        evaluation=NO_BASELINE,
    ).detector
    assert (scored.threshold.threshold, scored.threshold.chosen_on) == (0.42, "config")
    assert set(scored.splits) == {"eval"}


@pytest.mark.parametrize("split", ["dev", "eval"])
def test_a_split_without_seizures_is_refused_before_any_work(
    small_cache: FakeCache, split: str
) -> None:
    """Lesson 36: 865 recordings with all-zero labels were scored and reported."""
    quiet = tuple(r for r in small_cache.splits[split] if not r.events)
    cache = FakeCache({**small_cache.splits, split: quiet})

    def never(batch: WindowBatch) -> torch.Tensor:
        raise AssertionError("the detector was asked")

    with pytest.raises(CacheError, match=f"split {split} holds no seizure in 4 recordings"):
        evaluate(never, cache)


def test_series_without_seizures_are_not_scored() -> None:
    score = RecordingScore("a", "a", np.zeros(7200, np.float32), 1.0, 7200.0, ())
    with pytest.raises(CacheError, match=r"split eval holds no seizure in 1 .*\(2\.00 h\)"):
        score_split("eval", [score], POSTPROCESS, threshold=0.5, seed=0)


def test_an_empty_split_is_refused_with_the_way_out(small_cache: FakeCache) -> None:
    cache = FakeCache({**small_cache.splits, "dev": ()})
    with pytest.raises(
        CacheError, match=r"split dev has no recordings .* set postprocess.threshold"
    ):
        evaluate(amplitude, cache)


def test_written_events_give_the_reported_scores_again(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    scores_path = write_results(tmp_path, evaluation)
    scores = json.loads(scores_path.read_text())
    for recording in evaluation.detector.splits["eval"].recordings:
        stem = tmp_path / "events" / "eval" / recording.recording_id
        for path in (f"{stem}.csv_bi", f"{stem}_events.tsv"):
            again = score_szcore(
                recording.reference, read_events(path), duration_s=recording.duration_s
            )
            told = scores["detector"]["splits"]["eval"]["recordings"][recording.recording_id]
            assert again.event.tp == told["event"]["tp"]
            assert again.sample.tp == told["sample"]["tp"]
    names = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert len(names) == 1 + 2 * 16  # nothing temporary stays behind


def test_scores_json_is_strict_and_complete(evaluation: Evaluation, tmp_path: Path) -> None:
    text = write_results(tmp_path, evaluation).read_text()
    scores = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in strict JSON"))
    assert scores["schema_version"] == 1
    assert scores["timescoring"] == "0.0.7"
    assert scores["chance_auroc"] == 0.5
    assert scores["postprocess"]["smooth_s"] == 5.0
    for name in ("detector", "baseline"):
        assert scores[name]["threshold"]["chosen_on"] == "dev"
        result = scores[name]["splits"]["eval"]
        assert result["event"]["cumulated"]["tp"] == 4
        assert set(result["event"]["avg_per_subject"]) >= {"sensitivity", "f1_std", "fp_per_day"}
        assert (result["num_patients"], result["num_recordings"]) == (2, 8)
        assert result["auroc_interval"]["low"] is None  # two patients only
        assert set(result["patients"]) == {"eval0", "eval1"}
        assert len(result["recordings"]) == 8


def test_undefined_scores_are_null(evaluation: Evaluation) -> None:
    figures = scores_json(evaluation)["detector"]["splits"]["eval"]["recordings"]
    quiet = next(figure for figure in figures.values() if figure["num_seizures"] == 0)
    assert quiet["event"]["sensitivity"] is None


def test_results_are_replaced_when_written_again(evaluation: Evaluation, tmp_path: Path) -> None:
    first = write_results(tmp_path, evaluation).read_text()
    assert write_results(tmp_path, evaluation).read_text() == first


def render(evaluation: Evaluation, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(scores_table(json.loads(json.dumps(scores_json(evaluation)))))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_is_read_at_100_columns(evaluation: Evaluation) -> None:
    text = render(evaluation, 100)
    for expected in (
        *("eval0", "eval1", "All summed", "All mean", "Baseline summed", "Baseline mean"),
        *("Seizures", "Found", "Sens.", "Prec.", "F1", "FA/24 h", "AUROC", "4/4", "2/2"),
        *("timescoring 0.0.7", "chance is 0.5", "from dev", "8 recordings"),
    ):
        assert expected in text, expected
    assert "..." not in text and "\u2026" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_table_shows_undefined_as_a_dash(small_cache: FakeCache) -> None:
    silent = evaluate(
        lambda batch: torch.full((len(batch.start_B), 112), -9.0),
        small_cache,
        postprocess=PostprocessConfig(threshold=0.9),
        evaluation=NO_BASELINE,
    )
    row = next(line for line in render(silent, 100).splitlines() if "All summed" in line)
    assert [cell.strip() for cell in row.split("\u2502")[2:-1]] == [
        *("4", "0/4", "0.000", "-", "0.000", "0.0", "0.500"),
    ]


def test_the_table_says_that_a_limit_was_not_met(evaluation: Evaluation) -> None:
    scores = scores_json(evaluation)
    scores["detector"]["threshold"] |= {"max_fp_per_day": 2.0, "constraint_met": False}
    scores["detector"]["splits"]["eval"]["auroc_interval"] |= {"low": 0.81, "high": 0.93}
    caption = str(scores_table(scores).caption)
    assert "more than 2 FA/24 h there: limit not met" in caption
    assert "95% interval over patients: 0.810 to 0.930" in caption


def test_numbers_of_an_evaluation_repeat(small_cache: FakeCache, evaluation: Evaluation) -> None:
    again = evaluate(amplitude, small_cache)
    np.testing.assert_equal(scores_json(again), scores_json(evaluation))
