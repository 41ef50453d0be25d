"""Measure how fast a machine trains and scores, with the very loader, step and stitching of a run.

The first steps and the first recording are not counted: they hold compilation, choice of kernels
and cold files.
"""

import itertools
import logging
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

import bgb
from bgb.config.data import SPLITS
from bgb.config.schema import TrainConfig
from bgb.data.cache import CachedRecording
from bgb.data.device import find_device
from bgb.data.module import EegDataModule
from bgb.data.windows import WindowBatch
from bgb.detectors import Detector
from bgb.eeg.events import seizures
from bgb.errors import ConfigError
from bgb.evaluation.baseline import fit_baseline
from bgb.evaluation.evaluate import stitch_all
from bgb.evaluation.roc import rank_seconds
from bgb.evaluation.series import RecordingScore
from bgb.evaluation.stitching import count_windows, stitch_recording
from bgb.evaluation.threshold import choose_threshold
from bgb.training.averaging import MovingAverage
from bgb.training.build import (
    build_data,
    build_module,
    check_machine,
    predict,
    seeded_detector,
)
from bgb.training.estimate import Throughput
from bgb.training.lightning import quiet_lightning, trainer_options
from bgb.training.provenance import device_name
from bgb.training.validation import choose_dev

_log = logging.getLogger(__name__)
_HOUR_S = 3600
# Shares of the seconds: warm-up and training, stitching, baseline.
_WARM_UP, _TRAIN, _STITCH, _BASELINE = 0.1, 0.4, 0.3, 0.2
_MIN_STEPS = 3  # of warm-up, and counted
_BASELINE_SAMPLE_S = 2000  # seconds of EEG to fit on; the time grows in proportion

_ResultT = TypeVar("_ResultT")


def probe(config: TrainConfig, seconds: float) -> Throughput:
    """Open the data of a run, building what its cache lacks, and measure."""
    check_machine(config)
    return measure(config, build_data(config), seconds=seconds)


def measure(config: TrainConfig, data: EegDataModule, *, seconds: float) -> Throughput:
    """Train and score for about `seconds`; nothing is written.

    Raises
    ------
    ConfigError : the detector does not fit the window, or several devices are to be used.
    RunError : the loss is not finite.
    """
    if config.trainer.devices > 1:
        raise ConfigError(
            f"trainer.devices={config.trainer.devices}: a measurement is of one device; plan with "
            "trainer.devices=1 and data.batch_size divided by as many, or without probe=true"
        )
    detector = seeded_detector(config, data)
    windows_per_s, device = _train(config, data, detector, seconds=seconds)
    scored = _score(config, data, detector.to(device).eval(), seconds=_STITCH * seconds)
    fit_s, baseline = _baseline(config, data, seconds=_BASELINE * seconds)
    speed = Throughput(
        windows_per_s=windows_per_s,
        scored_eeg_hours_per_s=scored,
        windows_per_eeg_hour=_windows_per_hour(config, data, detector),
        baseline_fit_s=fit_s,
        baseline_eeg_hours_per_s=baseline,
        split_hours={split: _hours(data.cache.split(split)) for split in SPLITS},
        device=device_name(device),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        versions={"bgb": bgb.__version__, "torch": torch.__version__, "on": platform.platform()},
    )
    _log.info(
        "%s on %s: %.4g windows/s in training, %.4g h of EEG scored in a second",
        config.model.label, speed.device, windows_per_s, scored,
    )  # fmt: skip
    return speed


class _Clock(Callback):
    """Count windows from the end of the warm-up on, and stop the training when time is up."""

    def __init__(self, *, warm_up_s: float, counted_s: float) -> None:
        super().__init__()
        self._warm_up_s, self._counted_s = warm_up_s, counted_s
        self._began = time.perf_counter()
        self._num_steps = 0
        self._is_warm = False
        self.windows = 0
        self.seconds = 0.0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: WindowBatch,
        batch_idx: int,
    ) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._num_steps += 1
        self.windows += len(batch.start_B)
        self.seconds = time.perf_counter() - self._began
        if self._num_steps < _MIN_STEPS:
            return
        if not self._is_warm and self.seconds >= self._warm_up_s:
            self._is_warm, self._num_steps, self.windows = True, 0, 0
            self._began = time.perf_counter()
        elif self._is_warm and self.seconds >= self._counted_s:
            trainer.should_stop = True


def _train(
    config: TrainConfig, data: EegDataModule, detector: Detector, *, seconds: float
) -> tuple[float, torch.device]:
    """Return the windows trained on in a second, and where."""
    clock = _Clock(warm_up_s=_WARM_UP * seconds, counted_s=_TRAIN * seconds)
    decay = config.trainer.ema_decay
    device = find_device(config.trainer.accelerator)
    averaging: list[Callback] = [MovingAverage(decay, device)] if decay else []
    with quiet_lightning():
        trainer = pl.Trainer(
            **{**trainer_options(config), "max_epochs": 1_000_000},  # the clock ends it
            logger=False,
            callbacks=[*averaging, clock],
            enable_checkpointing=False,
            enable_progress_bar=False,
        )
        trainer.fit(build_module(config, detector), train_dataloaders=data.train_dataloader())
    return clock.windows / clock.seconds, trainer.strategy.root_device


def _score(
    config: TrainConfig, data: EegDataModule, detector: Detector, *, seconds: float
) -> float:
    """Return hours of EEG stitched, ranked and searched for a threshold in a second."""
    subset = choose_dev(config, data.cache, detector).recordings
    # A threshold needs a seizure to be chosen on.
    ordered = sorted(subset, key=lambda recording: not seizures(recording.events))
    run = partial(predict, detector)
    stitch_all(run, detector, [min(ordered, key=lambda each: each.duration_s)], config.evaluation)

    def stitch(recording: CachedRecording) -> RecordingScore:
        return stitch_recording(run, detector, recording, config.evaluation)

    scores, stitched_s = _repeat(stitch, ordered, seconds)
    began = time.perf_counter()
    rank_seconds(scores)
    choose_threshold(scores, config.postprocess)
    return _hours(scores) / (stitched_s + time.perf_counter() - began)


def _windows_per_hour(config: TrainConfig, data: EegDataModule, detector: Detector) -> float:
    dev, overlap = data.cache.split("dev"), config.evaluation.overlap
    return sum(count_windows(detector, r.num_seconds, overlap=overlap) for r in dev) / _hours(dev)


def _baseline(
    config: TrainConfig, data: EegDataModule, *, seconds: float
) -> tuple[float, float | None]:
    """Return the seconds of fitting the baseline, and the hours of EEG it scores in a second."""
    if not config.evaluation.baseline:
        return 0.0, None
    wanted_s = config.evaluation.baseline_seconds
    sample_s = min(wanted_s, _BASELINE_SAMPLE_S)
    train, dev = data.cache.split("train"), data.cache.split("dev")
    available_s = _HOUR_S * _hours(train)
    began = time.perf_counter()
    fitted = fit_baseline(train, max_seconds=sample_s, seed=config.seed)
    fit_s = time.perf_counter() - began
    fitted.score(min(dev, key=lambda each: each.duration_s))
    scores, scored_s = _repeat(fitted.score, dev, seconds)
    grown = max(1.0, min(wanted_s, available_s) / sample_s)
    return fit_s * grown, _hours(scores) / scored_s


def _repeat(
    score: Callable[[CachedRecording], _ResultT],
    recordings: Sequence[CachedRecording],
    seconds: float,
) -> tuple[list[_ResultT], float]:
    """Score recordings, over and over, until the seconds are over; at least one."""
    began = time.perf_counter()
    scores: list[_ResultT] = []
    for recording in itertools.cycle(recordings):
        scores.append(score(recording))
        if time.perf_counter() - began >= seconds:
            break
    return scores, time.perf_counter() - began


def _hours(recordings: Sequence[CachedRecording] | Sequence[RecordingScore]) -> float:
    return sum(recording.duration_s for recording in recordings) / _HOUR_S
