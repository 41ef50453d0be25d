"""An orderly stop: between two steps or two batches of a validation, with a checkpoint.

SIGTERM asks for it, whoever sends it: a preemption, Slurm, the deadline, or the first Ctrl-C.
"""

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

_log = logging.getLogger(__name__)
_NOTICE = b"\nstopping after this step, with a checkpoint; Ctrl-C again stops at once\n"


def stop_if_asked(trainer: pl.Trainer) -> None:
    """Raise what Lightning raises between two batches, for it does not look in between."""
    if trainer.received_sigterm:
        raise SIGTERMException


@contextlib.contextmanager
def ends_orderly(step: Callable[[], int]) -> Iterator[None]:
    """Turn an orderly stop into the exit status 128 + signal, with a line that says so.

    Lightning alone would end with 0, as if all were done, and with 1 without a word upon Ctrl-C.

    Parameters
    ----------
    step : optimiser steps done.
    """
    with _first_ctrl_c_asks() as pressed:
        try:
            yield
        except SIGTERMException as stop:
            by = signal.SIGINT if pressed else signal.SIGTERM
            _log.warning(
                "stopped by %s at step %d; repeat the command to continue", by.name, step()
            )
            raise SystemExit(128 + by) from stop
        except Exception as error:
            if not pressed:
                raise
            # Ctrl-C reaches the compilers of torch.compile, too, and their end is no failure.
            _log.warning(
                "stopped by SIGINT at step %d, on the way to a checkpoint (%s: %s); repeat the "
                "command to continue from the one before", step(), type(error).__name__, error
            )  # fmt: skip
            raise SystemExit(128 + signal.SIGINT) from error
        except SystemExit as stop:
            if isinstance(stop.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from stop
            raise


@contextlib.contextmanager
def _first_ctrl_c_asks() -> Iterator[list[int]]:
    """Collect Ctrl-C; a handler that someone else has put in place stays."""
    pressed: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        if pressed or not callable(signal.getsignal(signal.SIGTERM)):
            raise KeyboardInterrupt
        pressed.append(number)
        os.write(2, _NOTICE)  # print may not be interrupted by itself
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield pressed
        return
    try:
        signal.signal(signal.SIGINT, ask)
    except ValueError:  # only the main thread may
        yield pressed
        return
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
