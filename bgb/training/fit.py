"""From a configuration to a trained run folder: data, detector, trainer, fit; resumed where it was.

Each `build_` function is one step that a notebook may take by itself; `fit` takes them all.
"""

import contextlib
import logging
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, RichProgressBar
from pytorch_lightning.utilities.exceptions import SIGTERMException

from bgb import job
from bgb.config.compose import dump_config
from bgb.config.data import SPLITS
from bgb.config.schema import TrainConfig
from bgb.data.check import refuse_missing, summarise
from bgb.data.key import cache_key
from bgb.data.module import EegDataModule
from bgb.data.windows import WindowBatch
from bgb.detectors import Detector, build_detector, output_rate_hz
from bgb.evaluation.progress import WindowProgress
from bgb.evaluation.stitching import check_window
from bgb.evaluation.validation import validate
from bgb.training import provenance
from bgb.training.callbacks import Metrics
from bgb.training.checkpoint import AtomicCheckpointIO, Checkpoints, load_checkpoint
from bgb.training.loggers import build_loggers, close_loggers
from bgb.training.module import Schedule, SeizureModule
from bgb.training.provenance import Spending
from bgb.training.run_folder import RunFolder
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
    RunError : the loss is not finite.
    """
    if folder.is_finished():
        _log.info("run %s is finished already; nothing to train", folder.path)
        return
    # Before anything that draws (lesson 70).
    pl.seed_everything(config.seed, verbose=False)
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    detector = build_detector(
        config.model, config.frontend, data.spec, window_s=config.data.window_s
    )
    check_window(detector)
    with quiet_lightning():
        _train(config, folder, data, detector, spending or Spending(folder))


def build_data(config: TrainConfig) -> EegDataModule:
    """Build what the cache lacks, open it and check it."""
    data = EegDataModule(
        config.data,
        label_rate_hz=output_rate_hz(config.model),
        seed=config.seed,
        progress=not config.disable_progress,
        force_manifest=config.force_manifest_rebuild,
        accelerator=config.trainer.accelerator,
    )
    data.prepare_data()
    data.setup()
    if config.frontend.missing == "refuse":
        refuse_missing(data.cache)
    return data


def build_module(config: TrainConfig, detector: Detector) -> SeizureModule:
    """Wrap a detector with loss, optimiser and schedule."""
    optimizer = config.optimizer
    return SeizureModule(
        detector,
        lr=optimizer.lr,
        weight_decay=optimizer.weight_decay,
        schedule=Schedule(optimizer.warmup_fraction, optimizer.final_fraction),
        config_text=dump_config(config),
    )


def build_trainer(
    config: TrainConfig,
    folder: RunFolder,
    validation: Validation,
    *,
    num_batches: int,
    resumed_step: int = 0,
    saved: Callable[[], None] = lambda: None,
) -> pl.Trainer:
    """Build the Lightning trainer; all that it writes lies in the run folder."""
    trainer = config.trainer
    show_bar = sys.stderr.isatty() and not config.disable_progress
    return pl.Trainer(
        default_root_dir=folder.path,
        accelerator=trainer.accelerator,
        devices=1,
        precision="bf16-mixed" if trainer.precision == "bf16-mixed" else "32-true",
        max_epochs=trainer.max_epochs,
        gradient_clip_val=config.optimizer.gradient_clip or None,
        log_every_n_steps=min(trainer.log_every_steps, num_batches),
        logger=build_loggers(config.logger, folder, resumed_step=resumed_step),
        callbacks=_callbacks(config, folder, validation, saved, show_bar=show_bar),
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=True,
        enable_progress_bar=show_bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def build_validation(config: TrainConfig, data: EegDataModule, detector: Detector) -> Validation:
    """Build the callback that scores whole recordings of a bounded part of dev."""
    trainer, part = config.trainer, choose_dev(config, data.cache, detector)

    def score(
        detector: Detector, *, full: bool, progress: WindowProgress, between: Callable[[], None]
    ) -> Mapping[str, float]:
        return validate(
            progress.counted(partial(predict, detector)),
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
    loader = data.train_dataloader()
    checkpoint = _resume_point(folder)
    if checkpoint:
        # Lightning restores a loader only within an epoch, not at its end.
        loader.load_state_dict(checkpoint["loader"])
    validation = build_validation(config, data, detector)
    trainer = build_trainer(
        config,
        folder,
        validation,
        num_batches=len(loader),
        resumed_step=checkpoint.get("global_step", 0),
        saved=partial(_saved, spending),
    )
    num_parameters = sum(parameter.numel() for parameter in detector.parameters())
    _log.info("run %s: %s, %d parameters", folder.path, config.model.name, num_parameters)
    with _recorded(config, folder, data, trainer, spending):
        try:
            trainer.fit(
                build_module(config, detector),
                train_dataloaders=loader,
                ckpt_path=folder.last if checkpoint else None,
                weights_only=True,
            )
            provenance.note(folder, validation_share=round(validation.share, 4))
        except SIGTERMException as stop:  # Lightning would end with 0, as if all were done
            _log.warning(
                "stopped by SIGTERM at step %d; repeat the command to continue", trainer.global_step
            )
            raise SystemExit(128 + signal.SIGTERM) from stop


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
        provenance.finish(folder)
    finally:
        close_loggers(trainer.loggers)
        _saved(spending)


def _saved(spending: Spending) -> None:
    """A checkpoint is on disk: count what it took, and let it survive this machine."""
    spending.record()
    job.current().publish()


def _callbacks(
    config: TrainConfig,
    folder: RunFolder,
    validation: Validation,
    saved: Callable[[], None],
    *,
    show_bar: bool,
) -> list[Callback]:
    trainer = config.trainer
    callbacks: list[Callback] = [RichProgressBar()] if show_bar else []
    if trainer.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=trainer.ema_decay))
    return [
        *callbacks,
        validation,
        Metrics(validation, every_steps=trainer.log_every_steps, monitor=trainer.monitor),
        Checkpoints(
            folder.last,
            folder.best,
            monitor=trainer.monitor,
            mode=trainer.monitor_mode,
            minutes=trainer.checkpoint_minutes,
            saved=saved,
        ),
    ]


def _resume_point(folder: RunFolder) -> dict[str, Any]:  # Any: a Lightning checkpoint
    """Return the last checkpoint, on the CPU (lesson 69), or nothing where there is none."""
    if not folder.last.exists():
        return {}
    checkpoint = load_checkpoint(folder.last)
    _log.info(
        "run %s goes on at epoch %d, step %d",
        folder.path, checkpoint["epoch"], checkpoint["global_step"],
    )  # fmt: skip
    return checkpoint


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notices (devices, advertisements) and one of its warnings off the screen."""
    names = ("pytorch_lightning", "lightning_fabric")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        # Lightning 2.6.6 on torch 2.13: CombinedLoader still makes a LeafSpec; not ours to mend.
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        for name in names:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
