"""From a configuration to a trained run folder: data, detector, trainer, fit; resumed where it was.

Each `build_` function is one step that a notebook may take by itself; `fit` takes them all.
"""

import contextlib
import functools
import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, RichProgressBar

from bgb import job
from bgb.config.compose import dump_config
from bgb.config.data import SPLITS
from bgb.config.schema import TrainConfig
from bgb.data.check import refuse_missing, summarise
from bgb.data.device import find_device
from bgb.data.key import cache_key
from bgb.data.module import EegDataModule
from bgb.data.windows import WindowBatch
from bgb.detectors import Detector, build_detector, output_rate_hz
from bgb.detectors.augment import build_augmentation
from bgb.evaluation.progress import WindowProgress
from bgb.evaluation.stitching import check_window
from bgb.evaluation.validation import validate
from bgb.training import provenance
from bgb.training.callbacks import FirstStep, Metrics
from bgb.training.checkpoint import AtomicCheckpointIO, Checkpoints
from bgb.training.collectives import check_compiled, synchronise_norms
from bgb.training.deadline import Deadline
from bgb.training.lightning import quiet_lightning, trainer_options
from bgb.training.loggers import build_loggers, close_loggers
from bgb.training.losses import build_loss
from bgb.training.module import Schedule, SeizureModule
from bgb.training.nonfinite import NonfinitePolicy
from bgb.training.orderly import ends_orderly
from bgb.training.processes import Together, check_devices, followers
from bgb.training.provenance import Spending
from bgb.training.resume import find_resume_point
from bgb.training.run_folder import RunFolder
from bgb.training.speed import Speed, build_speed
from bgb.training.step import check_pieces
from bgb.training.stopping import MAX_EPOCHS, PATIENCE, EarlyStopping
from bgb.training.validation import Validation, choose_dev

_log = logging.getLogger(__name__)


def fit(
    config: TrainConfig, folder: RunFolder, data: EegDataModule, spending: Spending | None = None
) -> None:
    """Train, or continue, the run of an open folder; a finished run is left alone.

    Parameters
    ----------
    spending : counts seconds and dollars since it was made; None = from now on.

    Raises
    ------
    ConfigError : the detector does not fit the window.
    RunError : a step is not finite, and `trainer.nonfinite` does not let it be left out.
    """
    if folder.is_finished():
        _log.info("run %s is finished already; nothing to train", folder.path)
        return
    detector = seeded_detector(config, data)
    with quiet_lightning():
        _train(config, folder, data, detector, spending or Spending(folder))


def seeded_detector(config: TrainConfig, data: EegDataModule) -> Detector:
    """Build the detector whose weights the seed decides; set seed and threads of this process.

    Raises
    ------
    ConfigError : the detector does not fit the window.
    """
    # Before anything that draws (lesson 70).
    pl.seed_everything(config.seed, verbose=False)
    all_threads = _all_threads()
    if config.trainer.threads or config.trainer.devices > 1:
        share = max(1, all_threads // config.trainer.devices)
        torch.set_num_threads(config.trainer.threads or share)
    detector = build_detector(
        config.model, config.frontend, data.spec, window_s=config.data.window_s
    )
    check_window(detector)
    return detector


def build_data(config: TrainConfig) -> EegDataModule:
    """Build what the cache lacks, open it and check it.

    Raises
    ------
    ConfigError : there are fewer devices than the configuration asks for.
    """
    check_devices(config.trainer.accelerator, config.trainer.devices)
    data = EegDataModule(
        config.data,
        label_rate_hz=output_rate_hz(config.model),
        seed=config.seed,
        progress=not config.disable_progress,
        force_manifest=config.force_manifest_rebuild,
        accelerator=config.trainer.accelerator,
        shift=config.augment.shift,
        boundary_s=config.loss.boundary_s,
    )
    data.prepare_data()
    data.setup()
    if config.frontend.missing == "refuse":
        refuse_missing(data.cache)
    return data


def build_module(
    config: TrainConfig,
    detector: Detector,
    *,
    failures: Path | None = None,
    recordings: Sequence[str] = (),
) -> SeizureModule:
    """Wrap a detector with loss, optimiser and schedule.

    Parameters
    ----------
    failures : folder of the files that reproduce a step that is not finite; None = none.
    recordings : ids of the train split, to name such windows.

    Raises
    ------
    ConfigError : the detector cannot take a batch in pieces, or not compiled on several devices.
    """
    optimizer, trainer, batch_size = config.optimizer, config.trainer, config.data.batch_size
    check_pieces(detector, micro_batch=trainer.micro_batch, batch_size=batch_size)
    share = batch_size // trainer.devices
    if trainer.devices > 1:
        check_compiled(detector, trainer.devices, compiled=trainer.compile)
        synchronise_norms(detector, find_device(trainer.accelerator))
    return SeizureModule(
        detector,
        lr=optimizer.lr,
        weight_decay=optimizer.weight_decay,
        schedule=Schedule(optimizer.warmup_fraction, optimizer.final_fraction),
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

        return validate(
            progress.counted(predict_on),
            detector,
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
    )


def predict(detector: Detector, batch: WindowBatch) -> torch.Tensor:
    """Return the logits (B, K) of a batch, on the device where the detector is."""
    device = next(detector.parameters()).device
    logits_BK: torch.Tensor = detector(batch.tiles_BSCR.to(device), batch.present_BC.to(device))
    return logits_BK


def _train(
    config: TrainConfig,
    folder: RunFolder,
    data: EegDataModule,
    detector: Detector,
    spending: Spending,
) -> None:
    loader = data.train_dataloader(num_processes=config.trainer.devices)
    point = find_resume_point(folder, config)
    checkpoint = point.checkpoint if point else {}
    if checkpoint:
        # Lightning restores a loader only within an epoch, not at its end.
        loader.load_state_dict(checkpoint["loader"])
    deadline = Deadline(partial(_seconds_left, config, spending))
    validation = build_validation(config, data, detector, deadline)
    trainer = build_trainer(
        config,
        folder,
        validation,
        build_speed(config, folder, detector, loader),
        num_batches=len(loader),
        resumed_step=checkpoint.get("global_step", 0),
        kept_rows=checkpoint.get("metrics_rows", 0),
        saved=partial(_saved, spending),
    )
    num_parameters = sum(parameter.numel() for parameter in detector.parameters())
    _log.info("run %s: %s, %d parameters", folder.path, config.model.name, num_parameters)
    with (
        _recorded(config, folder, data, trainer, spending),
        followers(config, trainer.strategy.root_device, checkpoint=point.path if point else None),
        ends_orderly(lambda: trainer.global_step),
    ):
        trainer.fit(
            build_module(
                config,
                detector,
                failures=folder.path / "failures",
                recordings=[each.recording_id for each in data.cache.split("train")],
            ),
            train_dataloaders=loader,
            ckpt_path=point.path if point else None,
            weights_only=True,
        )


@functools.cache
def _all_threads() -> int:
    """Return the threads of torch before any run of this process has changed them."""
    return torch.get_num_threads()


@contextlib.contextmanager
def _recorded(
    config: TrainConfig,
    folder: RunFolder,
    data: EegDataModule,
    trainer: pl.Trainer,
    spending: Spending,
) -> Iterator[None]:
    """Keep provenance.json: when this session began, what it took, whether it finished."""
    provenance.start(
        folder,
        config,
        device=trainer.strategy.root_device,
        signal=data.spec,
        cache_key=cache_key(config.data),
        corpus={row.split: asdict(row) for row in summarise(data.cache)},
        patients={
            split: sorted({recording.patient for recording in data.cache.split(split)})
            for split in SPLITS
        },
    )
    try:
        yield
        all_epochs = trainer.current_epoch == config.trainer.max_epochs
        provenance.finish(folder, stopped=MAX_EPOCHS if all_epochs else PATIENCE)
    finally:
        close_loggers(trainer.loggers)
        _saved(spending)


def _seconds_left(config: TrainConfig, spending: Spending) -> float:
    """Return the time until this session is ended by force."""
    hours = config.trainer.max_hours
    own_s = math.inf if hours is None else 3600 * hours - spending.session_s
    return min(own_s, job.current().seconds_left)


def _saved(spending: Spending) -> None:
    """A checkpoint is on disk: count what it took, and let it survive this machine."""
    spending.record()
    job.current().publish()


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
        callbacks.append(EMAWeightAveraging(decay=trainer.ema_decay))

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
            saved=saved,
        ),
    ]
