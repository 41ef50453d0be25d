"""Job: what a run may tell the place where it runs, and ask of it. On a laptop nothing happens.

Training reports its progress and says when files are worth keeping; the worker in a rented
container (bgb/infra) puts its own `Job` in place before the run begins.
"""

from collections.abc import Mapping
from pathlib import Path


class Job:
    """A run on this very machine: files are durable once written, and time costs nothing."""

    attempt: int = 1
    usd_per_hour: float = 0.0

    def progress(self, **values: float | str) -> None:
        """Show values (epoch, step, metric...) to whoever watches; never fails, never waits."""

    def publish(self) -> None:
        """Make what was written so far survive the end of this machine."""

    def add_output(self, folder: Path) -> None:
        """Name a folder whose files whoever started the job wants to have."""

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
