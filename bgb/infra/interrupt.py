"""Ctrl-C while jobs run elsewhere: counted, not raised, so that no ledger line is cut short; and
the command that goes on afterwards."""

import itertools
import os
import re
import shlex
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

_SLICE_S = 0.1
_NEEDS_QUOTES = re.compile(r"[^\w/.\-+=:@%]")


class Interrupts:
    """Context manager: counts Ctrl-C while the block runs; outside the main thread it does nothing.

    Parameters
    ----------
    notice : shown at once, but not upon the second one: the block may be waiting for an answer.
    double_s : longest time between two that count as one double Ctrl-C.
    """

    def __init__(self, notice: str, *, double_s: float) -> None:
        self._pressed_s: list[float] = []
        self._notice = notice.encode()
        self._double_s = double_s
        self._before: Any = None  # Any: what signal.signal returns

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    @property
    def count(self) -> int:
        """How often Ctrl-C was pressed."""
        return len(self._pressed_s)

    def wait(self, seconds: float) -> None:
        """Sleep, but at most until the next Ctrl-C."""
        before, end = self.count, time.monotonic() + seconds
        while self.count == before and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))

    def is_double(self) -> bool:
        """Tell whether Ctrl-C was pressed twice in quick succession, or is while this waits."""
        while not self._was_double():
            left = self._pressed_s[-1] + self._double_s - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _SLICE_S))
        return True

    def _was_double(self) -> bool:
        pairs = itertools.pairwise(self._pressed_s)
        return any(later - earlier <= self._double_s for earlier, later in pairs)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self._pressed_s.append(time.monotonic())
        if not self._was_double():
            os.write(2, b"\n" + self._notice + b"\n")  # print may not be interrupted by itself


def resume_command(sweep_dir: Path) -> str:
    """Return this program's command line with the folder of the sweep, whose default is a time."""
    # As it was typed: sys.argv lacks `-m bgb.train`, and the name of a command after `bgb`.
    words = [word for word in sys.orig_argv[1:] if not word.startswith("hydra.sweep.dir=")]
    is_program = bool(words) and not words[0].startswith("-") and not words[0].endswith(".py")
    python = [] if is_program else ["python"]
    path = str(sweep_dir)
    if _NEEDS_QUOTES.search(path):  # of Hydra's grammar
        escaped = path.replace("\\", "\\\\").replace("'", "\\'")
        path = f"'{escaped}'"
    return shlex.join([*python, *words, f"hydra.sweep.dir={path}"])
