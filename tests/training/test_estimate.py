"""Hours from a measured speed, how a measurement is found again, and the measurement itself."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bgb.config.schema import TrainConfig
from bgb.errors import RunError
from bgb.training import RunFolder, throughput
from bgb.training.build import build_data
from bgb.training.checkpoint import load_checkpoint
from bgb.training.estimate import (
    Throughput,
    estimate,
    find_measurement,
    num_steps,
    save_measurement,
)
from bgb.training.throughput import measure, probe

MakeConfig = Callable[..., TrainConfig]
# In an hour 3600 windows, 10 h of EEG, 100 h by the baseline: arithmetic in the head.
SPEED = Throughput(
    windows_per_s=1.0,
    scored_eeg_hours_per_s=10 / 3600,
    windows_per_eeg_hour=600.0,
    baseline_fit_s=360.0,
    baseline_eeg_hours_per_s=100 / 3600,
    split_hours={"train": 50.0, "dev": 20.0, "eval": 30.0},
    device="a device",
    date="2026-11-23",
    versions={"torch": "2.13"},
)


def test_training_time_is_windows_over_their_rate(make_config: MakeConfig) -> None:
    config = make_config("trainer.max_epochs=5", "data.sampling.windows_per_epoch=7200")
    assert estimate(config, SPEED).train == pytest.approx(10)


@pytest.mark.parametrize(
    ("overrides", "hours"),
    [
        ("trainer.max_epochs=6 trainer.val_hours=5", 6 * 0.5),
        ("trainer.max_epochs=6 trainer.val_hours=5 trainer.val_every_epochs=4", 2 * 0.5),
        ("trainer.max_epochs=6 trainer.val_hours=1000", 6 * 2.0),  # there are 20 h of dev
        ("trainer.max_epochs=6 trainer.val_hours=5 trainer.val_full_every_epochs=4", 4 * 0.5 + 4),
        ("trainer.max_epochs=6 trainer.val_hours=5 trainer.val_full_every_epochs=9", 5 * 0.5 + 2),
        # 3 x 80000 passes of training; 0.005 of that is 2 h at 600 windows an hour.
        ("trainer.max_epochs=6 trainer.val_hours=5 trainer.val_share=0.005", 6 * 0.2),
    ],
)
def test_every_validation_is_counted_with_what_it_scores(
    make_config: MakeConfig, overrides: str, hours: float
) -> None:
    config = make_config("data.sampling.windows_per_epoch=80000", *overrides.split())
    assert estimate(config, SPEED).validation == pytest.approx(hours)


def test_time_budget_bounds_training_and_validation_and_shrinks_them_alike(
    make_config: MakeConfig,
) -> None:
    words = ("trainer.max_epochs=6", "trainer.val_hours=5", "data.sampling.windows_per_epoch=7200")
    whole, bounded, unbounded = (
        estimate(make_config(*words, *more), SPEED)
        for more in ([], ["trainer.budget_minutes=60"], ["trainer.budget_minutes=6000"])
    )
    assert bounded.train + bounded.validation == pytest.approx(1.0)
    assert bounded.train / bounded.validation == pytest.approx(whole.train / whole.validation)
    assert bounded.evaluation == whole.evaluation
    assert unbounded == whole


def test_evaluation_scores_dev_and_eval_and_the_baseline_likewise(make_config: MakeConfig) -> None:
    hours = estimate(make_config(), SPEED)
    assert hours.evaluation == pytest.approx(50 / 10 + 0.1 + 50 / 100)
    assert hours.total == hours.train + hours.validation + hours.evaluation


def test_evaluation_at_a_given_threshold_leaves_dev_out(make_config: MakeConfig) -> None:
    alone = dataclasses.replace(SPEED, baseline_fit_s=0.0, baseline_eeg_hours_per_s=None)
    config = make_config("postprocess.threshold=0.5", "evaluation.baseline=false")
    assert estimate(config, alone).evaluation == pytest.approx(30 / 10)


def test_planned_steps_are_those_that_a_run_takes(
    straight: RunFolder, make_config: MakeConfig
) -> None:
    assert num_steps(make_config()) == load_checkpoint(straight.last)["global_step"]


def test_last_batch_of_an_epoch_is_a_step_even_when_it_is_smaller(make_config: MakeConfig) -> None:
    config = make_config("trainer.max_epochs=2", "data.sampling.windows_per_epoch=25")
    assert num_steps(config) == 2 * 4  # batches of 8


@pytest.mark.parametrize(
    "override",
    [
        *("optimizer.lr=0.5", "seed=9", "trainer.max_epochs=100", "results=elsewhere"),
        *("data.sampling.windows_per_epoch=9", "run=other", "trainer.nonfinite=skip"),
    ],
)
def test_measurement_serves_runs_of_the_same_speed(
    make_config: MakeConfig, tmp_path: Path, override: str
) -> None:
    save_measurement(tmp_path, make_config(), "a machine", SPEED)
    assert find_measurement(tmp_path, make_config(override), "a machine") == SPEED


@pytest.mark.parametrize(
    "override",
    [
        *("model.rate_hz=32", "model.depth=3", "data.window_s=16", "data.batch_size=4"),
        *("trainer.precision=bf16-mixed", "trainer.ema_decay=0.9", "data.residency=disk"),
        *("data.limit=3", "data.preprocess.highpass_hz=1", "evaluation.overlap=0.75"),
        *("frontend.montage=average", "trainer.micro_batch=4", "trainer.compile=true"),
        *("trainer.val_hours=9", "data.staging=elsewhere", "postprocess.threshold=0.5"),
    ],
)
def test_measurement_does_not_serve_what_may_be_faster_or_slower(
    make_config: MakeConfig, tmp_path: Path, override: str
) -> None:
    save_measurement(tmp_path, make_config(), "a machine", SPEED)
    assert find_measurement(tmp_path, make_config(override), "a machine") is None


def test_measurement_is_of_one_machine(make_config: MakeConfig, tmp_path: Path) -> None:
    save_measurement(tmp_path, make_config(), "a machine", SPEED)
    assert find_measurement(tmp_path, make_config(), "another machine") is None


def test_newer_measurement_takes_the_place_of_the_older(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    newer = dataclasses.replace(SPEED, windows_per_s=2.0)
    for speed in (SPEED, newer):
        path = save_measurement(tmp_path, make_config(), "a machine", speed)
    assert find_measurement(tmp_path, make_config(), "a machine") == newer
    assert list(tmp_path.glob("*.json")) == [path]


def test_probe_measures_and_writes_nothing_into_the_results(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config("trainer.ema_decay=0.9")
    before = sorted(tmp_path.rglob("*"))
    speed = probe(config, 0.5)
    assert sorted(tmp_path.rglob("*")) == before
    assert 0 < speed.windows_per_s < 1e6
    assert 0 < speed.scored_eeg_hours_per_s < 1e4
    assert speed.baseline_fit_s > 0
    assert speed.baseline_eeg_hours_per_s is not None
    patient_h = 48 / 3600
    assert speed.windows_per_eeg_hour == pytest.approx(10 / patient_h)  # every 4 s
    assert speed.split_hours == pytest.approx(
        {"train": 4 * patient_h, "dev": 2 * patient_h, "eval": 2 * patient_h}
    )
    assert speed.versions["torch"] == torch.__version__
    assert speed.device.startswith("cpu")


def test_configuration_without_baseline_measures_none(make_config: MakeConfig) -> None:
    config = make_config("evaluation.baseline=false")
    speed = measure(config, build_data(config), seconds=0.1)
    assert (speed.baseline_fit_s, speed.baseline_eeg_hours_per_s) == (0.0, None)


def test_windows_of_the_warm_up_are_not_counted(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that moves one second a look: 8 windows a step, each of which looks at it once."""
    config = make_config("evaluation.baseline=false", "data.sampling.windows_per_epoch=800")
    data = build_data(config)
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(throughput, "time", clock)
    speed = measure(config, data, seconds=10)
    assert speed.windows_per_s == pytest.approx(8)


def test_measurement_of_a_diverging_model_says_so(make_config: MakeConfig) -> None:
    config = make_config("optimizer.lr=1e30", "optimizer.gradient_clip=0")
    with pytest.raises(RunError, match="not finite"):
        probe(config, 5)


def test_measurement_that_is_not_json_is_named(make_config: MakeConfig, tmp_path: Path) -> None:
    path = save_measurement(tmp_path, make_config(), "a machine", SPEED)
    path.write_text("{")
    with pytest.raises(RunError, match=path.name):
        find_measurement(tmp_path, make_config(), "a machine")
