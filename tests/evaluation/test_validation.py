"""validate: every metric by its name, whole dev beside its part, an end between two recordings."""

import logging
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_recordings import FakeCache, MakeRecording

from bgb.config.evaluation import EvaluationConfig, PostprocessConfig
from bgb.config.training import MONITORS, VALIDATION_METRICS
from bgb.data.windows import WindowBatch
from bgb.errors import CacheError
from bgb.evaluation.progress import WindowProgress
from bgb.evaluation.stitching import count_windows
from bgb.evaluation.szcore import Scores
from bgb.evaluation.threshold import OperatingPoint
from bgb.evaluation.validation import sensitivity_at, validate

FACTS = SimpleNamespace(window_s=60, out_rate_hz=2.0, context_s=(2, 2), is_causal=False)
OPTIONS: dict[str, Any] = {
    "postprocess": PostprocessConfig(),
    "evaluation": EvaluationConfig(batch_size=4),
    "fp_per_day": 24.0,
}


def amplitude(batch: WindowBatch) -> torch.Tensor:
    """A detector that goes by amplitude: two logits a second."""
    halves = batch.tiles_BSCR.float().unflatten(-1, (2, -1)).std(dim=-1).mean(dim=2)
    return ((halves.flatten(1) - 320) / 40)[:, 4:-4]  # 2 s of context on both sides


def blind(batch: WindowBatch) -> torch.Tensor:
    """A detector that knows nothing: chance."""
    generator = torch.Generator().manual_seed(int(batch.start_B.sum()))
    return torch.randn(len(batch.start_B), 112, generator=generator)


def constant(batch: WindowBatch) -> torch.Tensor:
    return torch.full((len(batch.start_B), 112), -1.0)


def points(*scores: tuple[int, int]) -> list[OperatingPoint]:
    """Return points of ten reference events in a day, each with (found, false alarms)."""
    return [
        OperatingPoint(place / 10, Scores(tp, fp, 10, 86400.0))
        for place, (tp, fp) in enumerate(scores)
    ]


def test_validation_gives_every_metric_by_its_name(small_cache: FakeCache) -> None:
    """Lesson 64: a monitored name that did not exist made the first epoch the best one."""
    metrics = validate(amplitude, FACTS, small_cache.split("dev"), **OPTIONS)
    assert tuple(metrics) == VALIDATION_METRICS
    assert set(MONITORS) < set(metrics)
    assert all(math.isfinite(value) for value in metrics.values())
    assert metrics["val/auroc"] > 0.98
    assert metrics["val/event_f1"] == metrics["val/sensitivity"] == 1.0
    assert metrics["val/sensitivity_at_fp"] == 1.0
    assert metrics["val/fp_per_day"] == 0.0


def test_full_validation_is_that_of_all_recordings_under_other_names(
    small_cache: FakeCache,
) -> None:
    dev = small_cache.split("dev")
    whole = validate(blind, FACTS, dev, **OPTIONS)
    both = validate(blind, FACTS, dev[:2], others=dev[2:], **OPTIONS)
    part = validate(blind, FACTS, dev[:2], **OPTIONS)
    assert {name: both[name] for name in part} == part
    assert {name: both[name.replace("val/", "val_full/")] for name in whole} == whole
    assert len(both) == 2 * len(whole)
    assert both["val_full/auroc"] != both["val/auroc"]


def test_part_that_is_all_of_dev_is_not_scored_twice(small_cache: FakeCache) -> None:
    seen: list[int] = []

    def counting(batch: WindowBatch) -> torch.Tensor:
        seen.append(len(batch.start_B))
        return amplitude(batch)

    dev = small_cache.split("dev")
    metrics = validate(counting, FACTS, dev, others=(), **OPTIONS)
    assert metrics["val_full/event_f1"] == metrics["val/event_f1"]
    assert sum(seen) == sum(count_windows(FACTS, r.num_seconds, overlap=0.5) for r in dev)


def test_recordings_without_seizures_are_refused(make_recording: MakeRecording) -> None:
    with pytest.raises(CacheError, match=r"split dev .* holds no seizure"):
        validate(amplitude, FACTS, [make_recording()], **OPTIONS)


def test_what_is_raised_between_two_recordings_ends_the_validation(small_cache: FakeCache) -> None:
    visits = iter([None, None, KeyboardInterrupt()])

    def between() -> None:
        if (error := next(visits)) is not None:
            raise error

    with pytest.raises(KeyboardInterrupt):
        validate(amplitude, FACTS, small_cache.split("dev"), between=between, **OPTIONS)
    assert next(visits, "end") == "end"


def test_detector_that_says_the_same_everywhere_is_named(
    small_cache: FakeCache, caplog: pytest.LogCaptureFixture
) -> None:
    validate(constant, FACTS, small_cache.split("dev"), **OPTIONS)
    assert "says nearly the same everywhere: AUROC 0.5000 is known to +-0.5000 only" in caplog.text


def test_sensitivity_counts_every_threshold_that_keeps_to_the_limit() -> None:
    # Lesson 78: false alarms rise and fall with the threshold.
    assert sensitivity_at(points((10, 99), (7, 20), (8, 30), (6, 24), (2, 0)), 24.0) == 0.7
    assert sensitivity_at(points((10, 99), (9, 25), (4, 1)), 24.0) == 0.4


def test_sensitivity_is_zero_where_no_threshold_keeps_to_the_limit() -> None:
    assert sensitivity_at(points((10, 99), (9, 25)), 24.0) == 0.0


def test_long_validation_says_how_far_it_is(
    small_cache: FakeCache, caplog: pytest.LogCaptureFixture
) -> None:
    """A clock that moves 20 s a batch: every second one is worth a line (lesson 39)."""
    now = iter(range(0, 2000, 20))
    recording = small_cache.split("dev")[1]
    with (
        caplog.at_level(logging.INFO),
        WindowProgress("validation", 10, clock=lambda: float(next(now))) as progress,
    ):
        one = EvaluationConfig(batch_size=1)
        validate(progress.counted(amplitude), FACTS, [recording], **{**OPTIONS, "evaluation": one})
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:2] == [
        "validation: 2 of 10 windows, 20 %, 160 s left",
        "validation: 4 of 10 windows, 40 %, 120 s left",
    ]


def test_progress_on_a_bar_is_a_row_that_goes_when_done(small_cache: FakeCache) -> None:
    from rich.progress import Progress

    with Progress(disable=True) as bar:
        progress = WindowProgress("validation", 10, bar)
        with pytest.raises(ZeroDivisionError), progress:
            progress.counted(amplitude)
            assert [task.description for task in bar.tasks] == ["validation"]
            raise ZeroDivisionError
        assert bar.tasks == []
