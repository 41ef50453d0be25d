"""Callbacks: the rows of the loggers, a line an epoch, the start-up."""

import logging
import math
import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from bgb import job, startup
from bgb.training.numerics import relative_change
from bgb.training.validation import Validation

_log = logging.getLogger(__name__)


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
        position = _position(trainer)
        shown = {key: value for key, value in metrics.items() if key == self.monitor}
        job.current().progress(**position, **shown)
        _log.info("epoch %s step %d: %s (%s)", *position.values(), text, self._seconds())

    def _seconds(self) -> str:
        """Return what the epoch took, and the share of its validation in it, for the log alone."""
        seconds, validated_s = time.monotonic() - self._started, self.validation.latest_s
        if not self.validation.latest:
            return f"{seconds:.1f} s"
        share = validated_s / max(seconds - validated_s, 1e-9)
        return f"{seconds:.1f} s, validation {share:.2g} of the training"

    def state_dict(self) -> dict[str, Any]:  # Any: Lightning's signature
        return {"loss_sum": self._loss_sum, "num_steps": self._num_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # Any: Lightning's signature
        self._loss_sum, self._num_steps = state_dict["loss_sum"], state_dict["num_steps"]

    def _update_norm(self, pl_module: pl.LightningModule) -> float:
        before, self._weights_before = self._weights_before, []
        return relative_change(before, [each.detach() for each in pl_module.parameters()])


class FirstStep(Callback):
    """Say once, at the first step, how long it took to get there and what took it."""

    def __init__(self) -> None:
        super().__init__()
        self._is_due = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        startup.reached("detector and trainer")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if self._is_due:
            startup.reached("first batch")

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        if self._is_due:
            self._is_due = False
            startup.reached("first step")
            if (took := startup.finish()) is not None:
                _log.info("first step %s", took)


def _position(trainer: pl.Trainer) -> dict[str, str | int]:
    return {
        "epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
        "step": trainer.global_step,
    }


def _write(trainer: pl.Trainer, metrics: dict[str, float]) -> None:
    for logger in trainer.loggers:
        logger.log_metrics({**metrics, "epoch": trainer.current_epoch}, step=trainer.global_step)
