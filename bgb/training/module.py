"""SeizureModule: loss, optimiser and schedule around a detector.

Binary cross-entropy on the steps that lie inside the recording. Imbalance is the sampler's business
alone: a weighted loss on top of balanced windows collapsed the predecessor (lesson 15).
"""

# Shapes: B batch, K output steps

import math
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional

from bgb.data.windows import WindowBatch
from bgb.detectors import Detector
from bgb.errors import RunError


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
    """Train a detector with AdamW; the configuration's text travels in every checkpoint."""

    def __init__(
        self,
        detector: Detector,
        *,
        lr: float,
        weight_decay: float,
        schedule: Schedule,
        config_text: str = "",
    ) -> None:
        super().__init__()
        self.detector = detector
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.config_text = config_text

    def forward(self, tiles_BSCR: Tensor, present_BC: Tensor) -> Tensor:
        """Return logits (B, K)."""
        logits_BK: Tensor = self.detector(tiles_BSCR, present_BC)
        return logits_BK

    def training_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        """Return the loss of one batch; a loss that is not finite stops the run at once."""
        logits_BK = self(batch.tiles_BSCR, batch.present_BC)
        loss = masked_loss(logits_BK, batch.labels_BK, batch.valid_BK)
        if not bool(torch.isfinite(loss)):
            raise RunError(self._diagnosis(loss, logits_BK, batch, batch_idx))
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW that decays no bias or norm (lesson 55); the schedule counts real steps (63)."""
        optimizer = torch.optim.AdamW(parameter_groups(self.detector, self.weight_decay), self.lr)
        num_steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.schedule.factor(step, num_steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:  # Any: Lightning's signature
        """Add the configuration as text."""
        checkpoint["config"] = self.config_text

    def _diagnosis(
        self, loss: Tensor, logits_BK: Tensor, batch: WindowBatch, batch_idx: int
    ) -> str:
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


def masked_loss(logits_BK: Tensor, labels_BK: Tensor, valid_BK: Tensor) -> Tensor:
    """Mean binary cross-entropy of the valid steps, in float32."""
    loss_BK = functional.binary_cross_entropy_with_logits(
        logits_BK.float(), labels_BK, reduction="none"
    )
    return torch.where(valid_BK, loss_BK, 0).sum() / valid_BK.sum().clamp_min(1)


def parameter_groups(
    module: nn.Module, weight_decay: float
) -> list[dict[str, Any]]:  # Any: the parameter groups of torch.optim
    """Split parameters: matrices and kernels decay, vectors (biases, norms) do not."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
