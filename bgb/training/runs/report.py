"""What an action found: rows for programs, a table for people, and notes for both."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Report:
    """Rows with the same keys, the table that shows them, and what must be said besides."""

    rows: Sequence[Mapping[str, Any]]  # Any: what JSON can hold
    table: Table
    notes: tuple[str, ...] = ()


def as_json(report: Report) -> str:
    """Return rows and notes as strict JSON."""
    rows = [{key: _strict(value) for key, value in row.items()} for row in report.rows]
    return json.dumps({"rows": rows, "notes": report.notes}, indent=2, allow_nan=False) + "\n"


def as_csv(report: Report) -> str:
    """Return the rows as CSV with a heading; unknown values are empty."""
    text = io.StringIO()
    if report.rows:
        writer = csv.DictWriter(text, report.rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(report.rows)
    return text.getvalue()


def number(value: float | None, *, digits: int = 3) -> str:
    """Return a number for people; a dash where it is unknown."""
    return "-" if value is None else f"{value:.{digits}f}"


def duration(seconds: float | None) -> str:
    """Return hours, minutes and seconds, as 1:02:03."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _strict(value: Any) -> Any:  # Any: what JSON can hold
    return None if isinstance(value, float) and not math.isfinite(value) else value
