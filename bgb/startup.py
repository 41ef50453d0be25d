"""Start-up: which part of it took how long, said once at the first training step.

The clock runs from the start of the process, because imports are most of what is called slow. A
process that has trained before (a sweep on one machine, a notebook) counts from `begin`.
"""

import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

_marks: list[tuple[str, float]] = []  # part, seconds of the monotonic clock at which it ended


def begin() -> None:
    """Start the clock: the configuration is good, nothing heavy is imported yet."""
    now = time.monotonic()
    _marks[:] = [("", now)] if _has_trained() else [("", now - _age_s()), ("configuration", now)]


def reached(part: str) -> None:
    """Note that a part has ended; nothing where the clock was not started."""
    if _marks:
        _marks.append((part, time.monotonic()))


def finish() -> str | None:
    """Stop the clock and return what took how long; None where it was not started."""
    if not _marks:
        return None
    took = [(part, end - start) for (_, start), (part, end) in pairwise(_marks)]
    total_s = _marks[-1][1] - _marks[0][1]
    _marks.clear()
    parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in took)
    return f"{total_s:.2f} s after the start ({time.process_time():.2f} s of CPU): {parts}"


@contextmanager
def uncollected() -> Iterator[None]:
    """Import without garbage collection: it walks a growing heap again and again for nothing.

    What was imported stays out of later collections too. A process that has trained before is left
    alone: what a run left behind must be collected.
    """
    if _has_trained() or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _has_trained() -> bool:
    return "torch" in sys.modules


def _age_s() -> float:
    """Return the seconds since this process started; 0 where only Linux could tell."""
    stat = Path("/proc/self/stat")
    if not stat.exists():
        return 0.0
    # proc(5): field 22, counted behind the name, which may hold spaces, in ticks since boot
    started = int(stat.read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
