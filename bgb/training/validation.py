"""When a run validates, on which part of dev, at what price: the part is chosen before the first
step and stays the same, and its price is counted in windows, so that no clock decides a result.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, RichProgressBar, WeightAveraging
from rich.progress import Progress

from bgb.config.schema import TrainConfig
from bgb.config.training import is_due
from bgb.data.cache import Cache, CachedRecording
from bgb.detectors import Detector
from bgb.eeg.events import seizures
from bgb.errors import ConfigError
from bgb.evaluation.progress import WindowProgress
from bgb.evaluation.results import require_seizures
from bgb.evaluation.stitching import DetectorFacts, count_windows
from bgb.evaluation.subset import bounded_subset
from bgb.training.budget import Budget
from bgb.training.deadline import Deadline
from bgb.training.estimate import PASSES_OF_TRAINING, training_passes
from bgb.training.module import SeizureModule

_log = logging.getLogger(__name__)
_HOUR_S = 3600


@dataclass(frozen=True)
class DevPart:
    """The recordings of dev that every validation scores, and what a validation costs.

    Attributes
    ----------
    others : the rest of dev, which a full validation scores, too.
    num_windows, num_other_windows : forward passes for both.
    """

    recordings: tuple[CachedRecording, ...]
    others: tuple[CachedRecording, ...]
    num_windows: int
    num_other_windows: int

    def price(self, *, full: bool) -> int:
        """Return the forward passes of a validation of the part, or of all of dev."""
        return self.num_windows + (self.num_other_windows if full else 0)


def choose_dev(config: TrainConfig, cache: Cache, facts: DetectorFacts) -> DevPart:
    """Choose what is validated: `trainer.val_hours` of dev, cut down to `trainer.val_share`.

    Raises
    ------
    CacheError : dev holds no seizure.
    ConfigError : no recording with a seizure is as cheap as `trainer.val_share` asks for.
    """
    trainer, dev = config.trainer, cache.split("dev")
    require_seizures("dev", dev)

    def windows(recording: CachedRecording) -> int:
        return count_windows(facts, recording.num_seconds, overlap=config.evaluation.overlap)

    limit = trainer.val_share * training_passes(config)
    hours = [recording.duration_s / _HOUR_S for recording in dev]
    asked_for = bounded_subset(dev, hours, limit=trainer.val_hours, seed=config.seed)
    if sum(map(windows, asked_for)) <= limit:
        chosen = asked_for
    else:  # both bounds at once: the dearer of the two decides for each recording
        costs = [
            max(hour / trainer.val_hours, windows(recording) / limit)
            for hour, recording in zip(hours, dev, strict=True)
        ]
        chosen = bounded_subset(dev, costs, limit=1.0, seed=config.seed)
    names = {recording.recording_id for recording in chosen}
    others = tuple(recording for recording in dev if recording.recording_id not in names)
    part = DevPart(chosen, others, sum(map(windows, chosen)), sum(map(windows, others)))
    _refuse_too_dear(config, part.num_windows, limit)
    _announce(config, part, cut=chosen is not asked_for)
    return part


def _refuse_too_dear(config: TrainConfig, num_windows: int, limit: float) -> None:
    if num_windows <= limit:
        return
    raise ConfigError(
        f"trainer.val_share={config.trainer.val_share} allows a validation {int(limit)} windows "
        f"({PASSES_OF_TRAINING} passes x data.sampling.windows_per_epoch="
        f"{config.data.sampling.windows_per_epoch} x trainer.val_every_epochs="
        f"{config.trainer.val_every_epochs}), but no recording of dev with a seizure takes fewer "
        f"than {num_windows}; raise one of these keys, or lower evaluation.overlap="
        f"{config.evaluation.overlap}"
    )


def _announce(config: TrainConfig, part: DevPart, *, cut: bool) -> None:
    """Say what is validated; warn where it is less, or more, than `trainer.val_hours` asks for."""
    trainer, dev = config.trainer, (*part.recordings, *part.others)
    hours, dev_hours = (
        sum(r.duration_s for r in each) / _HOUR_S for each in (part.recordings, dev)
    )
    patients, dev_patients = (len({r.patient for r in each}) for each in (part.recordings, dev))
    share = part.num_windows / training_passes(config)
    _log.info(
        "validation: %d of %d recordings of dev, %d of %d patients, %.2f of %.2f h, %d seizures; "
        "%d windows, %.2g of the passes of training",
        *(len(part.recordings), len(dev), patients, dev_patients, hours, dev_hours),
        *(sum(len(seizures(r.events)) for r in part.recordings), part.num_windows, share),
    )
    if cut:
        _log.warning(
            "validation is cut down to %.2f h by trainer.val_share=%g; raise it, or "
            "data.sampling.windows_per_epoch, for the trainer.val_hours=%g asked for",
            *(hours, trainer.val_share, trainer.val_hours),
        )
    elif hours > trainer.val_hours:
        _log.warning(
            "every recording of dev with a seizure is longer than trainer.val_hours=%g: "
            "validation scores the shortest, %.2f h of one patient; raise trainer.val_hours",
            *(trainer.val_hours, hours),
        )


class Validate(Protocol):
    """What scores a detector in evaluation mode and returns `val/...` metrics.

    It calls `between` now and then: that raises when the run is to stop, and nothing is recorded.
    """

    def __call__(
        self,
        detector: Detector,
        /,
        *,
        full: bool,
        progress: WindowProgress,
        between: Callable[[], None],
    ) -> Mapping[str, float]: ...


class Validation(Callback):
    """Score the detector at the end of an epoch, with the weights that would be shipped.

    Parameters
    ----------
    part : what `validate` scores, for its price.
    every_epochs : epochs between validations; the last epoch is always validated.
    full_every_epochs : epochs between those on all of dev, and after the last epoch; 0 = never.
    deadline : keeps a validation that would not fit from beginning.
    budget : makes the epoch the last one, which is validated, when it is spent.

    Attributes
    ----------
    latest : the metrics of this epoch, or nothing.
    latest_s : seconds that they took.
    """

    def __init__(
        self,
        validate: Validate,
        part: DevPart,
        *,
        every_epochs: int = 1,
        full_every_epochs: int = 0,
        deadline: Deadline | None = None,
        budget: Budget | None = None,
    ) -> None:
        super().__init__()
        self.validate, self.part = validate, part
        self.deadline, self.budget = deadline or Deadline(), budget or Budget()
        self.every_epochs, self.full_every_epochs = every_epochs, full_every_epochs
        self.latest: dict[str, float] = {}
        self.latest_s = 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate when due."""
        self.latest, self.latest_s = {}, 0.0
        full = self._is_due(trainer, self.full_every_epochs)
        if not (full or self._is_due(trainer, self.every_epochs)):
            return
        started = time.monotonic()
        module = cast("SeizureModule", pl_module)
        num_windows = self.part.price(full=full)
        progress = WindowProgress("validation", num_windows, _bar(trainer))
        with (
            self.deadline.validation(trainer, num_windows),
            _shipped_weights(trainer, module),
            torch.inference_mode(),
            progress,
        ):
            metrics = self.validate(
                module.detector,
                full=full,
                progress=progress,
                between=partial(self.deadline.stop_if_over, trainer),
            )
        self.latest, self.latest_s = dict(metrics), time.monotonic() - started
        pl_module.log_dict(self.latest, logger=False)
        self.budget.look(trainer)

    def _is_due(self, trainer: pl.Trainer, every_epochs: int) -> bool:
        assert trainer.max_epochs is not None
        done = trainer.current_epoch + 1
        if self.budget.is_over:
            return every_epochs > 0
        return is_due(done, every=every_epochs, max_epochs=trainer.max_epochs)


def _bar(trainer: pl.Trainer) -> Progress | None:
    """Return Lightning's bar where there is one: two bars on a terminal overwrite each other."""
    bar = trainer.progress_bar_callback
    return bar.progress if isinstance(bar, RichProgressBar) else None


@contextlib.contextmanager
def _shipped_weights(trainer: pl.Trainer, module: SeizureModule) -> Iterator[None]:
    """Put the averaged weights in place, where there are any, and evaluation mode on."""
    callbacks: list[Callback] = vars(trainer)["callbacks"]  # untyped in Lightning
    averages = [each for each in callbacks if isinstance(each, WeightAveraging)]
    module.eval()
    for average in averages:
        average.on_validation_epoch_start(trainer, module)
    try:
        yield
    finally:
        for average in averages:
            average.on_validation_epoch_end(trainer, module)
        module.train()
