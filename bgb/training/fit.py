"""From a configuration to a trained run folder: data, detector, trainer, fit; resumed where it was.

The parts come from `bgb.training.build`.
"""

import contextlib
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

import pytorch_lightning as pl

from bgb import job
from bgb.config.data import SPLITS
from bgb.config.schema import TrainConfig
from bgb.data.check import summarise
from bgb.data.key import cache_key
from bgb.data.module import EegDataModule
from bgb.detectors import Detector
from bgb.training import provenance
from bgb.training.budget import Budget
from bgb.training.build import (
    build_module,
    build_trainer,
    build_validation,
    seeded_detector,
)
from bgb.training.deadline import Deadline
from bgb.training.lightning import quiet_lightning
from bgb.training.loggers import close_loggers
from bgb.training.orderly import ends_orderly
from bgb.training.processes import followers
from bgb.training.provenance import Spending
from bgb.training.resume import find_resume_point
from bgb.training.run_folder import RunFolder
from bgb.training.speed import build_speed
from bgb.training.stopping import BUDGET, MAX_EPOCHS, PATIENCE

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
    minutes = config.trainer.budget_minutes
    budget = Budget(math.inf if minutes is None else 60 * minutes)
    validation = build_validation(config, data, detector, deadline, budget)
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
    _log.info("run %s: %s, %d parameters", folder.path, config.model.label, num_parameters)
    with (
        _recorded(config, folder, data, trainer, spending, budget),
        followers(config, trainer.strategy.root_device, checkpoint=point.path if point else None),
        ends_orderly(lambda: trainer.global_step),
    ):
        module = build_module(
            config,
            detector,
            failures=folder.path / "failures",
            recordings=[each.recording_id for each in data.cache.split("train")],
            budget=budget,
        )
        trainer.fit(
            module,
            train_dataloaders=loader,
            ckpt_path=point.path if point else None,
            weights_only=True,
        )
        provenance.note(folder, batches_left_out=module.num_skipped)


@contextlib.contextmanager
def _recorded(
    config: TrainConfig,
    folder: RunFolder,
    data: EegDataModule,
    trainer: pl.Trainer,
    spending: Spending,
    budget: Budget,
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
        if config.trainer.budget_minutes is not None:
            provenance.note(folder, steps=trainer.global_step, trained_s=round(budget.spent_s, 1))
        all_epochs = trainer.current_epoch == config.trainer.max_epochs
        by = BUDGET if budget.is_over else MAX_EPOCHS if all_epochs else PATIENCE
        provenance.finish(folder, stopped=by)
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
