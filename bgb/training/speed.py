"""Speed: how fast a session trains, what its GPU makes of it, and what it waits for.

Times depend on the machine, so they enter speed.csv, TensorBoard and W&B, and never metrics.csv,
which is the same however often a run was killed. Nothing is waited for to measure: a step ends
with its loss on the CPU anyhow. The first steps, which hold compilation and cold files, are not
counted.
"""

import csv
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from bgb.config.schema import TrainConfig
from bgb.data.device import find_device
from bgb.data.loader import WindowLoader
from bgb.detectors import Detector
from bgb.detectors.braindecode import BraindecodeNetwork
from bgb.training import provenance
from bgb.training.flops import flops_per_window, peak_flops
from bgb.training.loggers import CsvLogger
from bgb.training.provenance import device_name
from bgb.training.run_folder import RunFolder

_log = logging.getLogger(__name__)
_WARM_UP_STEPS = 3
_COLUMNS = (
    *("step", "windows_per_s", "eeg_hours_per_s", "step_ms", "data_wait", "mfu", "gpu_memory_gib"),
)


@dataclass(frozen=True)
class Machine:
    """What a session trains on.

    Attributes
    ----------
    name : of the device, for people.
    devices : how many there are.
    peak_flops : of one, in a second; None where it is not known.
    """

    name: str
    device: torch.device
    devices: int
    peak_flops: float | None


class Speed(Callback):
    """Write a row to speed.csv each `every_steps` steps, and one line when the session ends.

    A run that goes on appends, so that a step that was done twice stands there twice. Place it
    after the callback that validates, and before the one that writes checkpoints: their time
    counts as the next step's.

    Parameters
    ----------
    flops_per_window : operations of a training window, forward and backward; 0 = not known.
    summarised : takes the figures of the session.
    clock : seconds of a monotonic clock.
    """

    def __init__(
        self,
        path: Path,
        loader: WindowLoader,
        machine: Machine,
        *,
        window_s: int,
        flops_per_window: int,
        every_steps: int,
        summarised: Callable[[dict[str, float]], None] = lambda figures: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__()
        self.path, self.loader, self.machine = path, loader, machine
        self.window_s, self.flops_per_window = window_s, flops_per_window
        self.every_steps, self.summarised, self.clock = every_steps, summarised, clock
        self._num_steps = 0
        self._warm_up_s = self._validation_s = 0.0
        self._interval, self._session = _Tally(), _Tally()
        self._ended = self._waited = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.machine.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.machine.device)
        self._start_step()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start_step()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Count a step: from the end of the one before to its own."""
        seconds, waited = self.clock() - self._ended, self.loader.waited_s - self._waited
        self._start_step()
        self._num_steps += 1
        if self._num_steps <= _WARM_UP_STEPS:
            self._warm_up_s += seconds
            return
        for tally in (self._interval, self._session):
            tally.add(self.loader.num_windows(batch_idx), seconds, waited)
        if trainer.global_step % self.every_steps == 0:
            self._write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count what came after the last step: the validation."""
        self._validation_s += self.clock() - self._ended

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._summarise()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Sum up a session that was stopped, too."""
        self._summarise()

    def figures(self) -> dict[str, float]:
        """Return the figures of this session; none where it had too few steps.

        `validation_share` is the time of validation as a share of that of all training steps.
        """
        if not self._session.num_steps:
            return {}
        trained_s = self._warm_up_s + self._session.seconds
        return self._figures(self._session) | {"validation_share": self._validation_s / trained_s}

    def _start_step(self) -> None:
        self._ended, self._waited = self.clock(), self.loader.waited_s

    def _figures(self, tally: "_Tally") -> dict[str, float]:
        machine, windows_per_s = self.machine, tally.windows / tally.seconds
        figures = {
            "windows_per_s": windows_per_s,
            "eeg_hours_per_s": windows_per_s * self.window_s / 3600,
            "step_ms": 1e3 * tally.seconds / tally.num_steps,
            "data_wait": tally.waited_s / tally.seconds,
        }
        if machine.peak_flops and self.flops_per_window:
            peak = machine.peak_flops * machine.devices
            figures["mfu"] = self.flops_per_window * windows_per_s / peak
        if machine.device.type == "cuda":
            figures["gpu_memory_gib"] = torch.cuda.max_memory_allocated(machine.device) / 2**30
        return figures

    def _write(self, trainer: pl.Trainer) -> None:
        figures, self._interval = self._figures(self._interval), _Tally()
        _append(self.path, {"step": trainer.global_step, **figures})
        for logger in trainer.loggers:
            if not isinstance(logger, CsvLogger):
                named = {f"speed/{name}": value for name, value in figures.items()}
                logger.log_metrics(named, step=trainer.global_step)

    def _summarise(self) -> None:
        figures = self.figures()
        if not figures:
            return
        self.summarised({name: float(f"{value:.4g}") for name, value in figures.items()})
        _log.info("%s", self._text(figures))

    def _text(self, figures: Mapping[str, float]) -> str:
        machine = self.machine
        device = f"{machine.devices} x {machine.name}" if machine.devices > 1 else machine.name
        parts = [
            f"speed: {figures['windows_per_s']:.3g} windows/s "
            f"({figures['eeg_hours_per_s']:.3g} h of EEG/s) on {device}",
            f"{figures['step_ms']:.3g} ms a step, {figures['data_wait']:.1%} waiting for data",
        ]
        if machine.peak_flops:
            parts.append(f"MFU {figures['mfu']:.1%} of {machine.peak_flops / 1e12:.4g} TFLOP/s")
        else:
            parts.append("no MFU: the peak of this device is not known")
        if "gpu_memory_gib" in figures:
            parts.append(f"GPU memory {figures['gpu_memory_gib']:.3g} GiB")
        return "; ".join([*parts, f"validation {figures['validation_share']:.1%} of the training"])


@dataclass
class _Tally:
    """Steps and what they took."""

    num_steps: int = 0
    windows: int = 0
    seconds: float = 0.0
    waited_s: float = 0.0

    def add(self, windows: int, seconds: float, waited_s: float) -> None:
        """Count one more step."""
        self.num_steps += 1
        self.windows += windows
        self.seconds += seconds
        self.waited_s += waited_s


def build_speed(
    config: TrainConfig, folder: RunFolder, detector: Detector, loader: WindowLoader
) -> Speed:
    """Build the callback of a run; the detector is counted before the processes share its norms."""
    trainer, device = config.trainer, find_device(config.trainer.accelerator)
    name = device_name(device)
    peak = peak_flops(name, trainer.precision)
    is_counted = peak is not None and not isinstance(detector.network, BraindecodeNetwork)
    return Speed(
        folder.speed,
        loader,
        Machine(name, device, trainer.devices, peak),
        window_s=config.data.window_s,
        flops_per_window=flops_per_window(detector) if is_counted else 0,
        every_steps=trainer.log_every_steps,
        summarised=partial(_record, folder),
    )


def _record(folder: RunFolder, figures: dict[str, float]) -> None:
    provenance.note(folder, speed=figures)


def _append(path: Path, row: Mapping[str, float]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow({name: f"{value:.6g}" for name, value in row.items()})
