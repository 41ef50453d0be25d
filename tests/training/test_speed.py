"""Speed: what it counts, what it leaves out, and that nothing of it enters metrics.csv."""

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from run_once import train
from torch.utils.flop_counter import FlopCounterMode

from bgb.config.model import (
    DeepSozConfig,
    EegNetConfig,
    EventNetUnetConfig,
    FrontendConfig,
    ModelConfig,
)
from bgb.config.schema import TrainConfig
from bgb.detectors import Detector, build_detector
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import SignalSpec
from bgb.files import read_json
from bgb.training.flops import flops_per_window, peak_flops
from bgb.training.loggers import read_metrics
from bgb.training.module import SeizureModule
from bgb.training.run_folder import RunFolder, run_folder
from bgb.training.speed import Machine, Speed

MakeConfig = Callable[..., TrainConfig]
CPU = torch.device("cpu")
GPU_LIKE = Machine("NVIDIA L4", CPU, 2, 1e12)


class Loader:
    """Ten batches of 4 windows, the last of 2."""

    waited_s = 0.0

    def num_windows(self, position: int) -> int:
        return 4 if position < 9 else 2


class Logger:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.rows.append((step, metrics))


def play(speed: Speed, clock: list[float], logger: Logger, *, num_steps: int = 10) -> None:
    """Take steps of 2 s of which half a second is waited, then validate for 6 s."""
    trainer: Any = SimpleNamespace(global_step=0, loggers=[logger])
    module: Any = None
    speed.on_train_start(trainer, module)
    clock[0] += 100  # whatever comes before the first epoch
    speed.on_train_epoch_start(trainer, module)
    for batch_idx in range(num_steps):
        clock[0] += 2
        speed.loader.waited_s += 0.5
        trainer.global_step += 1
        speed.on_train_batch_end(trainer, module, {}, None, batch_idx)
    clock[0] += 6
    speed.on_train_epoch_end(trainer, module)
    speed.on_train_end(trainer, module)


def make_speed(path: Path, clock: list[float], machine: Machine, **options: Any) -> Speed:
    loader: Any = Loader()
    sizes = {"window_s": 60, "flops_per_window": 10**9, "every_steps": 5}
    return Speed(path, loader, machine, clock=lambda: clock[0], **{**sizes, **options})


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_first_steps_are_left_out_and_the_rest_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    clock, logger, seen = [0.0], Logger(), dict[str, float]()
    path = tmp_path / "speed.csv"
    play(make_speed(path, clock, GPU_LIKE, summarised=seen.update), clock, logger)
    first, second = rows_of(path)
    assert (first["step"], first["windows_per_s"], first["step_ms"]) == ("5", "2", "2000")
    assert (second["step"], second["windows_per_s"]) == ("10", "1.8")  # the last batch is smaller
    assert second["data_wait"] == "0.25"
    assert second["eeg_hours_per_s"] == "0.03"
    assert float(second["mfu"]) == pytest.approx(1.8e9 / 2e12)
    assert logger.rows[0][0] == 5
    assert logger.rows[0][1]["speed/windows_per_s"] == 2
    assert seen["windows_per_s"] == pytest.approx(26 / 14, rel=1e-3)
    assert seen["validation_share"] == pytest.approx(6 / 20, rel=1e-3)
    assert "speed: 1.86 windows/s (0.031 h of EEG/s) on 2 x NVIDIA L4; 2e+03 ms" in caplog.text
    assert (
        "25.0% waiting for data; MFU 0.1% of 1 TFLOP/s; validation 30.0% of the training"
        in caplog.text
    )


def test_session_of_a_few_steps_says_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    clock, seen = [0.0], dict[str, float]()
    speed = make_speed(tmp_path / "speed.csv", clock, GPU_LIKE, summarised=seen.update)
    play(speed, clock, Logger(), num_steps=3)
    assert not seen and "speed" not in caplog.text and not (tmp_path / "speed.csv").exists()


def test_device_without_a_known_peak_has_no_mfu_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    clock, seen = [0.0], dict[str, float]()
    machine = Machine("cpu, 2 threads", CPU, 1, None)
    play(make_speed(tmp_path / "s.csv", clock, machine, summarised=seen.update), clock, Logger())
    assert "mfu" not in seen
    assert "no MFU: the peak of this device is not known" in caplog.text


def test_run_tells_its_speed_everywhere_but_in_metrics_csv(straight: RunFolder) -> None:
    assert [row["step"] for row in rows_of(straight.speed)] == ["4", "5", "6"]
    figures = read_json(straight.provenance)["speed"]
    assert figures.keys() == {
        *("windows_per_s", "eeg_hours_per_s", "step_ms", "data_wait", "validation_share"),
    }
    assert figures["windows_per_s"] > 0
    assert 0 <= figures["data_wait"] < 1
    assert not [row for row in read_metrics(straight.metrics) if "speed" in row["metric"]]


def test_run_that_is_stopped_tells_its_speed_and_goes_on_in_the_same_table(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    training_step = SeizureModule.training_step

    def stopped(module: SeizureModule, batch: Any, batch_idx: int) -> Any:
        if module.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return training_step(module, batch, batch_idx)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(SeizureModule, "training_step", stopped)
        train(make_config("trainer.max_epochs=3"))
    folder = run_folder(make_config("trainer.max_epochs=3"))
    assert read_json(folder.provenance)["speed"]["windows_per_s"] > 0
    train(make_config("trainer.max_epochs=3"))
    # Three steps of each session are not counted.
    assert [row["step"] for row in rows_of(folder.speed)] == ["4", "8", "9"]


MODELS: tuple[tuple[ModelConfig, int], ...] = (
    (EegNetConfig(rate_hz=64, dropout=0.5), 12),
    (EventNetUnetConfig(rate_hz=128, base_channels=4), 24),
)


def detector_of(model: ModelConfig, window_s: int) -> Detector:
    signal_spec = SignalSpec("electrodes", ELECTRODES, 128)
    return build_detector(model, FrontendConfig(), signal_spec, window_s=window_s)


@pytest.mark.parametrize(("model", "window_s"), MODELS)
def test_operations_are_those_of_the_network_and_nothing_is_computed(
    model: ModelConfig, window_s: int
) -> None:
    detector = detector_of(model, window_s)
    state = {name: value.clone() for name, value in detector.state_dict().items()}
    random = torch.get_rng_state()
    counted = flops_per_window(detector)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[name]) for name, value in detector.state_dict().items())
    assert all(parameter.grad is None for parameter in detector.parameters())
    batch_BCT = torch.randn(3, detector.frontend.num_channels, window_s * detector.rate_hz)
    with FlopCounterMode(display=False) as counter:
        detector.eval().network(batch_BCT)
    assert 3 * counted == 3 * counter.get_total_flops()  # 3 windows; forward and twice backward


def test_operations_of_an_lstm_are_those_of_its_steps_one_by_one() -> None:
    detector = detector_of(DeepSozConfig(rate_hz=64, feedforward_width=16, lstm_width=8), 7)
    counted = flops_per_window(detector)
    with FlopCounterMode(display=False) as counter:  # without numbers torch unrolls it
        detector.network.to("meta")(torch.empty(1, 18, 7 * 64, device="meta"))
    assert counted == 3 * counter.get_total_flops()


def test_operations_of_a_convolution_are_as_by_hand() -> None:
    detector = detector_of(EventNetUnetConfig(rate_hz=64, base_channels=8), 60)
    samples = 60 * 64
    first = 2 * samples * 18 * 8 * 9  # multiply and add: 18 channels to 8, kernel 9
    assert 3 * first < flops_per_window(detector) < 60 * first


@pytest.mark.parametrize(
    ("name", "precision", "tera"),
    [
        ("NVIDIA A100-SXM4-80GB", "bf16-mixed", 312),
        ("NVIDIA A100 80GB PCIe", "32-true", 156),
        ("NVIDIA H100 80GB HBM3", "bf16-mixed", 989.4),
        ("NVIDIA H100 PCIe", "bf16-mixed", 756),
        ("NVIDIA H200", "32-true", 494.7),
        ("NVIDIA L4", "bf16-mixed", 121),
        ("NVIDIA L40S", "bf16-mixed", 362),
        ("Tesla T4", "32-true", 8.1),
    ],
)
def test_peak_is_found_by_the_name_of_the_device(name: str, precision: str, tera: float) -> None:
    assert peak_flops(name, precision) == pytest.approx(1e12 * tera)


@pytest.mark.parametrize(
    "name", ["cpu, 2 threads", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA A10G", "AMD MI300X"]
)
def test_peak_of_another_device_is_not_guessed(name: str) -> None:
    assert peak_flops(name, "bf16-mixed") is None
    assert peak_flops("Tesla T4", "bf16-mixed") is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_run_on_a_gpu_tells_memory_and_mfu(make_config: MakeConfig) -> None:
    folder = train(make_config("trainer.accelerator=gpu", "trainer.precision=bf16-mixed"))
    figures = read_json(folder.provenance)["speed"]
    assert 0 < figures["gpu_memory_gib"] < 10
    if peak_flops(torch.cuda.get_device_name(), "bf16-mixed"):
        assert 0 < figures["mfu"] < 1
