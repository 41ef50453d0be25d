"""Write the files of a run without training one, as `bgb.runs` finds them."""

import json
from pathlib import Path
from typing import Any

import yaml

CONFIG: dict[str, Any] = {
    "title": None,
    "seed": 0,
    "data": {"corpus": {"name": "synthetic"}},
    "model": {"name": "eegnet"},
    "optimizer": {"lr": 1e-3},
    "postprocess": {"threshold": None},
    "trainer": {"max_epochs": 2, "monitor": "val/auroc"},
}
PATIENTS = {"train": ["p1", "p2"], "dev": ["p3"], "eval": ["p4", "p5"]}


def write_run(
    folder: Path,
    *,
    finished: bool = True,
    f1: float | None = 0.9,
    lr: float = 1e-3,
    metrics: tuple[float, ...] = (0.6, 0.7),
    patients: dict[str, list[str]] = PATIENTS,
    **provenance: Any,  # Any: JSON
) -> Path:
    """Write a run of two epochs of three steps; without `f1` it was not evaluated."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "optimizer": {"lr": lr}}))
    for name, size in (("last", 100), ("best", 60)):
        (folder / "checkpoints" / f"{name}.ckpt").write_bytes(b"x" * size)
    rows = ["step,epoch,metric,value"]
    for epoch, value in enumerate(metrics):
        step = 3 * (epoch + 1)
        rows += [f"{step},{epoch},train/epoch_loss,0.5", f"{step},{epoch},val/auroc,{value}"]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    session = {"started": "2026-11-23T10:00:00+00:00", "code": {"commit": "c0ffee", "dirty": False}}
    record = {
        "finished": "2026-11-23T11:00:00+00:00" if finished else None,
        "seconds": 3723.0,
        "usd": 1.25,
        "cache_key": "0123456789abcdef",
        "corpus": {split: {"num_recordings": len(names)} for split, names in patients.items()},
        "patients": patients,
        "sessions": [session],
        **provenance,
    }
    (folder / "provenance.json").write_text(json.dumps(record))
    if f1 is not None:
        (folder / "scores.json").write_text(json.dumps(_scores(f1)))
    return folder


def _scores(f1: float) -> dict[str, Any]:  # Any: JSON
    event = {"f1": f1, "sensitivity": 0.8, "precision": 0.5, "fp_per_day": 12.0}
    split = {"event": {"cumulated": event}, "sample": {"cumulated": {"f1": 0.4}}, "auroc": 0.95}
    return {
        "detector": {"threshold": {"threshold": 0.5}, "splits": {"eval": split}},
        "baseline": None,
    }
