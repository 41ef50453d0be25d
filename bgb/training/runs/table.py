"""The list of runs: rows for programs, a table for people."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from bgb.training.runs.find import find_runs
from bgb.training.runs.record import RunRecord, read_record
from bgb.training.runs.report import Report, duration, number

# Which way is better, or newer; the others are sorted from small to large.
_FALLING = ("started", "best", "event_f1", "sensitivity", "auroc", "seconds", "usd")
_COLOURS = {"running": "cyan", "evaluated": "green", "failed": "red", "damaged": "red"}
# Columns that are left out where nothing differs; their value then stands below the table.
_SHARED = ("Corpus", "Model", "Monitor", "Sweep", "Device")

_COLUMNS: Mapping[str, Callable[[RunRecord], str]] = {
    "Run": lambda run: run.name,
    "Corpus": lambda run: run.corpus,
    "Model": lambda run: run.model,
    "Sweep": lambda run: run.sweep,
    "State": lambda run: run.state,
    "Epoch": lambda run: f"{run.epochs}/{run.max_epochs or '?'}",
    "Step": lambda run: f"{run.step:,}",
    "Monitor": lambda run: run.monitor,
    "Best": lambda run: number(run.best),
    "F1": lambda run: number(run.event_f1),
    "Sens.": lambda run: number(run.sensitivity),
    "FA/24 h": lambda run: number(run.fp_per_day, digits=1),
    "AUROC": lambda run: number(run.auroc),
    "Time": lambda run: duration(run.seconds),
    "$": lambda run: number(run.usd, digits=2),
    "Started": lambda run: run.started[:16].replace("T", " "),
    "Device": lambda run: run.device,
}
_LEFT = ("Run", "Corpus", "Model", "Sweep", "State", "Monitor", "Started", "Device")


def list_runs(results: Path, *, match: str, sort: str) -> Report:
    """Read every run whose name fits, in the order asked for; unknown values come last."""
    found = find_runs(results, match)
    records = [read_record(path, name) for name, path in found.items()]
    known = [run for run in records if getattr(run, sort) not in (None, "")]
    known.sort(key=lambda run: getattr(run, sort), reverse=sort in _FALLING)
    records = known + [run for run in records if run not in known]
    notes = [f"{run.name}: {run.state}: {run.remark}" for run in records if run.remark]
    if not records:
        notes = [f"no run below {results} fits match={match}"]
    return Report([asdict(run) for run in records], runs_table(records), tuple(notes))


def runs_table(records: Sequence[RunRecord]) -> Table:
    """Return the table; what all runs share stands below it."""
    shared = {name: {_COLUMNS[name](run) for run in records} for name in _SHARED}
    constant = {name: values.pop() for name, values in shared.items() if len(values) == 1}
    told = [f"{name.lower()} {value}" for name, value in constant.items() if value]
    table = Table(
        title=f"{len(records)} run{'s' if len(records) != 1 else ''}", title_justify="left"
    )
    table.caption, table.caption_justify = escape(f"of all: {', '.join(told)}"), "left"
    columns = [name for name in _COLUMNS if name not in constant]
    if not any(run.usd for run in records):
        columns.remove("$")
    for name in columns:
        left = name in _LEFT
        table.add_column(
            name,
            justify="left" if left else "right",
            overflow="fold",
            no_wrap=name not in ("Device", "Sweep"),
        )
    for run in records:
        cells = {name: escape(_COLUMNS[name](run)) for name in columns}
        colour = _COLOURS.get(run.state, "yellow")
        cells["State"] = f"[{colour}]{run.state}[/{colour}]"
        table.add_row(*cells.values())
    return table
