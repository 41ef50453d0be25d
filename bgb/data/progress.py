"""Progress of a build, counted in source bytes: a rich bar on a terminal, log lines elsewhere."""

import logging
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

_LOG = logging.getLogger(__name__)
_LINE_EVERY_S = 15.0


class ByteProgress:
    """Context manager: `advance(num_bytes, name)` after each file, or `reach` from time to time."""

    def __init__(self, title: str, total_bytes: int, num_files: int, *, bar: bool = True) -> None:
        self._title, self._total, self._num_files = title, max(1, total_bytes), num_files
        self._done, self._files = 0, 0
        self._started = self._last_line = time.monotonic()
        self._bar = _bar() if bar and Console(stderr=True).is_terminal else None

    def __enter__(self) -> "ByteProgress":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total, file="")
        else:
            _LOG.info("%s: %d files, %.1f MB", self._title, self._num_files, self._total / 1e6)
        return self

    def advance(self, num_bytes: int, name: str) -> None:
        """Count a finished file."""
        self.reach(self._done + num_bytes, self._files + 1, name)

    def reach(self, num_bytes: int, num_files: int, name: str) -> None:
        """Say how many bytes and files are finished by now, wherever they were."""
        self._done, self._files = num_bytes, num_files
        if self._bar is not None:
            self._bar.update(self._task, completed=num_bytes, file=name)
        elif num_bytes and time.monotonic() - self._last_line > _LINE_EVERY_S:
            self._last_line = time.monotonic()
            elapsed = self._last_line - self._started
            _LOG.info(
                "%s: %d of %d files, %.0f %%, %.0f s left",
                *(self._title, self._files, self._num_files, 100 * self._done / self._total),
                elapsed * (self._total - self._done) / max(1, self._done),
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[file]}"),
        console=Console(stderr=True),
    )
