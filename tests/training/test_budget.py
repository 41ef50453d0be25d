"""Budget: training ends as finished when its time is spent, in whichever session that is."""

import math
import os
import signal
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from run_once import train

from bgb.config.schema import TrainConfig
from bgb.data.windows import WindowBatch
from bgb.detectors import Detector
from bgb.errors import ConfigError
from bgb.files import read_json
from bgb.training import build, fit
from bgb.training.budget import Budget
from bgb.training.checkpoint import EPOCH_END_DUE, Checkpoints, load_checkpoint
from bgb.training.loggers import read_metrics
from bgb.training.module import Schedule
from bgb.training.run_folder import RunFolder, run_folder

MakeConfig = Callable[..., TrainConfig]
SECONDS = 13
# A step looks at the clock twice, an epoch has three steps.
SHORT = ("trainer.max_epochs=40", f"trainer.budget_minutes={SECONDS / 60}")


class Clock:
    """Seconds that go on by one whenever they are asked for."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock of all sessions."""
    clock = Clock()
    monkeypatch.setattr(fit, "Budget", partial(Budget, clock=clock))
    return clock


def state(folder: RunFolder, callback: type) -> dict[str, float]:
    values: dict[str, float] = load_checkpoint(folder.last)["callbacks"][callback.__qualname__]
    return values


def rows(folder: RunFolder, metric: str) -> list[tuple[int, float]]:
    found = [row for row in read_metrics(folder.metrics) if row["metric"] == metric]
    return [(int(row["step"]), float(row["value"])) for row in found]


def test_budget_is_over_when_all_sessions_together_have_spent_it() -> None:
    now, trainer = [100.0], SimpleNamespace(should_stop=False, global_step=7)
    first, second = (Budget(60, clock=lambda: now[0]) for _ in range(2))
    first.on_train_start(trainer, None)
    now[0] += 300  # the first step
    first.on_train_batch_end(trainer, None, None, None, 0)
    assert first.share() == 0
    now[0] += 45
    first.look(trainer)
    assert not first.is_over
    assert first.share() == 0.75
    second.load_state_dict(first.state_dict())
    now[0] += 1000  # between the sessions
    assert second.share() == 0.75
    second.on_train_start(trainer, None)
    now[0] += 300
    second.on_train_batch_end(trainer, None, None, None, 0)
    assert not trainer.should_stop
    now[0] += 15
    second.look(trainer)
    assert second.is_over
    assert trainer.should_stop
    assert second.share() == 1


def test_without_budget_nothing_is_ever_spent() -> None:
    budget = Budget()
    budget.on_train_start(SimpleNamespace(should_stop=False), None)
    assert budget.share() == 0
    assert not budget.is_over


def test_rate_without_budget_is_that_of_the_step_to_the_last_bit() -> None:
    schedule, share = Schedule(0.05, 0.01), Budget().share()
    for step in range(5, 100):
        cosine = (1 + math.cos(math.pi * min(1.0, (step - 5) / (100 - 1 - 5)))) / 2
        assert schedule.factor(step, 100, time_share=share) == 0.01 + (1 - 0.01) * cosine
    assert [schedule.factor(step, 100, time_share=share) for step in range(5)] == [
        (step + 1) / 6 for step in range(5)
    ]


def test_rate_follows_what_ends_first() -> None:
    schedule = Schedule(0.05, 0.01)
    assert schedule.factor(3, 101, time_share=0.5) == schedule.factor(50, 101)
    assert schedule.factor(60, 100, time_share=0.5) == schedule.factor(60, 100)
    assert schedule.factor(3, 100, time_share=1.0) == pytest.approx(0.01)


@pytest.mark.usefixtures("ticking")
def test_run_ends_when_its_budget_is_spent_with_a_validation(make_config: MakeConfig) -> None:
    folder = train(make_config("run=short", "trainer.val_every_epochs=9", *SHORT))
    record, last = read_json(folder.provenance), load_checkpoint(folder.last)
    assert record["stopped"] == "budget"
    assert record["finished"]
    assert record["steps"] == last["global_step"]
    assert 0 < last["global_step"] < 40 * 3
    assert last["global_step"] % 3  # in the midst of an epoch
    (validated,) = rows(folder, "val/auroc")
    assert validated[0] == last["global_step"]
    assert state(folder, Checkpoints)["best_step"] == last["global_step"]
    rates = dict(rows(folder, "train/lr"))
    assert rates[last["global_step"]] < 0.5 * max(rates.values())  # by steps it would warm up


@pytest.mark.usefixtures("ticking")
def test_run_killed_in_its_last_validation_validates_and_takes_no_other_step(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, config = build.predict, make_config("run=killed", "trainer.val_every_epochs=9", *SHORT)

    def killed(detector: Detector, batch: WindowBatch) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return predict(detector, batch)

    monkeypatch.setattr(build, "predict", killed)
    with pytest.raises(SystemExit):
        train(config)
    folder = run_folder(config)
    steps = load_checkpoint(folder.last)["global_step"]
    assert state(folder, Checkpoints)[EPOCH_END_DUE]
    assert read_json(folder.provenance)["finished"] is None
    monkeypatch.setattr(build, "predict", predict)
    train(config)
    assert read_json(folder.provenance)["stopped"] == "budget"
    assert load_checkpoint(folder.last)["global_step"] == steps
    assert [step for step, _ in rows(folder, "val/auroc")] == [steps]


def test_validation_that_spends_the_rest_is_the_last(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, ticking: Clock
) -> None:
    predict = build.predict

    def slow(detector: Detector, batch: WindowBatch) -> torch.Tensor:
        ticking.now += 100
        return predict(detector, batch)

    monkeypatch.setattr(build, "predict", slow)
    folder = train(make_config("run=last", "trainer.max_epochs=9", "trainer.budget_minutes=1"))
    assert load_checkpoint(folder.last)["global_step"] == 3
    assert len(rows(folder, "val/auroc")) == 1
    assert read_json(folder.provenance)["stopped"] == "budget"


def test_budget_of_several_processes_is_refused(make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.budget_minutes=2\.0 is for one device"):
        make_config("trainer.budget_minutes=2", "trainer.devices=2")
