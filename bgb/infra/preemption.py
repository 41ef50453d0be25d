"""An orderly end for a task that must stop: its machine goes, its attempt or its hours end.

Modal announces a preemption with SIGINT, about 30 s before the end. A task that handles SIGTERM,
as Lightning does, is asked that way, for it then stops between two batches with a checkpoint; all
others get KeyboardInterrupt. Lightning makes `sys.exit(1)` of a KeyboardInterrupt, which Modal
would take for the job's end: whoever runs the task looks at `reason` instead (see worker.py).
"""

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

_log = logging.getLogger(__name__)
PREEMPTED, BUDGET = "preempted", "budget"
_MARGIN_S = 300.0  # to stop between two batches and write a checkpoint


class OrderlyStop:
    """Within it SIGINT and the deadline stop the task; only in the main thread.

    Parameters
    ----------
    seconds_left : time until the task's hours are used up.
    attempt_s : time until Modal ends this attempt; a little before, it stops as if preempted.
    grace_s : what a preempted task may take to end by itself before it is interrupted.
    budget_grace_s : the same when its hours are used up.
    """

    def __init__(
        self,
        seconds_left: float,
        *,
        attempt_s: float = math.inf,
        grace_s: float = 20.0,
        budget_grace_s: float = 300.0,
    ) -> None:
        self.reason: str | None = None
        self._grace_s = {PREEMPTED: grace_s, BUDGET: budget_grace_s}
        self._next_reason = PREEMPTED
        attempt_s -= min(_MARGIN_S, 0.1 * attempt_s)
        self._reason_at_deadline = BUDGET if seconds_left <= attempt_s else PREEMPTED
        self._ends_at = time.monotonic() + min(seconds_left, attempt_s)
        self._deadline = self._timer(min(seconds_left, attempt_s), self.on_deadline)
        self._grace: threading.Timer | None = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._on_interrupt)
        self._deadline.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._deadline.cancel()
        if self._grace is not None:
            self._grace.cancel()
        signal.signal(signal.SIGINT, self._before)

    @property
    def seconds_left(self) -> float:
        """Time until the task is asked to stop."""
        return self._ends_at - time.monotonic()

    def on_deadline(self) -> None:
        """Ask the task to stop: its time is over, or what it would begin next does not fit."""
        if self.reason is None:
            self._next_reason = self._reason_at_deadline
            _interrupt_main_thread()

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self.reason is not None:  # the second one: the grace is over, or Modal insists
            raise KeyboardInterrupt
        self.reason = self._next_reason
        _log.warning("%s: the job is asked to stop", self.reason)
        if not callable(signal.getsignal(signal.SIGTERM)):
            raise KeyboardInterrupt
        self._grace = self._timer(self._grace_s[self.reason], _interrupt_main_thread)
        self._grace.start()
        os.kill(os.getpid(), signal.SIGTERM)

    @staticmethod
    def _timer(seconds: float, function: Callable[[], None]) -> threading.Timer:
        # threading cannot wait longer than this; Modal ends an attempt after a day anyway.
        timer = threading.Timer(min(max(seconds, 0.0), threading.TIMEOUT_MAX), function)
        timer.daemon = True
        return timer


def _interrupt_main_thread() -> None:
    """Send a real signal, which unlike `_thread.interrupt_main` wakes a sleeping system call."""
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGINT)
