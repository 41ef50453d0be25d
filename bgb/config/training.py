"""Configuration of optimiser, trainer and loggers."""

from dataclasses import dataclass

from bgb.config.check import not_negative, one_of, positive, require
from bgb.config.option import option

ACCELERATORS = ("auto", "cpu", "gpu")
# What a validation computes, by name; only these can select a checkpoint (lesson 64).
VALIDATION_METRICS = (
    "val/auroc",
    "val/auprc",
    "val/event_f1",
    "val/sensitivity",
    "val/precision",
    "val/fp_per_day",
    "val/threshold",
)


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay, counted in optimiser steps."""

    lr: float = option(1e-3, "peak learning rate")
    weight_decay: float = option(0.01, "decay of weights; biases and norms are spared")
    warmup_fraction: float = option(0.05, "share of all steps spent warming up")
    final_fraction: float = option(0.01, "learning rate at the end, as a share of the peak")
    gradient_clip: float = option(1.0, "largest gradient norm; 0 for no clipping")

    def __post_init__(self) -> None:
        positive(optimizer__lr=self.lr)
        not_negative(
            optimizer__weight_decay=self.weight_decay, optimizer__gradient_clip=self.gradient_clip
        )
        require(
            0 <= self.warmup_fraction < 1,
            f"optimizer.warmup_fraction={self.warmup_fraction} must be in [0, 1)",
        )
        require(
            0 <= self.final_fraction <= 1,
            f"optimizer.final_fraction={self.final_fraction} must be in [0, 1]",
        )


@dataclass(frozen=True)
class TrainerConfig:
    """How long, on what, and how often to look."""

    max_epochs: int = option(8, "epochs to train", unit="epochs")
    accelerator: str = option("auto", "auto, cpu or gpu")
    precision: str = option("32-true", "32-true or bf16-mixed")
    threads: int = option(0, "CPU threads of torch; 0 = all cores")
    val_every_epochs: int = option(1, "epochs between validations", unit="epochs")
    val_hours: float = option(2.0, "most EEG that one validation scores", unit="h")
    monitor: str = option("val/auroc", "metric that selects the best checkpoint")
    monitor_mode: str = option("max", "max or min")
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
    resume: str = option("auto", "auto: continue this run if it exists; never: refuse instead")

    def __post_init__(self) -> None:
        positive(
            trainer__max_epochs=self.max_epochs,
            trainer__val_every_epochs=self.val_every_epochs,
            trainer__val_hours=self.val_hours,
            trainer__checkpoint_minutes=self.checkpoint_minutes,
            trainer__log_every_steps=self.log_every_steps,
        )
        not_negative(trainer__threads=self.threads)
        one_of("trainer.accelerator", self.accelerator, ACCELERATORS)
        one_of("trainer.precision", self.precision, ("32-true", "bf16-mixed"))
        one_of("trainer.monitor", self.monitor, VALIDATION_METRICS)
        one_of("trainer.monitor_mode", self.monitor_mode, ("max", "min"))
        one_of("trainer.resume", self.resume, ("auto", "never"))
        require(0 <= self.ema_decay < 1, f"trainer.ema_decay={self.ema_decay} must be in [0, 1)")
        not_negative(trainer__patience=self.patience, trainer__min_delta=self.min_delta)
        if self.max_hours is not None:
            positive(trainer__max_hours=self.max_hours)


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
