"""RunRecord: what the files of one run folder tell, whatever state or version it is of."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bgb.config.training import MONITORS
from bgb.errors import RunError
from bgb.files import read_json
from bgb.locks import is_held, owner
from bgb.training.run_folder import RunFolder

Json = Mapping[str, Any]  # Any: values of JSON or YAML


@dataclass(frozen=True)
class RunRecord:
    """One run; None and "" stand for what its files do not tell.

    Attributes
    ----------
    name : path below the results folder.
    state : running, stopped (it can go on), failed, finished, evaluated or damaged.
    remark : who runs it, why it failed, what is damaged.
    sweep : <folder of the sweep>/<number of the job>.
    epochs : that were completed, of max_epochs.
    best : best value of the metric `monitor` so far.
    event_f1, sensitivity, fp_per_day, auroc : on eval, summed over patients.
    """

    name: str
    state: str
    remark: str = ""
    title: str = ""
    corpus: str = ""
    model: str = ""
    sweep: str = ""
    epochs: int = 0
    max_epochs: int | None = None
    step: int = 0
    monitor: str = ""
    best: float | None = None
    event_f1: float | None = None
    sensitivity: float | None = None
    fp_per_day: float | None = None
    auroc: float | None = None
    seconds: float | None = None
    usd: float | None = None
    started: str = ""
    device: str = ""


@dataclass(frozen=True)
class RunFiles:
    """The contents of a run folder; what is missing is empty, what cannot be read is a problem."""

    config: Json
    provenance: Json
    scores: Json
    problems: tuple[str, ...] = ()


def is_run(folder: Path) -> bool:
    """Tell whether a folder is a run: its configuration beside what only a run has."""
    run = RunFolder(folder)
    marks = (run.provenance, run.lock, run.last.parent)
    return run.config.is_file() and any(mark.exists() for mark in marks)


def read_files(folder: Path) -> RunFiles:
    """Read configuration, provenance and scores of a run."""
    run = RunFolder(folder)
    problems: list[str] = []
    config, provenance, scores = (
        _read(path, problems) if path.exists() else {}
        for path in (run.config, run.provenance, run.scores)
    )
    return RunFiles(config, provenance, scores, tuple(problems))


def read_record(folder: Path, name: str) -> RunRecord:
    """Read what the list shows of a run."""
    run, files = RunFolder(folder), read_files(folder)
    config = files.config
    first, last = (dig(files.provenance, "sessions", end) or {} for end in (0, -1))
    state, remark = _state(run, files)
    monitor = dig(config, "trainer", "monitor") or ""
    best, epochs, step = _progress(run.metrics, monitor, MONITORS.get(monitor) == "min")
    scored = dig(files.scores, "detector", "splits", "eval") or {}
    events = dig(scored, "event", "cumulated") or {}
    return RunRecord(
        *(name, state, remark),
        title=config.get("title") or "",
        corpus=dig(config, "data", "corpus", "name") or "",
        model=_label(config.get("model") or {}),
        sweep=sweep_of(last),
        epochs=epochs,
        max_epochs=dig(config, "trainer", "max_epochs"),
        step=step,
        monitor=monitor,
        best=best,
        event_f1=events.get("f1"),
        sensitivity=events.get("sensitivity"),
        fp_per_day=events.get("fp_per_day"),
        auroc=scored.get("auroc"),
        seconds=files.provenance.get("seconds"),
        usd=files.provenance.get("usd"),
        started=first.get("started", ""),
        device=last.get("device", ""),
    )


def sweep_of(session: Json) -> str:
    """Return <sweep>/<job> of a session, or nothing where it was a run of its own."""
    sweep = session.get("sweep")
    return f"{sweep['name']}/{sweep['job']}" if sweep else ""


def _label(model: Json) -> str:
    """Return the name of a detector with its variant, which runs of earlier versions lack."""
    return "_".join(filter(None, (model.get("name"), model.get("variant"))))


def dig(values: Any, *path: str | int) -> Any:  # Any: JSON
    """Return what lies at the end of a path through objects and lists; None where it ends."""
    for step in path:
        try:
            values = values[step]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def _read(path: Path, problems: list[str]) -> dict[str, Any]:  # Any: JSON or YAML
    try:
        values = read_json(path) if path.suffix == ".json" else yaml.safe_load(path.read_text())
    except (RunError, yaml.YAMLError, UnicodeDecodeError):
        values = None
    if not isinstance(values, dict):
        problems.append(f"{path.name} is damaged")
        return {}
    return values


def _state(run: RunFolder, files: RunFiles) -> tuple[str, str]:
    if is_held(run.lock):
        return "running", owner(run.lock)
    if files.problems:
        return "damaged", "; ".join(files.problems)
    if files.provenance.get("failure"):
        return "failed", files.provenance["failure"]
    if files.provenance.get("finished"):
        return ("evaluated" if files.scores else "finished"), ""
    return "stopped", ""


def _progress(path: Path, monitor: str, low: bool) -> tuple[float | None, int, int]:
    """Return the best monitored value, completed epochs and the last step of metrics.csv."""
    best, epochs, step = None, 0, 0
    for row in _rows(path):
        step = max(step, int(row["step"]))
        if row["metric"] == "train/epoch_loss":
            epochs = max(epochs, int(row["epoch"]) + 1)
        value = float(row["value"]) if row["metric"] == monitor else math.nan
        if not math.isnan(value):
            best = value if best is None else min(best, value) if low else max(best, value)
    return best, epochs, step


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the whole rows; a kill may have torn the last one."""
    if not path.exists():
        return []
    whole = path.read_text().rpartition("\n")[0].splitlines()
    return [row for row in csv.DictReader(whole) if row["value"]]
