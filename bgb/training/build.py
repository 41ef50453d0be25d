"""The parts of a training, each made from the configuration: data, detector, module, trainer.

Each function is one step that a notebook may take by itself; `bgb.training.fit` takes them all.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, RichProgressBar

from bgb.config.compose import dump_config
from bgb.config.schema import TrainConfig
from bgb.data.check import refuse_missing
from bgb.data.device import find_device
from bgb.data.module import EegDataModule
from bgb.data.windows import WindowBatch
from bgb.detectors import Detector, build_detector, check_importable
from bgb.detectors.augment import build_augmentation
from bgb.evaluation.causal import Watched
from bgb.evaluation.progress import WindowProgress
from bgb.evaluation.stitching import DetectorFacts, check_window
from bgb.evaluation.validation import validate
from bgb.training.averaging import MovingAverage
from bgb.training.budget import Budget
from bgb.training.callbacks import FirstStep, Metrics
from bgb.training.checkpoint import AtomicCheckpointIO, Checkpoints
from bgb.training.collectives import check_compiled, synchronise_norms
from bgb.training.deadline import Deadline
from bgb.training.lightning import trainer_options
from bgb.training.loggers import build_loggers
from bgb.training.losses import build_loss
from bgb.training.module import Schedule, SeizureModule, Solver
from bgb.training.nonfinite import NonfinitePolicy
from bgb.training.processes import Together, check_devices
from bgb.training.run_folder import RunFolder
from bgb.training.speed import Speed
from bgb.training.step import check_pieces
from bgb.training.stopping import EarlyStopping
from bgb.training.validation import Validation, choose_dev


def seeded_detector(config: TrainConfig, data: EegDataModule) -> Detector:
    """Build the detector whose weights the seed decides; set seed and threads of this process.

    Raises
    ------
    ConfigError : the detector does not fit the window.
    """
    # Before anything that draws (lesson 70).
    pl.seed_everything(config.seed, verbose=False)
    share = max(1, _all_threads() // config.trainer.devices)
    torch.set_num_threads(config.trainer.threads or share)  # whatever a run before has set
    detector = build_detector(
        config.model, config.frontend, data.spec, window_s=config.data.window_s
    )
    check_window(detector)
    return detector


def check_machine(config: TrainConfig) -> None:
    """Refuse what this machine lacks, before a cache is built or a run folder made.

    Raises
    ------
    ConfigError : the model's package is missing, or there are fewer devices than asked for.
    """
    check_importable(config.model)
    check_devices(config.trainer.accelerator, config.trainer.devices)


def build_data(config: TrainConfig) -> EegDataModule:
    """Build what the cache lacks, open it and check it."""
    data = data_module(config)
    data.prepare_data()
    data.setup()
    if config.frontend.missing == "refuse":
        refuse_missing(data.cache)
    return data


def data_module(config: TrainConfig) -> EegDataModule:
    """Return the data of a run, neither built nor opened."""
    return EegDataModule(
        config.data,
        label_rate_hz=config.model.output_rate_hz,
        seed=config.seed,
        progress=not config.disable_progress,
        force_manifest=config.force_manifest_rebuild,
        accelerator=config.trainer.accelerator,
        context_s=config.model.context_s,
        shift=config.augment.shift,
        boundary_s=config.loss.boundary_s,
    )


def build_module(
    config: TrainConfig,
    detector: Detector,
    *,
    failures: Path | None = None,
    recordings: Sequence[str] = (),
    budget: Budget | None = None,
) -> SeizureModule:
    """Wrap a detector with loss, optimiser and schedule.

    Parameters
    ----------
    failures : folder of the files that reproduce a step that is not finite; None = none.
    recordings : ids of the train split, to name such windows.
    budget : of time, that the learning rate follows; None = optimiser steps alone count.

    Raises
    ------
    ConfigError : the detector cannot take a batch in pieces, or not compiled on several devices.
    """
    optimizer, trainer, batch_size = config.optimizer, config.trainer, config.data.batch_size
    check_pieces(detector, micro_batch=trainer.micro_batch, batch_size=batch_size)
    share = batch_size // trainer.devices
    if trainer.devices > 1:
        check_compiled(detector, trainer.devices, compiled=trainer.compile, batch_size=batch_size)
        synchronise_norms(detector, find_device(trainer.accelerator))
    return SeizureModule(
        detector,
        lr=optimizer.lr,
        weight_decay=optimizer.weight_decay,
        schedule=Schedule(optimizer.warmup_fraction, optimizer.final_fraction),
        solver=Solver(optimizer.name, optimizer.beta2),
        gradient_clip=optimizer.gradient_clip,
        micro_batch=trainer.micro_batch,
        compiled_size=min(trainer.micro_batch or share, share) if trainer.compile else 0,
        nonfinite=NonfinitePolicy(
            skip=trainer.nonfinite == "skip",
            budget=trainer.nonfinite_budget,
            folder=failures,
            recordings=recordings,
        ),
        loss=build_loss(config.loss),
        augmentation=build_augmentation(config.augment, detector.frontend.signal, seed=config.seed),
        time_share=(budget or Budget()).share,
        config_text=dump_config(config),
    )


def build_trainer(
    config: TrainConfig,
    folder: RunFolder,
    validation: Validation,
    speed: Speed,
    *,
    num_batches: int,
    resumed_step: int = 0,
    kept_rows: int = 0,
    saved: Callable[[], None] = lambda: None,
) -> pl.Trainer:
    """Build the Lightning trainer; all that it writes lies in the run folder."""
    trainer = config.trainer
    show_bar = sys.stderr.isatty() and not config.disable_progress
    return pl.Trainer(
        **trainer_options(config),
        default_root_dir=folder.path,
        log_every_n_steps=min(trainer.log_every_steps, num_batches),
        logger=build_loggers(config.logger, folder, resumed_step=resumed_step, kept_rows=kept_rows),
        callbacks=_callbacks(config, folder, validation, speed, saved, show_bar=show_bar),
        plugins=[AtomicCheckpointIO(kept={folder.last: folder.previous})],
        enable_checkpointing=True,
        enable_progress_bar=show_bar,
    )


def build_validation(
    config: TrainConfig,
    data: EegDataModule,
    detector: Detector,
    deadline: Deadline | None = None,
    budget: Budget | None = None,
) -> Validation:
    """Build the callback that scores whole recordings of a bounded part of dev."""
    trainer, part = config.trainer, choose_dev(config, data.cache, detector)

    def score(
        detector: Detector,
        *,
        full: bool,
        progress: WindowProgress,
        between: Callable[[], None],
    ) -> Mapping[str, float]:
        def predict_on(batch: WindowBatch) -> torch.Tensor:
            between()
            return predict(detector, batch)

        facts: DetectorFacts = detector
        if detector.is_causal:  # has no windows to predict
            facts = Watched(detector, before=between, after=partial(progress.advance, 1))
        return validate(
            progress.counted(predict_on),
            facts,
            part.recordings,
            others=part.others if full else None,
            postprocess=config.postprocess,
            evaluation=config.evaluation,
            fp_per_day=trainer.val_fp_per_day,
            between=between,
        )

    return Validation(
        score,
        part,
        every_epochs=trainer.val_every_epochs,
        full_every_epochs=trainer.val_full_every_epochs,
        deadline=deadline,
        budget=budget,
    )


def predict(detector: Detector, batch: WindowBatch) -> torch.Tensor:
    """Return the logits (B, K) of a batch, on the device where the detector is."""
    device = next(detector.parameters()).device
    logits_BK: torch.Tensor = detector(batch.tiles_BSCR.to(device), batch.present_BC.to(device))
    return logits_BK


@functools.cache
def _all_threads() -> int:
    """Return the threads of torch before any run of this process has changed them."""
    return torch.get_num_threads()


def _callbacks(
    config: TrainConfig,
    folder: RunFolder,
    validation: Validation,
    speed: Speed,
    saved: Callable[[], None],
    *,
    show_bar: bool,
) -> list[Callback]:
    trainer = config.trainer
    callbacks: list[Callback] = [RichProgressBar()] if show_bar else []
    if trainer.devices > 1:
        callbacks.append(Together(config.seed, rank=0))
    if trainer.ema_decay:
        device = find_device(trainer.accelerator)
        callbacks.append(MovingAverage(trainer.ema_decay, device))
    if trainer.budget_minutes is not None:
        callbacks.append(validation.budget)

    def score() -> float | None:
        return validation.latest.get(trainer.monitor)

    return [
        *callbacks,
        FirstStep(),
        validation.deadline,
        validation,
        speed,
        Metrics(validation, every_steps=trainer.log_every_steps, monitor=trainer.monitor),
        EarlyStopping(
            score,
            mode=trainer.monitor_mode,
            patience=trainer.patience,
            min_delta=trainer.min_delta,
        ),
        Checkpoints(
            folder.last,
            folder.best,
            score=score,
            mode=trainer.monitor_mode,
            minutes=trainer.checkpoint_minutes,
            cut_short=lambda: validation.budget.is_over,
            saved=saved,
        ),
    ]
