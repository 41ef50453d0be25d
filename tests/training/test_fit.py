"""fit: what a run leaves behind, and that a killed run ends as if it had never been."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from run_once import train
from torch import Tensor

from bgb.config.schema import TrainConfig
from bgb.data.windows import WindowBatch
from bgb.detectors import Detector
from bgb.errors import RunError
from bgb.files import read_json
from bgb.training import load_run
from bgb.training.loggers import read_metrics
from bgb.training.module import SeizureModule
from bgb.training.run_folder import RunFolder, run_folder

MakeConfig = Callable[..., TrainConfig]


def weights(folder: RunFolder) -> dict[str, Tensor]:
    checkpoint = torch.load(folder.last, weights_only=True)
    found: dict[str, Tensor] = checkpoint["state_dict"]
    return found


def assert_same_end(first: RunFolder, second: RunFolder) -> None:
    ours, theirs = weights(first), weights(second)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different
    assert first.metrics.read_text() == second.metrics.read_text()


def disturb_step(
    monkeypatch: pytest.MonkeyPatch, step: int, disturbance: Callable[[], object]
) -> None:
    """Let something happen while optimiser step `step` (from 0) is computed."""
    training_step = SeizureModule.training_step

    def disturbed(module: SeizureModule, batch: WindowBatch, batch_idx: int) -> Tensor:
        if module.global_step == step:
            disturbance()
        return training_step(module, batch, batch_idx)

    monkeypatch.setattr(SeizureModule, "training_step", disturbed)


class KilledError(Exception):
    """Stands for SIGKILL: no checkpoint is written after it."""


def kill() -> None:
    raise KilledError


def test_run_folder_holds_what_the_design_promises(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config("logger=tensorboard")
    folder = train(config)
    found = {str(path.relative_to(folder.path)) for path in folder.path.rglob("*")}
    assert {"config.yaml", "provenance.json", "metrics.csv", "run.lock"} < found
    assert {"checkpoints/last.ckpt", "checkpoints/best.ckpt"} < found
    assert [name for name in found if name.startswith("tensorboard/events.out")]
    assert {path.name for path in tmp_path.iterdir()} == {folder.name}  # nothing lies about
    assert not list(folder.path.rglob("*.tmp"))


def test_metrics_have_every_step_and_epoch_once(straight: RunFolder) -> None:
    rows = read_metrics(straight.metrics)
    losses = [row["step"] for row in rows if row["metric"] == "train/loss"]
    epochs = [(row["step"], row["epoch"]) for row in rows if row["metric"] == "val/auroc"]
    assert losses == ["1", "2", "3", "4", "5", "6"]
    assert epochs == [("3", "0"), ("6", "1")]


def test_provenance_says_what_made_the_run(make_config: MakeConfig) -> None:
    record = read_json(train(make_config("seed=3")).provenance)
    assert record["corpus"]["train"]["num_patients"] == 4
    assert record["finished"] >= record["started"]
    assert record["sessions"][0]["versions"].keys() >= {"python", "torch", "bgb", "timescoring"}
    assert os.environ.get("USER", "nobody") not in record["sessions"][0]["device"]
    assert record["seeds"] == {"seed": 3, "data.split.seed": 0}


def test_checkpoint_holds_all_that_a_resume_needs(straight: RunFolder) -> None:
    checkpoint = torch.load(straight.last, weights_only=True)
    assert checkpoint["config"] == straight.config.read_text()
    assert checkpoint["loader"] == {"epoch": 1, "position": 3}
    assert checkpoint["global_step"] == 6
    assert checkpoint["callbacks"]["Checkpoints"]["random"]["cpu"].dtype == torch.uint8
    assert checkpoint["optimizer_states"] and checkpoint["lr_schedulers"]


def test_same_configuration_ends_in_the_same_weights(
    straight: RunFolder, make_config: MakeConfig
) -> None:
    name = "detector.network.head.weight"
    assert_same_end(straight, train(make_config()))
    assert not torch.equal(weights(straight)[name], weights(train(make_config("seed=1")))[name])


@pytest.mark.parametrize("step", [3, 4])
def test_run_killed_in_its_second_epoch_resumes_at_that_epoch(
    straight: RunFolder, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    # Lesson 66: the predecessor ran completed epochs again.
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        disturb_step(patch, step, kill)
        train(make_config("run=killed"))
    resumed = train(make_config("run=killed"))
    assert_same_end(straight, resumed)
    assert len(read_json(resumed.provenance)["sessions"]) == 2


def test_run_killed_within_an_epoch_resumes_at_its_last_checkpoint(
    straight: RunFolder, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lesson 67: the predecessor restarted such an epoch at its first batch.
    often = "trainer.checkpoint_minutes=0.000001"
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        disturb_step(patch, 5, kill)
        train(make_config("run=killed", often))
    at_kill = torch.load(run_folder(make_config("run=killed")).last, weights_only=True)
    assert at_kill["loader"] == {"epoch": 1, "position": 2}
    assert_same_end(straight, train(make_config("run=killed", often)))


@pytest.mark.parametrize("step", [1, 2, 4])
def test_sigterm_saves_stops_and_resumes_with_the_very_next_batch(
    straight: RunFolder, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="143"):
        disturb_step(patch, step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        train(make_config("run=stopped"))
    stopped = run_folder(make_config("run=stopped"))
    assert torch.load(stopped.last, weights_only=True)["global_step"] == step + 1
    assert read_json(stopped.provenance)["finished"] is None
    assert_same_end(straight, train(make_config("run=stopped")))


def test_averaged_weights_are_what_is_saved_and_they_resume(
    straight: RunFolder, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    average = train(make_config("run=average", "trainer.ema_decay=0.9"))
    averaged = torch.load(average.last, weights_only=True)
    name = "detector.network.head.weight"
    assert torch.equal(averaged["current_model_state"][name], weights(straight)[name])
    assert not torch.equal(averaged["state_dict"][name], weights(straight)[name])
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        disturb_step(patch, 4, kill)
        train(make_config("run=killed", "trainer.ema_decay=0.9"))
    assert_same_end(average, train(make_config("run=killed", "trainer.ema_decay=0.9")))


def test_averaged_weights_are_what_is_validated(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def spy(
        predict: object, detector: Detector, recordings: object, **_: object
    ) -> dict[str, float]:
        assert not detector.training
        seen.append(detector.state_dict()["network.head.weight"].clone())
        return {"val/auroc": 0.5}

    monkeypatch.setattr("bgb.training.fit.validate", spy)
    folder = train(make_config("trainer.ema_decay=0.9"))
    assert len(seen) == 2
    assert torch.equal(seen[-1], weights(folder)["detector.network.head.weight"])


def test_validation_is_skipped_between_but_never_at_the_end(make_config: MakeConfig) -> None:
    folder = train(make_config("trainer.max_epochs=5", "trainer.val_every_epochs=2"))
    rows = read_metrics(folder.metrics)
    assert [row["epoch"] for row in rows if row["metric"] == "val/auroc"] == ["1", "3", "4"]


def test_finished_run_is_left_alone(make_config: MakeConfig) -> None:
    folder = train(make_config())
    files = [path for path in folder.path.rglob("*") if path.is_file() and path != folder.lock]
    before = [path.stat().st_mtime_ns for path in files]
    assert train(make_config()) == folder
    assert [path.stat().st_mtime_ns for path in files] == before


def test_loss_that_is_not_finite_names_step_and_windows(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = SeizureModule.forward

    def broken(module: SeizureModule, tiles_BSCR: Tensor, present_BC: Tensor) -> Tensor:
        logits_BK = forward(module, tiles_BSCR, present_BC)
        if module.global_step == 1:
            logits_BK = logits_BK.masked_fill(torch.arange(8)[:, None] == 2, float("nan"))
        return logits_BK

    monkeypatch.setattr(SeizureModule, "forward", broken)
    with pytest.raises(RunError, match=r"loss is nan at step 1 \(epoch 0, batch 1\).*: \[10\] of"):
        train(make_config())


def test_loaded_run_has_its_best_weights_ready_for_use(
    straight: RunFolder, make_config: MakeConfig
) -> None:
    run = load_run(straight.path)
    detector = run.detector()
    best = torch.load(straight.best, weights_only=True)["state_dict"]
    results = str(straight.path.parent)
    assert run.config == replace(make_config(), results=results)
    assert run.scores is None
    assert not detector.training
    for name, value in detector.state_dict().items():
        assert torch.equal(value, best[f"detector.{name}"])


def test_folder_without_a_checkpoint_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no trained run: config.yaml is missing; .*bgb.train"):
        load_run(tmp_path)
