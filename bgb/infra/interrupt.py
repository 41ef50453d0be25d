"""Ctrl-C while jobs run elsewhere: counted, not raised, so that no ledger line is cut short; and
the command that goes on afterwards."""

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
    notice : shown upon the first one, at once: the block may be waiting for an answer just then.

    Attributes
    ----------
    count : how often Ctrl-C was pressed.
    """

    def __init__(self, notice: str) -> None:
        self.count = 0
        self._notice = notice.encode()
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

    def wait(self, seconds: float) -> bool:
        """Sleep, but at most until the next Ctrl-C; tell whether there was one."""
        before, end = self.count, time.monotonic() + seconds
        while self.count == before and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))
        return self.count > before

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1:
            os.write(2, b"\n" + self._notice + b"\n")  # print may not be interrupted by itself


def resume_command(sweep_dir: Path) -> str:
    """Return this program's command line with the folder of the sweep, whose default is a time."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["-m", spec.name.removesuffix(".__main__")] if spec else sys.argv[:1]
    words = [word for word in sys.argv[1:] if not word.startswith("hydra.sweep.dir=")]
    path = str(sweep_dir)
    if _NEEDS_QUOTES.search(path):  # of Hydra's grammar
        escaped = path.replace("\\", "\\\\").replace("'", "\\'")
        path = f"'{escaped}'"
    return shlex.join(["python", *program, *words, f"hydra.sweep.dir={path}"])
