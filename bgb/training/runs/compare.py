"""Two runs beside each other: where their configurations differ, what came out, what made them.

A difference between scores means something only where both were scored on the same patients in the
same way; whatever speaks against that is said with the table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from bgb.config.data import SPLITS
from bgb.training.runs.find import find_run
from bgb.training.runs.record import Json, RunFiles, RunRecord, dig, read_files, read_record
from bgb.training.runs.report import Report

_NAMED_RUNS = ("run", "results", "title")  # where a run lies and what it is called
_RECORDED = ("best", "epochs", "step", "seconds", "usd")
_RANKED = ("auroc", "auprc")
_EVENTS = ("sensitivity", "precision", "f1", "fp_per_day")
# Keys that decide how a trained detector is scored.
_SCORING = ("postprocess.", "evaluation.")


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    name: str
    record: RunRecord
    files: RunFiles

    @property
    def session(self) -> Json:
        """How the run was carried out last."""
        session: Json = dig(self.files.provenance, "sessions", -1) or {}
        return session


def compare_runs(results: Path, first: str, second: str) -> Report:
    """Compare two runs, each given by name, by path below `results` or by path.

    Raises
    ------
    RunError : one of them does not exist; the nearest names are told.
    """
    a, b = _read(results, first), _read(results, second)
    sections = {
        "configuration": _differing(_settings(a), _settings(b)),
        "scores": _both(_figures(a), _figures(b))
        | _differing(_scores(a, "baseline"), _scores(b, "baseline")),
        "provenance": _differing(_circumstances(a), _circumstances(b)),
    }
    rows = [
        {"section": section, "key": key, "a": one, "b": other, "difference": _minus(one, other)}
        for section, pairs in sections.items()
        for key, (one, other) in pairs.items()
    ]
    return Report(rows, _table(a.name, b.name, rows), tuple(_warnings(a, b)))


def flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:  # Any: JSON
    """Yield the leaves of nested objects with their paths; lists are leaves."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _read(results: Path, wanted: str) -> Side:
    name, folder = find_run(results, wanted)
    return Side(name, read_record(folder, name), read_files(folder))


def _settings(side: Side) -> dict[str, Any]:  # Any: values of a configuration
    return {key: value for key, value in flatten(side.files.config) if key not in _NAMED_RUNS}


def _figures(side: Side) -> dict[str, Any]:  # Any: numbers or None
    figures = {name: getattr(side.record, name) for name in _RECORDED}
    if side.record.monitor:
        figures = {f"best {side.record.monitor}": figures.pop("best"), **figures}
    return figures | _scores(side, "detector")


def _scores(side: Side, who: str) -> dict[str, Any]:  # Any: numbers or None
    """Return the scores of the detector, or of the baseline beside it."""
    scored = side.files.scores.get(who)
    figures = {f"{who} threshold": dig(scored, "threshold", "threshold")} if scored else {}
    for split in SPLITS:
        found = dig(scored, "splits", split)
        figures |= _split_figures(f"{who} {split}", found) if found else {}
    return figures


def _split_figures(prefix: str, found: Json) -> dict[str, Any]:  # Any: numbers or None
    events = {f"event {name}": dig(found, "event", "cumulated", name) for name in _EVENTS}
    ranking = {name: found.get(name) for name in _RANKED}
    sample = {"sample f1": dig(found, "sample", "cumulated", "f1")}
    return {f"{prefix} {name}": value for name, value in (events | ranking | sample).items()}


def _circumstances(side: Side) -> dict[str, Any]:  # Any: JSON
    """Return what else than the configuration may have made the difference."""
    provenance, session = side.files.provenance, side.session
    return {
        **dict(flatten(session.get("code") or {}, "code.")),
        **dict(flatten(session.get("versions") or {}, "versions.")),
        **{name: session.get(name) for name in ("source", "lock", "platform", "device")},
        "cache_key": provenance.get("cache_key"),
        "batches_left_out": provenance.get("batches_left_out"),
        **dict(flatten(provenance.get("corpus") or {}, "corpus.")),
        **{f"patients.{split}": _patients(side, split) for split in SPLITS},
    }


def _patients(side: Side, split: str) -> list[str] | None:
    names: list[str] | None = dig(side.files.provenance, "patients", split)
    return names


def _both(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: (a.get(key), b.get(key)) for key in dict.fromkeys((*a, *b))}


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: pair for key, pair in _both(a, b).items() if pair[0] != pair[1]}


def _minus(a: Any, b: Any) -> float | None:  # Any: JSON
    numbers = [value for value in (a, b) if isinstance(value, int | float)]
    if len(numbers) < 2 or any(isinstance(value, bool) for value in numbers):
        return None
    return float(b - a)


def _warnings(a: Side, b: Side) -> Iterator[str]:
    """Yield what makes a comparison of the scores unfair or doubtful."""
    for side in (a, b):
        if side.record.state != "evaluated":
            yield f"not fair: {side.name} is {side.record.state}: it has no final scores"
        if dig(side.session, "code", "dirty"):
            yield f"{side.name} was made with code that no commit holds; see its code.diff"
    for split in reversed(SPLITS):
        ours, theirs = (set(_patients(side, split) or ()) for side in (a, b))
        if ours != theirs:
            yield (
                f"not fair: the patients of {split} differ: {_some(ours - theirs)} only in "
                f"{a.name}, {_some(theirs - ours)} only in {b.name}"
            )
        elif (one := _counted(a, split)) != (other := _counted(b, split)):
            keys = ", ".join(sorted(_differing(one, other)))
            yield f"not fair: {split} holds other recordings of the same patients ({keys} differ)"
    if _cache(a) != _cache(b):
        yield "not fair: the caches differ: signals or labels were prepared in another way"
    settings = _differing(_settings(a), _settings(b))
    scoring = [key for key in settings if key.startswith(_SCORING)]
    if scoring:
        yield f"not fair: they were scored in other ways ({', '.join(scoring)} differ)"
    if a.record.monitor != b.record.monitor:
        yield f"their best checkpoints were chosen by {a.record.monitor} and {b.record.monitor}"


def _counted(side: Side, split: str) -> Json:
    counted: Json = dig(side.files.provenance, "corpus", split) or {}
    return counted


def _cache(side: Side) -> str | None:
    key: str | None = side.files.provenance.get("cache_key")
    return key


def _some(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} ({shown})" if names else "none"


def _table(a: str, b: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{escape(a)} and {escape(b)}", title_justify="left")
    for heading in ("", escape(a), escape(b)):
        table.add_column(heading, overflow="fold")
    table.add_column("Difference", justify="right", no_wrap=True)
    sections = {
        row["section"]: [each for each in rows if each["section"] == row["section"]] for row in rows
    }
    for section, found in sections.items():
        table.add_section()
        table.add_row(f"[bold]{section}[/bold]")
        for row in found:
            minus = row["difference"]
            difference = "" if minus is None else f"{minus:+.4g}" if minus else "="
            table.add_row(escape(row["key"]), _cell(row["a"]), _cell(row["b"]), difference)
    return table


def _cell(value: Any) -> str:  # Any: JSON
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = f"{len(value)}: {', '.join(map(str, value))}" if isinstance(value, list) else str(value)
    return escape(text if len(text) <= 60 else f"{text[:57]}...")
