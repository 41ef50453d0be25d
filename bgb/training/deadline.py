"""Deadline: what would not fit into the time left is not begun (lesson 41).

The predecessor was killed by its 24 h limit in the midst of a validation of 6 h. Here a validation,
or the next step and its checkpoint, is begun only if as long a one as before still fits. What was
measured travels in the checkpoint, for the next session has a limit too.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.exceptions import SIGTERMException

from bgb import job
from bgb.training.checkpoint import Checkpoints
from bgb.training.orderly import stop_if_asked

_log = logging.getLogger(__name__)
_SAFETY = 1.25  # things may take longer than before
_END_S = 5.0  # to close loggers and files
_FORGET = 0.9  # of a maximum at each new value: a slow first step does not count for ever


def no_limit() -> float:
    """Return the seconds left of a session without end."""
    return math.inf


class Deadline(Callback):
    """Stop the run in an orderly way while there is time for it.

    Parameters
    ----------
    seconds_left : time until this session ends by force.
    clock : seconds of a monotonic clock.
    """

    def __init__(
        self,
        seconds_left: Callable[[], float] = no_limit,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.seconds_left, self.clock = seconds_left, clock
        self._window_s = self._step_s = 0.0  # of validation, of training
        self._step_began = clock()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step_began = self.clock()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step_began = self.clock()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Ask for a stop when another step and a checkpoint would not fit."""
        now = self.clock()
        self._step_s = max(now - self._step_began, _FORGET * self._step_s)
        self._step_began = now
        needed_s = self._step_s + _save_s(trainer)
        if not trainer.received_sigterm and not self._fits(needed_s):
            self._say("another step and its checkpoint", needed_s)
            job.current().stop_early()  # Lightning raises once this batch is accounted for

    @contextlib.contextmanager
    def validation(self, trainer: pl.Trainer, num_windows: int = 1) -> Iterator[None]:
        """Time a validation.

        Parameters
        ----------
        num_windows : that it scores; one where all validations are alike.

        Raises
        ------
        SIGTERMException : it would not fit, or the run was asked to stop.
        """
        stop_if_asked(trainer)
        needed_s = num_windows * self._window_s + _save_s(trainer)
        if not self._fits(needed_s):
            self._say("the validation", needed_s)
            job.current().stop_early()
            raise SIGTERMException
        began = self.clock()
        yield
        window_s = (self.clock() - began) / num_windows
        self._window_s = max(window_s, _FORGET * self._window_s)

    def stop_if_over(self, trainer: pl.Trainer) -> None:
        """Stop within a validation that takes longer than was thought.

        Raises
        ------
        SIGTERMException : a checkpoint just fits, or the run was asked to stop.
        """
        stop_if_asked(trainer)
        needed_s = _save_s(trainer)
        if not self._fits(needed_s):
            self._say("a checkpoint", needed_s)
            job.current().stop_early()
            raise SIGTERMException

    def state_dict(self) -> dict[str, Any]:  # Any: Lightning's signature
        return {"window_s": self._window_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # Any: Lightning's signature
        self._window_s = state_dict["window_s"]

    def _fits(self, needed_s: float) -> bool:
        return _SAFETY * needed_s + _END_S <= self.seconds_left()

    def _say(self, what: str, needed_s: float) -> None:
        _log.warning(
            "%s takes about %.0f s and would not fit into the %.0f s left of this session "
            "(trainer.max_hours, or the hours of the rented machine): stopping",
            what, needed_s, max(0.0, self.seconds_left()),
        )  # fmt: skip


def _save_s(trainer: pl.Trainer) -> float:
    """Return what the last checkpoint took to write and to publish."""
    callbacks = trainer.checkpoint_callbacks
    return max((each.save_s for each in callbacks if isinstance(each, Checkpoints)), default=0.0)
