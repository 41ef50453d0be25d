"""Checkpoints: written atomically, at every epoch, every few minutes and on SIGTERM.

`last.ckpt` is where the run continues, `best.ckpt` what is evaluated. The best score so far and the
state of the random generator travel inside (lessons 65 and 69). Lightning's own ModelCheckpoint
has no atomic write and forgets the best score when a folder moves.
"""

import logging
import math
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor

from bgb.errors import RunError
from bgb.files import write_atomically

_log = logging.getLogger(__name__)


def load_checkpoint(path: Path) -> dict[str, Any]:  # Any: a Lightning checkpoint
    """Load a checkpoint onto the CPU (lesson 69).

    Raises
    ------
    RunError : the file is torn, or no checkpoint.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise RunError(
            f"{path} cannot be read ({str(error).splitlines()[0]}): put a sound copy there, or "
            "remove the run folder and repeat the command"
        ) from error
    return checkpoint


def best_score(path: Path) -> float:
    """Return the best value of the monitored metric that the last checkpoint knows of."""
    return float(load_checkpoint(path)["callbacks"][Checkpoints.__qualname__]["best_score"])


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint whole or not at all."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],  # Any: Lightning's signature
        path: str | Path,
        storage_options: object | None = None,
    ) -> None:
        """Save through a temporary file; `storage_options` is Lightning's and stays unused."""
        assert storage_options is None
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))


class Checkpoints(Checkpoint):
    """Keep `last` and `best` up to date.

    Parameters
    ----------
    last, best : paths of the two files.
    monitor : metric that decides which is best; not a number never wins.
    mode : "max" or "min".
    minutes : time between two checkpoints within an epoch.
    saved : called when `last` is on disk: a worker publishes it, provenance counts the time.
    clock : seconds of a monotonic clock.
    """

    def __init__(
        self,
        last: Path,
        best: Path,
        *,
        monitor: str,
        mode: str,
        minutes: float,
        saved: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.last, self.best = last, best
        self.monitor, self.mode = monitor, mode
        self.interval_s = 60 * minutes
        self.saved, self.clock = saved, clock
        self.best_score: float = math.nan
        self._saved_step = -1
        self._saved_at = clock()
        self._random_state: dict[str, list[Tensor] | Tensor] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the random generators last, so that nothing draws from them in between."""
        if self._random_state is not None:
            _set_random_state(self._random_state)
            self._random_state = None
        self._saved_at = self.clock()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Save when the last checkpoint is old."""
        if self.clock() - self._saved_at >= self.interval_s:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save best where the metric was computed and won, then last, which knows of it."""
        score = trainer.callback_metrics.get(self.monitor)
        if score is not None and self._wins(float(score)):
            self.best_score = float(score)
            trainer.save_checkpoint(self.best)
        self._save(trainer)

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
        """Add the position of the loader (lesson 67) and the id of the W&B run (lesson 85)."""
        loader: Any = trainer.train_dataloader  # Any: Lightning does not know our loader
        checkpoint["loader"] = loader.state_dict()
        ids = [each.version for each in trainer.loggers if isinstance(each, WandbLogger)]
        checkpoint["wandb_id"] = ids[0] if ids else None

    def state_dict(self) -> dict[str, Any]:  # Any: Lightning's signature
        return {"best_score": self.best_score, "random": _random_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # Any: Lightning's signature
        self.best_score = state_dict["best_score"]
        self._random_state = state_dict["random"]

    def _wins(self, score: float) -> bool:
        if math.isnan(self.best_score) and not self.best.exists():
            return True  # something must be best, even without a number
        if math.isnan(score) or math.isnan(self.best_score):
            return not math.isnan(score)
        return score > self.best_score if self.mode == "max" else score < self.best_score

    def _save(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.last)
        self._saved_step, self._saved_at = trainer.global_step, self.clock()
        _log.debug("checkpoint at step %d: %s", trainer.global_step, self.last)
        self.saved()


def _random_state() -> dict[str, list[Tensor] | Tensor]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _set_random_state(state: dict[str, Any]) -> None:  # Any: see _random_state
    """Set the generators; their state lives on the CPU wherever the model is (lesson 69)."""
    torch.set_rng_state(state["cpu"].cpu())
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([each.cpu() for each in state["cuda"]])
