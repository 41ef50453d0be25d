"""Budget: a run that ends when it has trained for so long, whatever it has reached by then.

Equal time for unequal detectors makes them comparable. What a clock decides is not reproducible:
two runs of one configuration end at different steps, with learning rates that differ by a little.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

_log = logging.getLogger(__name__)


class Budget(Callback):
    """End the training, as finished, when its seconds are spent; looked at between two batches.

    The epoch that is cut short ends like any other: with a validation and its checkpoints.
    Seconds of training and validation count, those of all sessions together; what a kill has
    undone does not, nor does the first step of a session, which imports and compiles. Place it
    before `Checkpoints`.

    Parameters
    ----------
    seconds : to spend; infinite = no budget.
    clock : seconds of a monotonic clock.

    Attributes
    ----------
    is_over : it was spent when last looked at.
    """

    def __init__(
        self, seconds: float = math.inf, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.seconds, self.clock = seconds, clock
        self.is_over = False
        self._before_s = 0.0
        self._began: float | None = None

    @property
    def spent_s(self) -> float:
        return self._before_s + (0.0 if self._began is None else self.clock() - self._began)

    def share(self) -> float:
        """Return the part of the budget that is spent, up to 1."""
        return min(1.0, self.spent_s / self.seconds)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End at once where an earlier session has spent it all."""
        self.look(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Begin to count after the first step; end after one that spends the rest."""
        if self._began is None:
            self._began = self.clock()
        self.look(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop after this epoch's end where that was still due when the session began."""
        trainer.should_stop |= self.is_over

    def look(self, trainer: pl.Trainer) -> None:
        """Ask for the end of the training when the budget is spent."""
        if not self.is_over and self.spent_s >= self.seconds:
            self.is_over = True
            _log.info(
                "ended by budget after %d steps: %.4g min of trainer.budget_minutes=%.4g spent",
                trainer.global_step, self.spent_s / 60, self.seconds / 60,
            )  # fmt: skip
        trainer.should_stop |= self.is_over

    def state_dict(self) -> dict[str, Any]:  # Any: Lightning's signature
        return {"spent_s": self.spent_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # Any: Lightning's signature
        self._before_s = state_dict["spent_s"]
