"""Comparing two runs: what differs, what came out, and whether that may be compared."""

from pathlib import Path
from typing import Any

import pytest
from fake_run import PATIENTS, write_run

from bgb.errors import RunError
from bgb.training.runs.compare import compare_runs
from bgb.training.runs.report import Report


def rows(report: Report, section: str) -> dict[str, Any]:
    return {
        row["key"]: (row["a"], row["b"], row["difference"])
        for row in report.rows
        if row["section"] == section
    }


def test_only_keys_that_differ_stand_beside_all_scores(tmp_path: Path) -> None:
    write_run(tmp_path / "a", lr=1e-3, f1=0.5)
    write_run(tmp_path / "b", lr=3e-3, f1=0.75)
    report = compare_runs(tmp_path, "a", "b")
    assert rows(report, "configuration") == {"optimizer.lr": (1e-3, 3e-3, pytest.approx(2e-3))}
    scores = rows(report, "scores")
    assert scores["detector eval event f1"] == (0.5, 0.75, 0.25)
    assert scores["detector eval auroc"] == (0.95, 0.95, 0.0)
    assert scores["best val/auroc"] == (0.7, 0.7, 0.0)
    assert rows(report, "provenance") == {}
    assert report.notes == ()


def test_other_code_and_versions_are_told(tmp_path: Path) -> None:
    one = {"code": {"commit": "c0ffee", "dirty": False}, "versions": {"torch": "2.13.0"}}
    other = {"code": {"commit": "c0ffee", "dirty": True}, "versions": {"torch": "2.12.0"}}
    write_run(tmp_path / "a", sessions=[one])
    write_run(tmp_path / "b", sessions=[other])
    report = compare_runs(tmp_path, "a", "b")
    assert rows(report, "provenance") == {
        "code.dirty": (False, True, None),
        "versions.torch": ("2.13.0", "2.12.0", None),
    }
    assert report.notes == ("b was made with code that no commit holds; see its code.diff",)


def test_other_patients_make_scores_unfair(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", patients={**PATIENTS, "eval": ["p4", "p6", "p7"]})
    (note,) = compare_runs(tmp_path, "a", "b").notes
    assert note == ("not fair: the patients of eval differ: 1 (p5) only in a, 2 (p6, p7) only in b")


def test_other_recordings_of_the_same_patients_make_scores_unfair(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    counts = {split: {"num_recordings": len(names)} for split, names in PATIENTS.items()}
    write_run(tmp_path / "b", corpus={**counts, "eval": {"num_recordings": 9}})
    (note,) = compare_runs(tmp_path, "a", "b").notes
    assert "eval holds other recordings of the same patients (num_recordings differ)" in note


def test_other_cache_or_postprocessing_or_missing_scores_make_scores_unfair(tmp_path: Path) -> None:
    write_run(tmp_path / "a", f1=None)
    run = write_run(tmp_path / "b", cache_key="f" * 16)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("threshold: null", "threshold: 0.7"))
    notes = compare_runs(tmp_path, "a", "b").notes
    assert notes == (
        "not fair: a is finished: it has no final scores",
        "not fair: the caches differ: signals or labels were prepared in another way",
        "not fair: they were scored in other ways (postprocess.threshold differ)",
    )


def test_run_that_is_missing_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    with pytest.raises(RunError, match="no run 'b'"):
        compare_runs(tmp_path, "a", "b")
