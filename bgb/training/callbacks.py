"""Callbacks: validation on whole recordings, the rows of the loggers, one line an epoch."""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, WeightAveraging

from bgb import job
from bgb.detectors import Detector
from bgb.training.module import SeizureModule
from bgb.training.numerics import relative_change

_log = logging.getLogger(__name__)


class Validation(Callback):
    """Score the detector at the end of an epoch, with the weights that would be shipped.

    Parameters
    ----------
    validate : scores a detector in evaluation mode and returns `val/...` metrics.
    every_epochs : epochs between validations; the last epoch is always validated.
    """

    def __init__(
        self, validate: Callable[[Detector], Mapping[str, float]], *, every_epochs: int = 1
    ) -> None:
        super().__init__()
        self.validate = validate
        self.every_epochs = every_epochs
        self.latest: dict[str, float] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate when due: `latest` holds the metrics of this epoch, or nothing."""
        self.latest = {}
        done = trainer.current_epoch + 1
        if done % self.every_epochs and done != trainer.max_epochs:
            return
        module = cast("SeizureModule", pl_module)
        with _shipped_weights(trainer, module), torch.inference_mode():
            self.latest = dict(self.validate(module.detector))
        pl_module.log_dict(self.latest, logger=False)


class Metrics(Callback):
    """Write a row to every logger each `every_steps` steps and one at the end of each epoch.

    `train/loss` and `train/grad_norm` (before clipping) are those of one batch, `train/update_norm`
    is the length of its step as a share of that of the weights, `train/epoch_loss` the mean of the
    epoch. Rows count the optimiser steps done, so that a resumed run knows which rows are its own;
    a batch that was left out has none. Whoever watches the job sees the loss and `monitor`.
    """

    def __init__(self, validation: Validation, *, every_steps: int, monitor: str) -> None:
        super().__init__()
        self.validation = validation
        self.monitor = monitor
        self.every_steps = every_steps
        self._loss_sum = 0.0
        self._num_steps = 0
        self._lr = 0.0
        self._weights_before: list[torch.Tensor] = []
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._loss_sum, self._num_steps = 0.0, 0
        self._started = time.monotonic()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self._lr = optimizer.param_groups[0]["lr"]  # of this step; afterwards it is the next one's
        if (trainer.global_step + 1) % self.every_steps == 0:
            self._weights_before = [each.detach().clone() for each in pl_module.parameters()]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # Any: Lightning's signature; here of SeizureModule.training_step
        batch: object,
        batch_idx: int,
    ) -> None:
        if not outputs:
            return
        loss = float(outputs["loss"])
        self._loss_sum += loss
        self._num_steps += 1
        if trainer.global_step % self.every_steps == 0:
            values = {"train/loss": loss, "train/lr": self._lr}
            values["train/grad_norm"] = float(outputs["grad_norm"])
            values["train/update_norm"] = self._update_norm(pl_module)
            _write(trainer, values)
            job.current().progress(**_position(trainer), loss=loss)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's row before the checkpoint that makes it final; say it in one line."""
        mean = self._loss_sum / self._num_steps if self._num_steps else math.nan
        metrics = {"train/epoch_loss": mean}
        metrics |= self.validation.latest
        _write(trainer, metrics)
        text = " ".join(f"{name}={value:.4g}" for name, value in metrics.items())
        seconds = time.monotonic() - self._started
        position = _position(trainer)
        shown = {key: value for key, value in metrics.items() if key == self.monitor}
        job.current().progress(**position, **shown)
        _log.info("epoch %s step %d: %s (%.1f s)", *position.values(), text, seconds)

    def state_dict(self) -> dict[str, Any]:  # Any: Lightning's signature
        return {"loss_sum": self._loss_sum, "num_steps": self._num_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # Any: Lightning's signature
        self._loss_sum, self._num_steps = state_dict["loss_sum"], state_dict["num_steps"]

    def _update_norm(self, pl_module: pl.LightningModule) -> float:
        before, self._weights_before = self._weights_before, []
        return relative_change(before, [each.detach() for each in pl_module.parameters()])


def _position(trainer: pl.Trainer) -> dict[str, str | int]:
    return {
        "epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
        "step": trainer.global_step,
    }


def _write(trainer: pl.Trainer, metrics: dict[str, float]) -> None:
    for logger in trainer.loggers:
        logger.log_metrics({**metrics, "epoch": trainer.current_epoch}, step=trainer.global_step)


@contextlib.contextmanager
def _shipped_weights(trainer: pl.Trainer, module: SeizureModule) -> Iterator[None]:
    """Put the averaged weights in place, where there are any, and evaluation mode on."""
    callbacks: list[Callback] = vars(trainer)["callbacks"]  # untyped in Lightning
    averages = [each for each in callbacks if isinstance(each, WeightAveraging)]
    module.eval()
    for average in averages:
        average.on_validation_epoch_start(trainer, module)
    try:
        yield
    finally:
        for average in averages:
            average.on_validation_epoch_end(trainer, module)
        module.train()
