"""What the jobs of a sweep are doing: a live table on a terminal, one line a change elsewhere."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from bgb.infra.cost import dollars

_LOG = logging.getLogger(__name__)
_SUMMARY_EVERY_S = 60.0
_MAX_ROWS = 40  # of the live table; finished and waiting jobs are summed up below it
_OF_THE_WORKER = frozenset({"state", "attempt", "started", "seconds", "at", "call_id", "task_id"})
_COLOURS = {
    **{"running": "cyan", "done": "green", "failed": "red"},
    **{"preempted": "yellow", "cancelled": "yellow"},
}


@dataclass(frozen=True)
class Row:
    """One job as the table shows it.

    Attributes
    ----------
    state : queued, running, preempted, done, failed or cancelled.
    values : what the job reported: epoch, step, metrics.
    elapsed_s : seconds on the machine, all attempts together.
    """

    num: int
    overrides: str
    state: str
    attempt: int = 1
    values: Mapping[str, float | str] = field(default_factory=dict)
    elapsed_s: float = 0.0
    usd: float = 0.0

    @property
    def state_text(self) -> str:
        """State, and how often the job had to start again."""
        return self.state if self.attempt < 2 else f"{self.state} (attempt {self.attempt})"


def progress_text(values: Mapping[str, float | str]) -> str:
    """Return what a job reported in one line: `epoch 3/10, step 120, val_auroc 0.91`."""
    shown = {key: value for key, value in values.items() if key not in _OF_THE_WORKER}
    parts = []
    for key in ("epoch", "step"):
        if key in shown:
            most = shown.pop(f"max_{key}s", None)
            parts.append(f"{key} {_number(shown.pop(key))}" + (f"/{_number(most)}" if most else ""))
    return ", ".join([*parts, *(f"{key} {_number(value)}" for key, value in shown.items())])


def elapsed_text(seconds: float) -> str:
    """Return h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def summary(rows: Sequence[Row]) -> str:
    """Return how many jobs are in which state, and what they have cost so far."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{len(rows)} jobs: {states}; {dollars(sum(row.usd for row in rows))} so far"


def table(rows: Sequence[Row], title: str) -> Table:
    """Return the table; where there are many jobs, those that move come first."""
    drawn = Table(title=title, caption=summary(rows), title_justify="left")
    for name in ("job", "overrides", "state", "progress"):
        drawn.add_column(name, overflow="fold")
    for name in ("elapsed", "cost"):
        drawn.add_column(name, justify="right", no_wrap=True)
    for row in _shown(rows):
        drawn.add_row(
            str(row.num),
            row.overrides,
            row.state_text,
            progress_text(row.values),
            elapsed_text(row.elapsed_s),
            dollars(row.usd),
            style=_COLOURS.get(row.state, ""),
        )
    return drawn


class Board:
    """Context manager: `show(rows)` as often as there is something new."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._redirected: list[tuple[Any, Any]] = []
        self._states: dict[int, str] = {}
        self._last_summary_s = time.monotonic()
        self._rows: Sequence[Row] = ()

    def __enter__(self) -> "Board":
        if self._console.is_terminal:
            own = sys.stderr
            self._live.start()
            self._redirect_log(own)
        return self

    def show(self, rows: Sequence[Row]) -> None:
        """Draw the table anew, or log what changed."""
        self._rows = rows
        if self._live.is_started:
            self._live.update(table(rows, self._title), refresh=True)
        else:
            self._log_changes(rows)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handler, stream in self._redirected:
            handler.setStream(stream)
        if self._live.is_started:
            self._live.stop()
            self._console.print(table(self._rows, self._title))
        elif self._rows:
            _LOG.info("%s", summary(self._rows))

    def _redirect_log(self, own: Any) -> None:  # Any: a text stream
        """Let log lines appear above the live table: handlers kept the stream of before."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in (own, sys.stdout):
                self._redirected.append((handler, handler.stream))
                handler.setStream(sys.stderr)

    def _log_changes(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if self._states.get(row.num) != row.state_text:
                self._states[row.num] = row.state_text
                _LOG.info("job %d (%s): %s", row.num, row.overrides, row.state_text)
        if time.monotonic() - self._last_summary_s > _SUMMARY_EVERY_S:
            self._last_summary_s = time.monotonic()
            for row in rows:
                if row.state == "running":
                    _LOG.info("job %d: %s", row.num, progress_text(row.values))
            _LOG.info("%s", summary(rows))


def _shown(rows: Sequence[Row]) -> list[Row]:
    if len(rows) <= _MAX_ROWS:
        return list(rows)
    order = ["running", "preempted", "failed", "cancelled", "queued", "done"]
    first = sorted(rows, key=lambda row: order.index(row.state))[:_MAX_ROWS]
    return sorted(first, key=lambda row: row.num)


def _number(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
