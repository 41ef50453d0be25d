"""Which of two scores is better, and early stopping, which asks the same question."""

import logging
import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

_log = logging.getLogger(__name__)
MAX_EPOCHS, PATIENCE, BUDGET = "max_epochs", "patience", "budget"


def is_better(score: float, than: float, mode: str, *, by_more_than: float = 0.0) -> bool:
    """Tell whether a score wins; not a number never wins, and any number beats it.

    Parameters
    ----------
    mode : "max" or "min".
    """
    if math.isnan(score) or math.isnan(than):
        return not math.isnan(score)
    gain = score - than if mode == "max" else than - score
    return gain > by_more_than


class EarlyStopping(Callback):
    """End the training after `patience` validations in a row without improvement.

    The learning rate's schedule knows nothing of it. Its state travels in every checkpoint (lesson
    65), so that a run killed after its end ends at once. Place it before `Checkpoints`.

    Parameters
    ----------
    score : the monitored metric of the epoch that ends, None without validation; and
    mode : its direction: those of the best checkpoint.
    patience : validations; 0 = never stop.
    min_delta : an improvement must be larger than this.
    """

    def __init__(
        self, score: Callable[[], float | None], *, mode: str, patience: int, min_delta: float
    ) -> None:
        super().__init__()
        self.score, self.mode = score, mode
        self.patience, self.min_delta = patience, min_delta
        self.reference = math.nan
        self.num_waited = 0

    @property
    def is_over(self) -> bool:
        return 0 < self.patience <= self.num_waited

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop |= self.is_over

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count a validation; an epoch without one counts for nothing."""
        score = self.score()
        if score is None:
            return
        self.count(score)
        if self.is_over:
            trainer.should_stop = True
            _log.info(
                "no improvement by more than %g in %d validations (best %.4g): training ends",
                self.min_delta, self.num_waited, self.reference,
            )  # fmt: skip

    def count(self, score: float) -> None:
        """Take the score of one more validation into account."""
        if is_better(score, self.reference, self.mode, by_more_than=self.min_delta):
            self.reference, self.num_waited = score, 0
        else:
            self.num_waited += 1

    def state_dict(self) -> dict[str, Any]:  # Any: Lightning's signature
        return {"reference": self.reference, "num_waited": self.num_waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # Any: Lightning's signature
        self.reference, self.num_waited = state_dict["reference"], state_dict["num_waited"]
