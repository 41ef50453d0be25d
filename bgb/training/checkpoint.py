"""Checkpoints: written atomically, at every epoch, every few minutes and on SIGTERM.

`last.ckpt` is where the run continues, `previous.ckpt` the one before it, `best.ckpt` what is
evaluated. The best score so far and the state of the random generator travel inside (lessons 65 and
69). Lightning's own ModelCheckpoint has no atomic write and forgets the best score when a folder
moves.

Killed between best and last, a run repeats the epoch's end with the score that the older
checkpoint knows, chooses again alike and writes the same best weights once more.
"""

import logging
import math
import os
import pickle
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor

from bgb.errors import RunError
from bgb.files import write_atomically
from bgb.training import epoch_end
from bgb.training.loggers import CsvLogger
from bgb.training.stopping import is_better

_log = logging.getLogger(__name__)
EPOCH_END_DUE = "epoch_end_due"
# What a damaged file raises, by where the damage lies: in the zip directory, a pickle or a tensor.
_FAULTS = (
    *(zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, OSError, EOFError),
    *(ValueError, KeyError, IndexError),
)
LARGEST_SHARE = 0.05  # of the time between two mid-epoch checkpoints that writing one may take


def load_checkpoint(path: Path) -> dict[str, Any]:  # Any: a Lightning checkpoint
    """Load a checkpoint onto the CPU (lesson 69).

    Raises
    ------
    RunError : the file is torn, or no checkpoint.
    """
    try:
        _check_sums(path)
        checkpoint: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except _FAULTS as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise RunError(
            f"{path} cannot be read ({reason}): put a sound copy there, or "
            "remove the run folder and repeat the command"
        ) from error
    return checkpoint


def _check_sums(path: Path) -> None:
    """Compare each member with its CRC, which torch does not look at."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} is damaged")


def best_score(path: Path) -> float:
    """Return the best value of the monitored metric that the last checkpoint knows of."""
    return float(load_checkpoint(path)["callbacks"][Checkpoints.__qualname__]["best_score"])


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint whole or not at all.

    Parameters
    ----------
    kept : path of a checkpoint -> where to keep the one that it replaces.
    """

    def __init__(self, kept: Mapping[Path, Path]) -> None:
        super().__init__()
        self.kept = kept

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],  # Any: Lightning's signature
        path: str | Path,
        storage_options: object | None = None,
    ) -> None:
        """Save through a temporary file; `storage_options` is Lightning's and stays unused."""
        assert storage_options is None
        target = Path(path)

        def write(file: IO[bytes]) -> None:
            torch.save(checkpoint, file)
            os.fsync(file.fileno())
            if target in self.kept and target.exists():
                # Killed right after this, the run goes on from the one that was kept.
                target.replace(self.kept[target])

        write_atomically(target, write)


class Checkpoints(Checkpoint):
    """Keep `last` and `best` up to date.

    Parameters
    ----------
    last, best : paths of the two files.
    score : the metric of the epoch that ends, which decides what is best; None without validation.
    mode : "max" or "min".
    minutes : time between two checkpoints within an epoch; more where writing one takes long.
    cut_short : tells whether this epoch ends before all its batches are done.
    saved : called when `last` is on disk: a worker publishes it, provenance counts the time.
    clock : seconds of a monotonic clock.
    """

    def __init__(
        self,
        last: Path,
        best: Path,
        *,
        score: Callable[[], float | None],
        mode: str,
        minutes: float,
        cut_short: Callable[[], bool] = lambda: False,
        saved: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.last, self.best = last, best
        self.score, self.mode = score, mode
        self.interval_s = 60 * minutes
        self.cut_short = cut_short
        self.saved, self.clock = saved, clock
        self.best_score: float = math.nan
        self.best_step: int | None = None
        self.save_s = 0.0  # what the last one took
        self._all_s, self._num_saved = 0.0, 0
        self._saved_step = -1
        self._saved_at = self._began = clock()
        self._epoch_ended = self._epoch_end_due = False
        self._random_state: dict[str, list[Tensor] | Tensor] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the random generators last, so that nothing draws from them in between."""
        if self._random_state is not None:
            _set_random_state(self._random_state)
            self._random_state = None
            self._saved_step = trainer.global_step
        if self._epoch_end_due:
            epoch_end.skip_to_it(trainer)
            trainer.should_stop = False  # whatever ends the run, that comes first
        self._saved_at = self._began = self.clock()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epoch_ended = False

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Save when the last checkpoint is old."""
        interval_s = max(self.interval_s, self.save_s / LARGEST_SHARE)
        if self.clock() - self._saved_at >= interval_s:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save best where the metric was computed and won, then last, which knows of it."""
        self._epoch_ended = True
        score = self.score()
        if score is not None and self._wins(score):
            self.best_score, self.best_step = score, trainer.global_step
            trainer.save_checkpoint(self.best)
        self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what the checkpoints cost."""
        whole_s = self.clock() - self._began
        _log.info(
            "%d checkpoints in this session: %.1f s, %.1f %% of it",
            self._num_saved, self._all_s, 100 * self._all_s / max(whole_s, 1e-9),
        )  # fmt: skip

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save on SIGTERM, which Lightning raises between batches; other errors may tear a step."""
        if isinstance(exception, SIGTERMException) and trainer.global_step != self._saved_step:
            self._save(trainer)

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        checkpoint: dict[str, Any],  # Any: Lightning's signature
    ) -> None:
        """Add the position of the loader (lesson 67), of metrics.csv and the W&B id (lesson 85)."""
        loader: Any = trainer.train_dataloader  # Any: Lightning does not know our loader
        checkpoint["loader"] = loader.state_dict()
        tables = [each for each in trainer.loggers if isinstance(each, CsvLogger)]
        checkpoint["metrics_rows"] = tables[0].sync() if tables else 0
        ids = [each.version for each in trainer.loggers if isinstance(each, WandbLogger)]
        checkpoint["wandb_id"] = ids[0] if ids else None
        if self._end_is_due(trainer):
            checkpoint["callbacks"][self.state_key][EPOCH_END_DUE] = True
            epoch_end.mark_due(checkpoint["loops"])

    def state_dict(self) -> dict[str, Any]:  # Any: Lightning's signature
        return {
            "best_score": self.best_score,
            "best_step": self.best_step,
            "random": _random_state(),
            EPOCH_END_DUE: False,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # Any: Lightning's signature
        self.best_score, self.best_step = state_dict["best_score"], state_dict["best_step"]
        self._random_state = state_dict["random"]
        self._epoch_end_due = state_dict[EPOCH_END_DUE]

    def _end_is_due(self, trainer: pl.Trainer) -> bool:
        """Tell whether the epoch's last step is done and what follows it is not."""
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        is_last = done == trainer.num_training_batches or self.cut_short()
        return is_last and not self._epoch_ended

    def _wins(self, score: float) -> bool:
        """Tell whether a score is the best; the first one is, even if it is not a number."""
        return self.best_step is None or is_better(score, self.best_score, self.mode)

    def _save(self, trainer: pl.Trainer) -> None:
        began = self.clock()
        trainer.save_checkpoint(self.last)
        _log.debug("checkpoint at step %d: %s", trainer.global_step, self.last)
        self.saved()
        self._saved_step, self._saved_at = trainer.global_step, self.clock()
        self._account(self._saved_at - began)

    def _account(self, save_s: float) -> None:
        """Count what a checkpoint took; say when it makes the next ones rarer."""
        was_bounded, self.save_s = self._is_bounded(), save_s
        self._num_saved, self._all_s = self._num_saved + 1, self._all_s + save_s
        if self._is_bounded() and not was_bounded:
            _log.info(
                "a checkpoint takes %.1f s: mid-epoch ones come every %.1f min, not every "
                "%.1f min (trainer.checkpoint_minutes), to stay below %.0f %% of the time",
                save_s, save_s / LARGEST_SHARE / 60, self.interval_s / 60, 100 * LARGEST_SHARE,
            )  # fmt: skip

    def _is_bounded(self) -> bool:
        return self.save_s / LARGEST_SHARE > self.interval_s


def _random_state() -> dict[str, list[Tensor] | Tensor]:
    """Return the state of the CPU's generator, and of the GPU's that this process trains on."""
    cuda = [torch.cuda.get_rng_state()] if _is_on_gpu() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(state: dict[str, Any]) -> None:  # Any: see _random_state
    """Set the generators; their state lives on the CPU wherever the model is (lesson 69)."""
    torch.set_rng_state(state["cpu"].cpu())
    if not _is_on_gpu():
        return
    if not state["cuda"]:
        _log.warning("the run was on a CPU before: what is drawn on this GPU starts anew")
        return
    torch.cuda.set_rng_state(state["cuda"][0].cpu())


def _is_on_gpu() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
