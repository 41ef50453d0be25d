"""Configuration of optimiser, trainer and loggers."""

from dataclasses import dataclass

from bgb.config.check import not_negative, one_of, positive, require, share
from bgb.config.option import option

ACCELERATORS = ("auto", "cpu", "gpu")
OPTIMIZERS = ("adamw", "adam", "radam")
# What can select a checkpoint, and which way is better: only names that exist (lesson 64).
MONITORS = {
    "val/auroc": "max",
    "val/auprc": "max",
    "val/event_f1": "max",
    "val/sensitivity": "max",
    "val/precision": "max",
    "val/fp_per_day": "min",
    "val/sensitivity_at_fp": "max",
}
VALIDATION_METRICS = (*MONITORS, "val/threshold")


@dataclass(frozen=True)
class OptimizerConfig:
    """An Adam with linear warm-up and cosine decay, counted in optimiser steps."""

    name: str = option(
        "adamw", "adamw, adam or radam (Liu 2020); the latter two add the decay to the gradient"
    )
    lr: float = option(1e-3, "peak learning rate")
    weight_decay: float = option(0.01, "decay of weights; biases and norms are spared")
    beta2: float = option(0.999, "how slowly the mean of squared gradients changes")
    warmup_fraction: float = option(0.05, "share of all steps spent warming up")
    final_fraction: float = option(0.01, "learning rate at the end, as a share of the peak")
    gradient_clip: float = option(1.0, "largest gradient norm; 0 for no clipping")

    def __post_init__(self) -> None:
        one_of("optimizer.name", self.name, OPTIMIZERS)
        positive(optimizer__lr=self.lr)
        not_negative(
            optimizer__weight_decay=self.weight_decay, optimizer__gradient_clip=self.gradient_clip
        )
        share(optimizer__beta2=self.beta2, optimizer__warmup_fraction=self.warmup_fraction)
        require(
            0 <= self.final_fraction <= 1,
            f"optimizer.final_fraction={self.final_fraction} must be in [0, 1]",
        )


@dataclass(frozen=True)
class TrainerConfig:
    """How long, on what, and how often to look."""

    max_epochs: int = option(8, "epochs to train", unit="epochs")
    budget_minutes: float | None = option(
        None,
        "training and validation end after so much time, if not after max_epochs, and the learning "
        "rate with them; the first step of a session, which may compile, is not counted; a clock "
        "decides, so the result is not reproducible",
        unit="min",
    )
    accelerator: str = option("auto", "auto, cpu or gpu")
    devices: int = option(1, "GPUs, or processes on the CPU, that share each batch")
    precision: str = option("32-true", "32-true or bf16-mixed")
    micro_batch: int = option(
        0, "windows of a batch that the detector takes at once; 0 = all", unit="windows"
    )
    compile: bool = option(False, "compile the detector; whole batches, or micro batches, only")
    nonfinite: str = option("raise", "at a loss or gradient that is not finite: raise or skip")
    nonfinite_budget: int = option(10, "batches that a run may skip", unit="batches")
    threads: int = option(0, "CPU threads of torch; 0 = all cores")
    val_every_epochs: int = option(1, "epochs between validations", unit="epochs")
    val_hours: float = option(2.0, "most EEG that one validation scores", unit="h")
    val_share: float = option(
        0.5, "most passes of a validation, as a share of the training passes since the last one"
    )
    val_full_every_epochs: int = option(
        0, "epochs between validations on all of dev (val_full/...), and at the end; 0 = never"
    )
    val_fp_per_day: float = option(
        24.0, "false alarms per 24 h that val/sensitivity_at_fp keeps to", unit="per 24 h"
    )
    monitor: str = option("val/auroc", "metric that selects the best checkpoint")
    checkpoint_minutes: float = option(5.0, "time between mid-epoch checkpoints", unit="min")
    log_every_steps: int = option(10, "optimiser steps between log lines", unit="steps")
    patience: int = option(
        0, "validations without improvement after which training ends; 0 = train all epochs"
    )
    min_delta: float = option(0.0, "an improvement of the monitored metric must be larger")
    max_hours: float | None = option(
        None, "hours after which this session is ended by force; it stops before", unit="h"
    )
    ema_decay: float = option(0.0, "decay of the averaged weights that are evaluated; 0 = off")
    deterministic: bool = option(
        False, "the same bits on the same GPU, at some cost; a CPU has them anyway"
    )
    resume: str = option("auto", "auto: continue this run if it exists; never: refuse instead")

    def __post_init__(self) -> None:
        positive(
            trainer__max_epochs=self.max_epochs,
            trainer__devices=self.devices,
            trainer__val_every_epochs=self.val_every_epochs,
            trainer__val_hours=self.val_hours,
            trainer__val_share=self.val_share,
            trainer__val_fp_per_day=self.val_fp_per_day,
            trainer__checkpoint_minutes=self.checkpoint_minutes,
            trainer__log_every_steps=self.log_every_steps,
            trainer__max_hours=self.max_hours,
            trainer__budget_minutes=self.budget_minutes,
        )
        not_negative(
            trainer__threads=self.threads,
            trainer__micro_batch=self.micro_batch,
            trainer__patience=self.patience,
            trainer__min_delta=self.min_delta,
            trainer__nonfinite_budget=self.nonfinite_budget,
            trainer__val_full_every_epochs=self.val_full_every_epochs,
        )
        one_of("trainer.accelerator", self.accelerator, ACCELERATORS)
        one_of("trainer.precision", self.precision, ("32-true", "bf16-mixed"))
        one_of("trainer.nonfinite", self.nonfinite, ("raise", "skip"))
        one_of("trainer.monitor", self.monitor, MONITORS)
        one_of("trainer.resume", self.resume, ("auto", "never"))
        require(
            self.budget_minutes is None or self.devices == 1,
            f"trainer.budget_minutes={self.budget_minutes} is for one device: the clocks of "
            f"trainer.devices={self.devices} processes would give them different learning rates; "
            "leave it out, or set trainer.devices=1",
        )
        share(trainer__ema_decay=self.ema_decay)

    @property
    def monitor_mode(self) -> str:
        """Whether the monitored metric is better high ("max") or low ("min")."""
        return MONITORS[self.monitor]


def is_due(epochs_done: int, *, every: int, max_epochs: int) -> bool:
    """Tell whether what comes every so many epochs, and after the last, comes now; 0 = never."""
    return every > 0 and (epochs_done % every == 0 or epochs_done == max_epochs)


@dataclass(frozen=True)
class LoggerConfig:
    """Where metrics go besides metrics.csv, which is always written."""

    tensorboard: bool = option(True, "write TensorBoard event files")
    wandb: bool = option(False, "log to Weights & Biases")
    wandb_mode: str = option("online", "online or offline (W&B only)")
    wandb_project: str = option("bgb", "W&B project")
    wandb_entity: str | None = option(None, "W&B team or user")
    wandb_key_set: bool = option(False, "whether WANDB_API_KEY is set; never its value")

    def __post_init__(self) -> None:
        one_of("logger.wandb_mode", self.wandb_mode, ("online", "offline"))
        require(
            not self.wandb or self.wandb_mode == "offline" or self.wandb_key_set,
            "logger.wandb=true needs WANDB_API_KEY in the environment; "
            "export it, or set logger.wandb_mode=offline",
        )
