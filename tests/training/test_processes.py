"""Several processes: they end as one does, resume as any number, and none outlives the others."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from run_once import small_words, train

from bgb.config.compose import compose
from bgb.config.schema import TrainConfig
from bgb.errors import ConfigError, RunError
from bgb.training.build import build_data, check_machine
from bgb.training.collectives import SharedBatchNorm, check_compiled
from bgb.training.loggers import read_metrics
from bgb.training.module import SeizureModule
from bgb.training.processes import Order, check_devices
from bgb.training.run_folder import RunFolder, run_folder
from bgb.training.throughput import measure

MakeConfig = Callable[..., TrainConfig]
# The third batch holds one window, of which the first of two processes gets nothing. EEGNet would
# not do: the norm after its first cancels the bias of that, Adam takes the rounding for a gradient.
SMALL = (
    *("data.sampling.windows_per_epoch=17", "data.window_s=20", "trainer.threads=1"),
    *("model=eventnet_unet", "model.rate_hz=128", "model.base_channels=2"),
    *("trainer.ema_decay=0.9", "augment=standard", "loss.boundary_s=4"),
)
TWO = (*SMALL, "trainer.devices=2")


def assert_close_ends(first: RunFolder, second: RunFolder) -> None:
    """Compare weights, batch norm statistics, optimiser and metrics, within rounding."""
    ours, theirs = (torch.load(each.last, weights_only=True) for each in (first, second))
    assert ours["global_step"] == theirs["global_step"] == 6
    assert ours["loader"] == theirs["loader"]
    for part in ("state_dict", "current_model_state", "optimizer_states"):
        torch.testing.assert_close(ours[part], theirs[part], rtol=1e-3, atol=2e-5)
    rows, others = read_metrics(first.metrics), read_metrics(second.metrics)
    assert [row["metric"] for row in rows] == [row["metric"] for row in others]
    values, others_ = ([float(row["value"]) for row in each] for each in (rows, others))
    assert values == pytest.approx(others_, rel=1e-4, abs=1e-6)


def follower_pids(leader: int = os.getpid()) -> list[int]:
    """Return the processes that a leader has started to train with."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue  # it has just ended
        if b"bgb.training.follower" in words and int(parent) == leader:
            found.append(int(folder.name))
    return found


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, happens: Callable[[], object]) -> None:
    training_step = SeizureModule.training_step

    def disturbed(module: SeizureModule, batch: object, batch_idx: int) -> object:
        if module.global_step == step:
            happens()
        return training_step(module, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(SeizureModule, "training_step", disturbed)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "waited for a minute"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def alone(eeg_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return the run of one process; not to be changed."""
    config = compose("train", [*small_words(eeg_folder, tmp_path_factory.mktemp("alone")), *SMALL])
    return train(config)


@pytest.mark.slow
def test_two_processes_end_as_one_does(alone: RunFolder, make_config: MakeConfig) -> None:
    assert_close_ends(alone, train(make_config(*TWO)))
    assert follower_pids() == []


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices here")
def test_two_gpus_end_as_one_does(make_config: MakeConfig) -> None:
    one = train(make_config(*SMALL, "trainer.accelerator=gpu", "run=one"))
    assert_close_ends(one, train(make_config(*TWO, "trainer.accelerator=gpu", "run=two")))


@pytest.mark.slow
def test_run_of_two_processes_stopped_by_sigterm_goes_on_with_one(
    alone: RunFolder, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="143"):
        at_step(patch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        train(make_config(*TWO))
    assert follower_pids() == []
    stopped = run_folder(make_config(*SMALL))
    assert torch.load(stopped.last, weights_only=True)["global_step"] == 5
    assert_close_ends(alone, train(make_config(*SMALL)))


@pytest.mark.slow
def test_run_of_one_process_killed_before_its_validation_goes_on_with_two(
    alone: RunFolder, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="143"):
        at_step(patch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))  # the epoch's last
        train(make_config(*SMALL))
    assert_close_ends(alone, train(make_config(*TWO)))


@pytest.mark.slow
def test_run_of_two_processes_that_was_stopped_ends_bit_for_bit_the_same(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = ("trainer.devices=2", "model.dropout=0.5")
    straight = train(make_config(*drawing, "run=straight"))
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="143"):
        at_step(patch, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        train(make_config(*drawing, "run=stopped"))
    stopped = train(make_config(*drawing, "run=stopped"))
    ours, theirs = (torch.load(each.last, weights_only=True) for each in (straight, stopped))
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(ours[part], theirs[part], rtol=0, atol=0)
    assert straight.metrics.read_text() == stopped.metrics.read_text()


@pytest.mark.slow
def test_process_that_dies_ends_the_others_by_name(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, 2, lambda: os.kill(follower_pids()[0], signal.SIGKILL))
    with pytest.raises(RunError, match=r"process 1 of 2 \(trainer.devices\) has ended .* -9"):
        train(make_config(*TWO))
    assert follower_pids() == []


@pytest.mark.slow
def test_all_processes_stop_at_a_step_that_is_not_finite_and_say_what_they_found(
    make_config: MakeConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunError, match=r"at step 1 .* first not finite: "):
        train(make_config(*TWO, "optimizer.lr=1e30"))
    assert "process 1: CRITICAL RunError: " in capfd.readouterr().err
    assert follower_pids() == []


@pytest.mark.slow
def test_process_that_cannot_start_says_why(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from bgb.training import fit

    started = fit.followers

    def lose_the_cache(config: TrainConfig, *arguments: object, **options: object) -> object:
        for path in Path(config.data.cache_root).rglob("snapshots"):
            path.rename(path.with_name("elsewhere"))
        return started(config, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(fit, "followers", lose_the_cache)
    config = make_config(*TWO)
    try:
        with pytest.raises(RunError, match=r"process 1 of 2 .* status 2: .* stands above"):
            train(config)
    finally:
        for path in Path(config.data.cache_root).rglob("elsewhere"):
            path.rename(path.with_name("snapshots"))
    assert "process 1: CRITICAL CacheError: data.check_source=false, but" in capfd.readouterr().err


@pytest.mark.slow
def test_command_line_starts_processes_that_end_with_it_when_it_is_killed(
    eeg_folder: Path, tmp_path: Path
) -> None:
    words = [*small_words(eeg_folder, tmp_path), *TWO, "trainer.max_epochs=500", "run=killed"]
    command = [sys.executable, "-m", "bgb.train", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as leader:
        wait_for(lambda: len(read_metrics(tmp_path / "killed" / "metrics.csv")) > 10)
        (follower,) = follower_pids(leader.pid)
        leader.kill()
    wait_for(lambda: not Path(f"/proc/{follower}").exists())


@pytest.mark.parametrize("affine", [True, False])
def test_norm_over_processes_is_a_batch_norm(affine: bool) -> None:
    torch.manual_seed(0)
    features_BDT = 3 + 5 * torch.randn(4, 3, 10)
    results = []
    for make in (lambda norm: norm, SharedBatchNorm.like):
        torch.manual_seed(1)
        norm = make(torch.nn.BatchNorm1d(3, affine=affine))
        if affine:
            torch.nn.init.normal_(norm.weight)
        inputs = features_BDT.clone().requires_grad_()
        for _ in range(2):
            (norm(inputs) * features_BDT.cos()).sum().backward()
        gradients = [inputs.grad, *(each.grad for each in norm.parameters())]
        results.append((norm.state_dict(), gradients, norm.eval()(features_BDT)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)


def test_more_devices_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_devices("cpu", 64)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_devices("gpu", 1)
    with pytest.raises(
        ConfigError,
        match=r"trainer.devices=2, but this machine has 1 CUDA devices; set trainer.devices=1, or",
    ):
        check_devices("auto", 2)


def test_missing_package_is_refused_before_anything_is_made(make_config: MakeConfig) -> None:
    check_machine(make_config())
    config = make_config("model=mamba_unet_small", "model.kernel=mamba_ssm")
    with pytest.raises(ConfigError, match=r"model.kernel=mamba_ssm needs the package mamba_ssm"):
        check_machine(config)
    assert not list(Path(config.results).iterdir())


def test_compiled_detector_may_not_exchange_statistics_in_its_midst() -> None:
    detector = torch.nn.Sequential(torch.nn.Conv1d(2, 2, 1), torch.nn.BatchNorm1d(2))
    check_compiled(detector, 2, compiled=False, batch_size=3)
    with pytest.raises(ConfigError, match=r"statistics of 1 \(BatchNorm1d\) .*compile=false"):
        check_compiled(detector, 2, compiled=True, batch_size=4)
    with pytest.raises(ConfigError, match=r"batch_size=3 is no multiple of trainer.devices=2"):
        check_compiled(torch.nn.Identity(), 2, compiled=True, batch_size=3)


@pytest.mark.parametrize("checkpoint", [None, Path("runs/x/checkpoints/last.ckpt")])
def test_order_reaches_the_follower_as_it_was_given(
    make_config: MakeConfig, checkpoint: Path | None
) -> None:
    config = make_config(*TWO, "data.exclude=[a,b]")
    order = Order(config, 1, 4711, checkpoint)
    line = order.to_line()
    assert line.count(b"\n") == 1
    assert Order.from_line(line) == order


def test_measurement_of_several_devices_is_refused(make_config: MakeConfig) -> None:
    config = make_config("trainer.devices=2")
    with pytest.raises(ConfigError, match=r"trainer.devices=2: a measurement is of one device"):
        measure(config, build_data(config), seconds=1)
