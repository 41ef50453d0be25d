"""Job: what a run may tell the place where it runs, and ask of it. On a laptop nothing happens.

Training reports its progress and says when files are worth keeping; the worker in a rented
container (bgb/infra) puts its own `Job` in place before the run begins.
"""

import math
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class Job:
    """A run on this very machine: files are durable once written, and time costs nothing."""

    attempt: int = 1
    usd_per_hour: float = 0.0

    @property
    def age_s(self) -> float:
        """Seconds since this attempt began, as far as they are paid for."""
        return 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds until this machine ends the run by force."""
        return math.inf

    def stop_early(self) -> None:
        """Ask the run for an orderly stop, as the place where it runs would at its deadline."""
        signal.raise_signal(signal.SIGTERM)

    def arguments(self) -> list[str]:
        """Return the command line, or what a launcher made of it."""
        return sys.argv[1:]

    def code(self) -> Mapping[str, str | bool] | None:
        """Return commit and changes of the code, where this machine lacks git; None = unknown."""
        return None

    def progress(self, **values: float | str) -> None:
        """Show values (epoch, step, metric...) to whoever watches; never fails, never waits."""

    def publish(self) -> None:
        """Make what was written so far survive the end of this machine."""

    def add_output(self, folder: Path) -> None:
        """Name a folder whose files whoever started the job wants to have."""

    @contextmanager
    def lease(self, folder: Path) -> Iterator[None]:
        """Own a run folder where its lock file cannot tell: between machines.

        Raises
        ------
        RunError : another living job owns it.
        """
        yield

    def provenance(self) -> Mapping[str, str]:
        """Return what identifies the machine: image, task, GPU; for provenance.json."""
        return {}


_current = Job()


def current() -> Job:
    """Return the job that this process carries out."""
    return _current


def set_current(job: Job) -> None:
    """Put the job of a worker in place."""
    global _current
    _current = job
