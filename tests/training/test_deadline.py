"""Deadline: what would not fit is not begun, and a stop within a validation loses nothing."""

import os
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from run_once import train

from bgb import job
from bgb.config.schema import TrainConfig
from bgb.data.windows import WindowBatch
from bgb.detectors import Detector
from bgb.errors import ConfigError
from bgb.files import read_json
from bgb.training import build
from bgb.training.deadline import Deadline
from bgb.training.orderly import ends_orderly
from bgb.training.run_folder import RunFolder, run_folder

MakeConfig = Callable[..., TrainConfig]


class RentedJob(job.Job):
    """A machine whose end is moved by the test."""

    left_s = 3600.0
    asked = 0

    @property
    def seconds_left(self) -> float:
        return self.left_s

    def stop_early(self) -> None:
        self.asked += 1
        super().stop_early()


@pytest.fixture
def rented() -> Iterator[RentedJob]:
    here, rented = job.current(), RentedJob()
    job.set_current(rented)
    yield rented
    job.set_current(here)


def disturb_validation(
    monkeypatch: pytest.MonkeyPatch, number: int, disturbance: Callable[[], object]
) -> list[int]:
    """Let something happen at batch `number` (from 0) that is scored; collect the batches."""
    predict, batches = build.predict, list[int]()

    def disturbed(detector: Detector, batch: WindowBatch) -> torch.Tensor:
        batches.append(len(batches))
        if batches[-1] == number:
            disturbance()
        return predict(detector, batch)

    monkeypatch.setattr(build, "predict", disturbed)
    return batches


def same_end(one: RunFolder, other: RunFolder) -> bool:
    ours, theirs = (torch.load(each.last, weights_only=True) for each in (one, other))
    weights = [
        torch.equal(ours["state_dict"][k], theirs["state_dict"][k]) for k in ours["state_dict"]
    ]
    return all(weights) and one.metrics.read_text() == other.metrics.read_text()


def test_sigterm_within_validation_stops_it_and_it_is_done_again(
    straight: RunFolder, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = "evaluation.batch_size=1"
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="143"):
        batches = disturb_validation(patch, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        train(make_config("run=stopped", small))
    assert len(batches) == 2  # and no further one
    stopped = run_folder(make_config("run=stopped", small))
    checkpoint = torch.load(stopped.last, weights_only=True)
    assert checkpoint["callbacks"]["Checkpoints"]["epoch_end_due"]
    assert not stopped.best.exists()
    assert same_end(straight, train(make_config("run=stopped", small)))


def test_first_ctrl_c_ends_with_a_checkpoint_and_130(
    straight: RunFolder, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="130"):
        disturb_validation(patch, 0, lambda: signal.raise_signal(signal.SIGINT))
        train(make_config("run=stopped"))
    assert "Ctrl-C again stops at once" in capfd.readouterr().err
    assert same_end(straight, train(make_config("run=stopped")))


def test_step_that_ctrl_c_breaks_is_no_failure(caplog: Any) -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # as Lightning's
    try:
        with pytest.raises(SystemExit, match="130"), ends_orderly(lambda: 7):
            signal.raise_signal(signal.SIGINT)
            raise RuntimeError("g++ was interrupted")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "stopped by SIGINT at step 7" in caplog.text
    assert "RuntimeError: g++ was interrupted" in caplog.text
    with pytest.raises(RuntimeError, match="of its own"), ends_orderly(lambda: 7):
        raise RuntimeError("of its own")


def test_second_ctrl_c_stops_at_once(
    straight: RunFolder, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press_twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        disturb_validation(patch, 0, press_twice)
        train(make_config("run=stopped"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert same_end(straight, train(make_config("run=stopped")))


def test_run_out_of_time_stops_after_a_step_and_goes_on(
    straight: RunFolder, make_config: MakeConfig, rented: RentedJob, caplog: Any
) -> None:
    rented.left_s = 4.0  # less than it takes to end
    with pytest.raises(SystemExit, match="143"):
        train(make_config("run=late"))
    late = run_folder(make_config("run=late"))
    assert torch.load(late.last, weights_only=True)["global_step"] == 1
    assert rented.asked == 1
    assert "another step and its checkpoint takes about" in caplog.text
    assert read_json(late.provenance)["finished"] is None
    rented.left_s = 3600.0
    assert same_end(straight, train(make_config("run=late")))


def test_hours_of_the_configuration_end_a_session(make_config: MakeConfig) -> None:
    with pytest.raises(SystemExit, match="143"):
        train(make_config("run=short", "trainer.max_hours=0.0001"))
    assert run_folder(make_config("run=short")).last.exists()
    with pytest.raises(ConfigError, match=r"trainer\.max_hours"):
        make_config("trainer.max_hours=0")


def trainer(*, received_sigterm: bool = False) -> Any:  # Any: what a Deadline looks at
    return SimpleNamespace(received_sigterm=received_sigterm, checkpoint_callbacks=[])


def test_validation_that_took_longer_than_is_left_is_not_begun(
    rented: RentedJob, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    now, left = [0.0], [1000.0]
    before = Deadline(lambda: left[0], clock=lambda: now[0])
    with before.validation(trainer()):
        now[0] = 100.0
    after = Deadline(lambda: left[0], clock=lambda: now[0])
    after.load_state_dict(before.state_dict())  # known from the session before
    left[0] = 131.0
    with after.validation(trainer()):
        now[0] = 110.0
    left[0] = 90.0  # the slow one is not forgotten at once
    monkeypatch.setattr(signal, "raise_signal", lambda _: None)  # nobody listens here
    with pytest.raises(SIGTERMException), after.validation(trainer()):
        pytest.fail("it was begun")
    assert rented.asked == 1
    assert "the validation takes about 90 s and would not fit into the 90 s left" in caplog.text


def test_validation_that_takes_longer_than_is_left_is_ended(
    rented: RentedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [1000.0]
    deadline = Deadline(lambda: left[0])
    monkeypatch.setattr(signal, "raise_signal", lambda _: None)
    deadline.stop_if_over(trainer())
    left[0] = 4.0
    with pytest.raises(SIGTERMException):
        deadline.stop_if_over(trainer())
    assert rented.asked == 1


def test_longer_validation_is_predicted_from_a_shorter_one(
    rented: RentedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    deadline = Deadline(lambda: 500.0, clock=lambda: now[0])
    with deadline.validation(trainer(), 10):
        now[0] = 20.0
    monkeypatch.setattr(signal, "raise_signal", lambda _: None)
    with deadline.validation(trainer(), 190):  # 380 s
        now[0] += 380.0
    with pytest.raises(SIGTERMException), deadline.validation(trainer(), 200):  # 400 s
        pytest.fail("it was begun")


def test_validation_is_not_begun_once_a_stop_was_asked_for() -> None:
    with pytest.raises(SIGTERMException), Deadline().validation(trainer(received_sigterm=True)):
        pytest.fail("it was begun")
