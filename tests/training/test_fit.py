"""fit: what a run leaves behind, and that a killed run ends as if it had never been."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from run_once import train
from torch import Tensor

from bgb import startup
from bgb.config.schema import TrainConfig
from bgb.data.windows import WindowBatch
from bgb.detectors import Detector
from bgb.detectors.eegnet import EegNet
from bgb.errors import RunError
from bgb.files import read_json
from bgb.training import load_run, step
from bgb.training.loggers import read_metrics
from bgb.training.module import SeizureModule
from bgb.training.replay import replay
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


def assert_close_end(first: RunFolder, second: RunFolder) -> None:
    ours, theirs = weights(first), weights(second)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def disturb_step(
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    disturbance: Callable[[], object],
    *,
    count_skipped: bool = False,
) -> None:
    """Let something happen while optimiser step `number` (from 0) is computed."""
    training_step = SeizureModule.training_step

    def disturbed(module: SeizureModule, batch: WindowBatch, batch_idx: int) -> object:
        if module.global_step + count_skipped * module.num_skipped == number:
            disturbance()
        return training_step(module, batch, batch_idx)

    monkeypatch.setattr(SeizureModule, "training_step", disturbed)


def break_samples(monkeypatch: pytest.MonkeyPatch, *samples: int, at_input: bool = False) -> None:
    """Give or return NaN for these windows of the run, whenever the network trains on them.

    At the input it reaches the running means, and through them every later batch.
    """
    pieces, network_forward = step.pieces, EegNet.forward
    seen: list[WindowBatch] = []

    def spied(batch: WindowBatch, size: int) -> Iterator[WindowBatch]:
        for piece in pieces(batch, size):
            seen[:] = [piece]
            yield piece

    def broken(network: EegNet, signal_BCT: Tensor) -> Tensor:
        if not network.training:
            return network_forward(network, signal_BCT)
        is_broken_B = torch.isin(seen[0].sample_B, torch.tensor(samples))
        factor_B = torch.where(is_broken_B, float("nan"), 1.0)
        if at_input:
            return network_forward(network, signal_BCT * factor_B[:, None, None])
        return network_forward(network, signal_BCT) * factor_B[:, None]

    monkeypatch.setattr(step, "pieces", spied)
    monkeypatch.setattr(EegNet, "forward", broken)


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


def test_first_step_says_once_what_the_start_took(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    startup.begin()
    with caplog.at_level("INFO"):
        train(make_config())
    said = [line for line in caplog.messages if line.startswith("first step")]
    assert len(said) == 1
    parts = [part.strip(" .0123456789") for part in said[0].rpartition("): ")[2].split(",")]
    assert parts == ["detector and trainer", "first batch", "first step"]


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
    monkeypatch.setattr("bgb.training.checkpoint.LARGEST_SHARE", 1e9)  # whatever it costs
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

    monkeypatch.setattr("bgb.training.build.validate", spy)
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
    break_samples(monkeypatch, 10)
    with pytest.raises(RunError, match=r"loss is nan at step 1 \(epoch 0, batch 1\).*: \[10\] of"):
        train(make_config())


def test_step_that_is_not_finite_is_kept_and_replayed(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("run=broken", "trainer.checkpoint_minutes=0.000001")
    with (
        monkeypatch.context() as patch,
        pytest.raises(RunError, match=r"first not finite: output of network; .* kept in .*/step-1"),
    ):
        break_samples(patch, 10)
        train(config)
    folder = run_folder(config)
    (kept,) = (folder.path / "failures").iterdir()
    assert kept.name == "step-1.pt"
    reproducer = torch.load(kept, weights_only=True)
    before = weights(folder)  # the checkpoint after step 0
    for name, value in reproducer["state_dict"].items():
        assert torch.equal(value, before[f"detector.{name}"]), name
    assert replay(kept).tensor == "nothing, computed again"  # the network is sound by now
    break_samples(monkeypatch, 10)
    found = replay(kept)
    assert (found.tensor, found.samples) == ("output of network", (10,))
    assert "network.head.weight" in found.gradients


@pytest.mark.slow
def test_batches_that_are_not_finite_are_left_out_and_a_resumed_run_leaves_out_the_same(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_samples(monkeypatch, 10, 35, at_input=True)  # in the second batch of either epoch
    often = "trainer.checkpoint_minutes=0.000001"
    overrides = ("trainer.nonfinite=skip", "trainer.ema_decay=0.9", often)
    whole = train(make_config("run=whole", *overrides))
    rows = read_metrics(whole.metrics)
    assert [row["step"] for row in rows if row["metric"] == "train/loss"] == ["1", "2", "3", "4"]
    assert all(value.isfinite().all() for value in weights(whole).values())
    last = torch.load(whole.last, weights_only=True)
    assert last["num_skipped"] == 2
    assert last["global_step"] == last["lr_schedulers"][0]["last_epoch"] == 4
    assert last["loader"] == {"epoch": 1, "position": 3}
    assert "batch left out (2 of 10): loss is nan at step 3 (epoch 1, batch 1)" in caplog.text
    names = sorted(path.name for path in (whole.path / "failures").iterdir())
    assert names == ["step-1.pt", "step-4.pt"]
    for batch in (1, 2, 4):  # while it is left out, just after, and in the next epoch
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            disturb_step(patch, batch, kill, count_skipped=True)
            train(make_config(f"run=killed{batch}", *overrides))
        resumed = train(make_config(f"run=killed{batch}", *overrides))
        assert_same_end(whole, resumed)
        assert torch.load(resumed.last, weights_only=True)["num_skipped"] == 2


def test_run_that_stopped_goes_on_when_it_may_leave_the_batch_out(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_samples(monkeypatch, 10)
    with pytest.raises(RunError, match=r"repeat the command with trainer\.nonfinite=skip"):
        train(make_config())
    continued = train(make_config("trainer.nonfinite=skip"))
    assert torch.load(continued.last, weights_only=True)["num_skipped"] == 1
    assert read_json(continued.provenance)["batches_left_out"] == 1
    assert_same_end(continued, train(make_config("trainer.nonfinite=skip", "run=straight")))


def test_no_more_batches_are_left_out_than_the_budget_allows(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_samples(monkeypatch, 10, 35)
    with pytest.raises(
        RunError, match=r"at step 3 .*; 1 batches were left out .* trainer.nonfinite_budget=1 "
    ):
        train(make_config("trainer.nonfinite=skip", "trainer.nonfinite_budget=1"))


def test_checkpoint_of_an_earlier_version_is_not_gone_on_with(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        disturb_step(patch, 3, kill)
        train(make_config())
    last = run_folder(make_config()).last
    checkpoint = torch.load(last, weights_only=True)
    del checkpoint["num_skipped"]
    torch.save(checkpoint, last)
    with pytest.raises(RunError, match="earlier version of bgb"):
        train(make_config())


@pytest.mark.slow
def test_compiled_detector_is_one_graph_and_ends_where_the_plain_one_does(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 20 windows in batches of 8: the last is smaller and must compile nothing. `aot_eager` traces
    # like the default backend, and spares a minute of C++.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    overrides = ("data.sampling.windows_per_epoch=20", "trainer.ema_decay=0.5")
    plain = train(make_config(*overrides))
    counters = torch._dynamo.utils.counters
    counters.clear()
    compiled = train(make_config(*overrides, "trainer.compile=true"))
    assert counters["stats"]["unique_graphs"] == 1
    assert compiled.name != plain.name  # other kernels, other bits: another run
    assert_close_end(compiled, plain)


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


def test_threads_of_an_earlier_run_are_not_kept(make_config: MakeConfig) -> None:
    train(make_config("run=first", "trainer.max_epochs=1"))
    all_threads = torch.get_num_threads()
    train(make_config("run=narrow", "trainer.max_epochs=1", f"trainer.threads={all_threads + 1}"))
    assert torch.get_num_threads() == all_threads + 1
    train(make_config("run=wide", "trainer.max_epochs=1"))
    assert torch.get_num_threads() == all_threads


def test_deterministic_algorithms_are_on_where_asked_for(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    disturb_step(monkeypatch, 0, lambda: seen.append(torch.are_deterministic_algorithms_enabled()))
    train(make_config("run=exact", "trainer.max_epochs=1", "trainer.deterministic=true"))
    train(make_config("run=fast", "trainer.max_epochs=1"))
    assert seen == [True, False]
