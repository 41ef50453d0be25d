"""SeizureModule: loss, optimiser and schedule around a detector.

One batch is one optimiser step: nothing is carried from a batch to the next but weights, optimiser
and schedule, so a checkpoint between two batches is exact.
"""

# Shapes: B batch, K output steps

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Adam, AdamW, Optimizer, RAdam
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from bgb.data.windows import WindowBatch
from bgb.detectors import Detector
from bgb.detectors.augment import Augmentation
from bgb.errors import ConfigError, RunError
from bgb.training.collectives import add_up
from bgb.training.losses import StepLoss
from bgb.training.nonfinite import NonfinitePolicy
from bgb.training.numerics import Before, Finding, examine, save_reproducer
from bgb.training.step import backward

_SPELLED = {"loss": "loss", "grad_norm": "gradient norm"}


class Schedule(NamedTuple):
    """Learning rate over optimiser steps: linear warm-up, then half a cosine."""

    warmup_fraction: float
    final_fraction: float

    def factor(self, step: int, num_steps: int, *, time_share: float = 0.0) -> float:
        """Return the share of the peak rate at which optimiser step `step` (from 0) is taken.

        Parameters
        ----------
        time_share : part of a time budget that is spent: what ends first decides.
        """
        return self._factor(max(step, time_share * (num_steps - 1)), num_steps)

    def _factor(self, step: float, num_steps: int) -> float:
        num_warmup = round(self.warmup_fraction * num_steps)
        if step < num_warmup:
            return (step + 1) / (num_warmup + 1)
        progress = min(1.0, (step - num_warmup) / max(1, num_steps - 1 - num_warmup))
        cosine = (1 + math.cos(math.pi * progress)) / 2
        return self.final_fraction + (1 - self.final_fraction) * cosine


class Solver(NamedTuple):
    """What turns gradients into steps: adamw, adam or radam, the latter two with L2 decay."""

    name: str = "adamw"
    beta2: float = 0.999

    def build(
        self,
        groups: list[dict[str, Any]],  # Any: the parameter groups of torch.optim
        *,
        lr: float,
        on_gpu: bool,
    ) -> Optimizer:
        """Return the optimiser of parameter groups, which bring their weight decay."""
        betas = (0.9, self.beta2)
        # On the CPU Adam is below 0.1 % of a step of 64 windows: not worth other bits.
        fused = True if on_gpu else None
        match self.name:
            case "adamw":
                return AdamW(groups, lr, betas=betas, fused=fused)
            case "adam":
                return Adam(groups, lr, betas=betas, fused=fused)
            case "radam":
                return RAdam(groups, lr, betas=betas)
        raise ConfigError(f"optimizer.name={self.name!r} has no optimiser")


class SeizureModule(pl.LightningModule):
    """Train a detector; the configuration's text travels in every checkpoint.

    Parameters
    ----------
    solver : the optimiser.
    gradient_clip : largest gradient norm; 0 = not clipped.
    micro_batch : windows that go through the detector at once; 0 = the whole batch.
    augmentation : of training windows; None = they are taken as they are.
    compiled_size : windows that go through a compiled detector; other numbers of them, as at the
        end of an epoch, go through the plain one and compile nothing again. 0 = not compiled.
    nonfinite : what to do with a step that is not finite.
    time_share : part of the training's time budget that is spent.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        lr: float,
        weight_decay: float,
        schedule: Schedule,
        solver: Solver = Solver(),  # noqa: B008 - frozen
        gradient_clip: float = 0.0,
        micro_batch: int = 0,
        loss: StepLoss = StepLoss(),  # noqa: B008 - frozen
        augmentation: Augmentation | None = None,
        compiled_size: int = 0,
        nonfinite: NonfinitePolicy = NonfinitePolicy(),  # noqa: B008 - frozen
        time_share: Callable[[], float] = lambda: 0.0,
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
        self.solver = solver
        self.gradient_clip = gradient_clip
        self.micro_batch = micro_batch
        self.compiled_size = compiled_size
        # The function, not the module: names in a state_dict stay, validation runs any shape.
        self.compiled = _compile(detector) if compiled_size else detector.forward
        self.nonfinite = nonfinite
        self.num_skipped = 0
        self.time_share = time_share
        self.config_text = config_text

    def forward(self, tiles_BSCR: Tensor, present_BC: Tensor) -> Tensor:
        """Return logits (B, K)."""
        run = self.compiled if len(tiles_BSCR) == self.compiled_size else self.detector
        logits_BK: Tensor = run(tiles_BSCR, present_BC)
        return logits_BK

    def training_step(self, batch: WindowBatch, batch_idx: int) -> dict[str, Tensor] | None:
        """Take one optimiser step; return loss and gradient norm before clipping, on the CPU.

        Where one of them is not finite nothing changes, and there is nothing to return.

        Raises
        ------
        RunError : a step is not finite and may not be left out.
        """
        optimizer, scheduler = self._optimizer(), self._scheduler()
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        before = Before.step(self.detector)
        optimizer.zero_grad()
        loss = self._backward(batch)
        gradients = [each.grad for each in parameters if each.grad is not None]
        add_up(loss, *gradients)
        norm = get_total_norm(gradients)
        # The one time in a step that the CPU waits for the device.
        numbers = dict(zip(("loss", "grad_norm"), torch.stack((loss, norm)).cpu()))
        if not all(number.isfinite() for number in numbers.values()):
            self._leave_out(batch, batch_idx, before=before, numbers=numbers)
            return None
        if self.gradient_clip:
            clip_grads_with_norm_(parameters, self.gradient_clip, norm)
        optimizer.step()
        scheduler.step()
        return numbers

    def examine(self, batch: WindowBatch) -> Finding:
        """Compute the step of a batch without taking it; return what is not finite."""
        return examine(
            self.detector,
            batch,
            lambda piece: self.detector(*self._inputs(piece)),
            self.loss,
            piece_size=self.micro_batch,
        )

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Decay no bias or norm (lesson 55); the schedule counts real steps (63)."""
        optimizer = self.solver.build(
            parameter_groups(self.detector, self.weight_decay),
            lr=self.lr,
            on_gpu=self.device.type == "cuda",
        )
        num_steps = int(self.trainer.estimated_stepping_batches)

        def factor(step: int) -> float:
            return self.schedule.factor(step, num_steps, time_share=self.time_share())

        scheduler = LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:  # Any: Lightning's signature
        """Add the configuration as text, and how many batches were left out."""
        checkpoint["config"] = self.config_text
        checkpoint["num_skipped"] = self.num_skipped

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:  # Any: Lightning's signature
        """Go on counting the batches that were left out.

        Raises
        ------
        RunError : the checkpoint counts its steps as bgb did before it took them by hand.
        """
        if "num_skipped" not in checkpoint:
            raise RunError(
                "the checkpoint was written by an earlier version of bgb, whose count of steps "
                "this one cannot go on with; finish the run with that version, or set another "
                "run=<name>"
            )
        self.num_skipped = checkpoint["num_skipped"]

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

    def _leave_out(
        self, batch: WindowBatch, batch_idx: int, *, before: Before, numbers: dict[str, Tensor]
    ) -> None:
        """Undo the step, keep what repeats it, name what broke; stop the run or count the batch."""
        before.restore(self.detector)
        place = {"step": self.global_step, "epoch": self.current_epoch, "batch": batch_idx}
        path = self.nonfinite.path(self.global_step + self.num_skipped)
        if path:
            save_reproducer(path, self.detector, batch, config_text=self.config_text, place=place)
        finding = self.examine(batch)
        before.restore(self.detector)
        name, value = next((name, each) for name, each in numbers.items() if not each.isfinite())
        text = (
            f"{_SPELLED[name]} is {value:g} at step {place['step']} (epoch {place['epoch']}, batch "
            f"{place['batch']}); {self.nonfinite.describe(finding, batch)}"
        )
        self.nonfinite.decide(f"{text}; kept in {path}" if path else text, self.num_skipped)
        self.num_skipped += 1


def _compile(detector: Detector) -> Callable[[Tensor, Tensor], Tensor]:
    """Compile for fixed shapes; what breaks up one graph is an error, not a slow step."""
    return torch.compile(detector.forward, dynamic=False, fullgraph=detector.is_one_graph)


def parameter_groups(
    module: nn.Module, weight_decay: float
) -> list[dict[str, Any]]:  # Any: the parameter groups of torch.optim
    """Split parameters: matrices and kernels decay, vectors do not.

    Vectors are biases, norms, and A_log, D and dt_bias of Mamba.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
