"""How long a run takes, from a throughput that was measured, never guessed.

A measurement is kept as a file named by what decides the speed: detector, window, batch, precision,
data and machine. It is found again for exactly the same, and by nothing else.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bgb.config.schema import TrainConfig
from bgb.config.training import is_due
from bgb.data.key import cache_key
from bgb.files import read_json, write_json

_HOUR_S = 3600
PASSES_OF_TRAINING = 3  # backward costs twice the forward pass, which is all that scoring needs


@dataclass(frozen=True)
class Throughput:
    """What a machine did in a short measurement of one configuration.

    Attributes
    ----------
    windows_per_s : training windows, reading, optimiser and all.
    scored_eeg_hours_per_s : hours of EEG stitched and searched for a threshold in a second.
    windows_per_eeg_hour : windows judged for an hour of dev, overlap and all.
    baseline_fit_s : seconds to fit the baseline; 0 where the configuration has none.
    baseline_eeg_hours_per_s : hours of EEG that the baseline scores in a second; None likewise.
    split_hours : hours of EEG in train, dev and eval.
    date : day of the measurement, UTC.
    versions : of bgb and torch, and the platform.
    """

    windows_per_s: float
    scored_eeg_hours_per_s: float
    windows_per_eeg_hour: float
    baseline_fit_s: float
    baseline_eeg_hours_per_s: float | None
    split_hours: Mapping[str, float]
    device: str
    date: str
    versions: Mapping[str, str]

    def text(self) -> str:
        """Return one line: the speeds, where and when they were measured."""
        return (
            f"{self.windows_per_s:.3g} windows/s in training, "
            f"{3600 * self.scored_eeg_hours_per_s:,.0f} h of EEG scored in an hour "
            f"({self.device}, torch {self.versions['torch']}, {self.date})"
        )


@dataclass(frozen=True)
class Hours:
    """How long the parts of a run take; the start of a container comes on top."""

    train: float
    validation: float
    evaluation: float

    @property
    def total(self) -> float:
        return self.train + self.validation + self.evaluation


def num_steps(config: TrainConfig) -> int:
    """Return the optimiser steps of a whole run."""
    steps_per_epoch = math.ceil(config.data.sampling.windows_per_epoch / config.data.batch_size)
    return config.trainer.max_epochs * steps_per_epoch


def training_passes(config: TrainConfig) -> int:
    """Return what is trained between two validations, in forward passes of one window."""
    windows = config.data.sampling.windows_per_epoch * config.trainer.val_every_epochs
    return PASSES_OF_TRAINING * windows


def estimate(config: TrainConfig, speed: Throughput) -> Hours:
    """Return the hours of training, of all validations, and of the evaluation with its baseline.

    A time budget bounds the first two together; both shrink alike.
    """
    trainer, hours = config.trainer, speed.split_hours
    windows = trainer.max_epochs * config.data.sampling.windows_per_epoch
    dev_h = hours["dev"] if config.postprocess.threshold is None else 0.0
    scored_h = dev_h + hours["eval"]
    evaluation_s = scored_h / speed.scored_eeg_hours_per_s
    if speed.baseline_eeg_hours_per_s is not None:
        evaluation_s += speed.baseline_fit_s + scored_h / speed.baseline_eeg_hours_per_s
    train_s = windows / speed.windows_per_s
    validation_s = _validated_h(config, speed) / speed.scored_eeg_hours_per_s
    budget_s = 60 * (math.inf if trainer.budget_minutes is None else trainer.budget_minutes)
    shrunk = min(1.0, budget_s / (train_s + validation_s))
    return Hours(
        train=shrunk * train_s / _HOUR_S,
        validation=shrunk * validation_s / _HOUR_S,
        evaluation=evaluation_s / _HOUR_S,
    )


def _validated_h(config: TrainConfig, speed: Throughput) -> float:
    """Return the hours of EEG that all validations score; a full one scores the part with it."""
    trainer, dev_h = config.trainer, speed.split_hours["dev"]
    allowed_h = trainer.val_share * training_passes(config) / speed.windows_per_eeg_hour
    part_h = min(trainer.val_hours, dev_h, allowed_h)
    total_h = 0.0
    for epochs_done in range(1, trainer.max_epochs + 1):
        due, full = (
            is_due(epochs_done, every=every, max_epochs=trainer.max_epochs)
            for every in (trainer.val_every_epochs, trainer.val_full_every_epochs)
        )
        total_h += dev_h if full else part_h if due else 0.0
    return total_h


def identity(config: TrainConfig, machine: str) -> dict[str, Any]:  # Any: JSON
    """Return what decides the speed of a run; two runs with the same one share a measurement.

    Parameters
    ----------
    machine : a device here, or what a rented container has.
    """
    data, trainer, evaluation = config.data, config.trainer, config.evaluation
    values = {
        "measures": [field.name for field in fields(Throughput)],
        "machine": machine,
        "model": asdict(config.model),
        "frontend": asdict(config.frontend),
        "augment": asdict(config.augment),
        "cache": cache_key(data),
        "limit": data.limit,
        "exclude": data.exclude,
        "window_s": data.window_s,
        "batch_size": data.batch_size,
        "residency": [data.residency, data.memory_gib, data.threads, data.staging],
        "step": [trainer.precision, trainer.micro_batch, trainer.compile],
        "val_hours": trainer.val_hours,
        "threads": trainer.threads,
        "devices": trainer.devices,
        "ema": trainer.ema_decay > 0,
        "postprocess": asdict(config.postprocess),
        "evaluation": asdict(evaluation),
    }
    identified: dict[str, Any] = json.loads(json.dumps(values))
    return identified


def save_measurement(folder: Path, config: TrainConfig, machine: str, speed: Throughput) -> Path:
    """Keep a measurement, in place of an older one of the same; return its file."""
    identified = identity(config, machine)
    path = _path(folder, config, identified)
    write_json(path, {"identity": identified, "throughput": asdict(speed)})
    return path


def find_measurement(folder: Path, config: TrainConfig, machine: str) -> Throughput | None:
    """Return the newest measurement of exactly this configuration on this machine, if any."""
    identified = identity(config, machine)
    path = _path(folder, config, identified)
    if not path.exists():
        return None
    record = read_json(path)
    return Throughput(**record["throughput"]) if record.get("identity") == identified else None


def _path(folder: Path, config: TrainConfig, identified: dict[str, Any]) -> Path:  # Any: JSON
    digest = hashlib.sha256(json.dumps(identified, sort_keys=True).encode()).hexdigest()[:12]
    return folder / f"{config.data.corpus.name}-{config.model.label}-{digest}.json"
