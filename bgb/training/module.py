"""SeizureModule: loss, optimiser and schedule around a detector.

One batch is one optimiser step: nothing is carried from a batch to the next but weights, optimiser
and schedule, so a checkpoint between two batches is exact.
"""

# Shapes: B batch, K output steps

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from bgb.data.windows import WindowBatch
from bgb.detectors import Detector
from bgb.detectors.augment import Augmentation
from bgb.errors import RunError
from bgb.training.losses import StepLoss
from bgb.training.step import backward

_CROSS_ENTROPY = StepLoss()


class Schedule(NamedTuple):
    """Learning rate over optimiser steps: linear warm-up, then half a cosine."""

    warmup_fraction: float
    final_fraction: float

    def factor(self, step: int, num_steps: int) -> float:
        """Return the share of the peak rate at which optimiser step `step` (from 0) is taken."""
        num_warmup = round(self.warmup_fraction * num_steps)
        if step < num_warmup:
            return (step + 1) / (num_warmup + 1)
        progress = min(1.0, (step - num_warmup) / max(1, num_steps - 1 - num_warmup))
        cosine = (1 + math.cos(math.pi * progress)) / 2
        return self.final_fraction + (1 - self.final_fraction) * cosine


class SeizureModule(pl.LightningModule):
    """Train a detector with AdamW; the configuration's text travels in every checkpoint.

    Parameters
    ----------
    gradient_clip : largest gradient norm; 0 = not clipped.
    micro_batch : windows that go through the detector at once; 0 = the whole batch.
    augmentation : of training windows; None = they are taken as they are.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        lr: float,
        weight_decay: float,
        schedule: Schedule,
        gradient_clip: float = 0.0,
        micro_batch: int = 0,
        loss: StepLoss = _CROSS_ENTROPY,
        augmentation: Augmentation | None = None,
        config_text: str = "",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.detector = detector
        self.loss = loss
        self.augmentation = augmentation
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.gradient_clip = gradient_clip
        self.micro_batch = micro_batch
        self.config_text = config_text

    def forward(self, tiles_BSCR: Tensor, present_BC: Tensor) -> Tensor:
        """Return logits (B, K)."""
        logits_BK: Tensor = self.detector(tiles_BSCR, present_BC)
        return logits_BK

    def training_step(self, batch: WindowBatch, batch_idx: int) -> dict[str, Tensor]:
        """Take one optimiser step; return loss and gradient norm, as numbers on the CPU.

        A loss or gradient that is not finite stops the run before any weight changes.
        """
        optimizer, scheduler = self._optimizer(), self._scheduler()
        optimizer.zero_grad()
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        loss, norm = self._backward(batch), _gradient_norm(parameters)
        # The one time in a step that the CPU waits for the device.
        numbers = dict(zip(("loss", "grad_norm"), torch.stack((loss, norm)).cpu()))
        if not all(number.isfinite() for number in numbers.values()):
            raise RunError(self._diagnosis(loss, batch, batch_idx))
        if self.gradient_clip:
            clip_grads_with_norm_(parameters, self.gradient_clip, norm)
        optimizer.step()
        scheduler.step()
        return numbers

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW that decays no bias or norm (lesson 55); the schedule counts real steps (63)."""
        optimizer = torch.optim.AdamW(parameter_groups(self.detector, self.weight_decay), self.lr)
        num_steps = int(self.trainer.estimated_stepping_batches)
        scheduler = LambdaLR(optimizer, lambda step: self.schedule.factor(step, num_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:  # Any: Lightning's signature
        """Add the configuration as text."""
        checkpoint["config"] = self.config_text

    def _optimizer(self) -> LightningOptimizer:
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        return optimizer

    def _scheduler(self) -> LRScheduler:
        scheduler = self.lr_schedulers()
        assert isinstance(scheduler, LRScheduler)
        return scheduler

    def _backward(self, batch: WindowBatch) -> Tensor:
        """Fill in the gradients; return the loss."""
        return backward(
            batch,
            lambda piece: self(*self._inputs(piece)),
            self.loss,
            piece_size=self.micro_batch,
            propagate=self.manual_backward,
        )

    def _inputs(self, batch: WindowBatch) -> tuple[Tensor, Tensor]:
        """Return the tiles and channels present that the detector is trained on."""
        if self.augmentation is None:
            return batch.tiles_BSCR, batch.present_BC
        tiles_BSCR, present_BC = self.augmentation(
            batch.tiles_BSCR,
            batch.present_BC,
            labels_BK=batch.labels_BK,
            sample_B=batch.sample_B,
            shift_B=batch.shift_B,
        )
        return tiles_BSCR, present_BC

    def _diagnosis(self, loss: Tensor, batch: WindowBatch, batch_idx: int) -> str:
        logits_BK = self(*self._inputs(batch))
        finite_B = torch.isfinite(logits_BK).all(dim=1)
        weights = [
            name for name, value in self.detector.named_parameters() if not value.isfinite().all()
        ]
        return (
            f"loss is {loss.item()} at step {self.global_step} (epoch {self.current_epoch}, batch "
            f"{batch_idx}); samples with logits that are not finite: "
            f"{batch.sample_B[~finite_B].tolist()} of {batch.sample_B.tolist()}; "
            f"weights that are not finite: {weights or 'none'}; "
            "lower optimizer.lr, or look at these windows"
        )


def _gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    return get_total_norm([each.grad for each in parameters if each.grad is not None])


def parameter_groups(
    module: nn.Module, weight_decay: float
) -> list[dict[str, Any]]:  # Any: the parameter groups of torch.optim
    """Split parameters: matrices and kernels decay, vectors (biases, norms) do not."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
