"""Progress of scoring, counted in windows, with the time left (lesson 39: it looked hung).

A row in the bar that is on the terminal already, log lines elsewhere.
"""

import logging
import time
from collections.abc import Callable
from types import TracebackType

from rich.progress import Progress
from torch import Tensor

from bgb.data.windows import WindowBatch
from bgb.evaluation.stitching import Predict

_log = logging.getLogger(__name__)
_LINE_EVERY_S = 30.0


class WindowProgress:
    """Context manager; `counted` wraps what judges the windows.

    Parameters
    ----------
    bar : a started bar; None = log lines.
    clock : seconds of a monotonic clock.
    """

    def __init__(
        self,
        title: str,
        num_windows: int,
        bar: Progress | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._total, self._bar, self._clock = title, num_windows, bar, clock
        self._done = 0
        self._started = self._last_line = clock()

    def __enter__(self) -> "WindowProgress":
        if self._bar is not None:
            self._task = self._bar.add_task(self._title, total=self._total)
        return self

    def counted(self, predict: Predict) -> Predict:
        """Return `predict` with its windows counted."""

        def counting(batch: WindowBatch) -> Tensor:
            logits_BK = predict(batch)
            self.advance(len(batch.start_B))
            return logits_BK

        return counting

    def advance(self, num_windows: int) -> None:
        """Count windows, or steps of a causal detector, which are as long."""
        self._done += num_windows
        now = self._clock()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, refresh=True)
        elif now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            left_s = (now - self._started) * (self._total - self._done) / self._done
            _log.info(
                "%s: %d of %d windows, %.0f %%, %.0f s left",
                *(self._title, self._done, self._total, 100 * self._done / self._total, left_s),
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.remove_task(self._task)
