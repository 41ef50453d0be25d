"""Pruning: exactly what was listed goes, and never what is in use or no part of a run."""

import os
import time
from pathlib import Path

import pytest
from fake_run import write_run

from bgb.errors import RunError
from bgb.locks import hold
from bgb.training.runs.prune import Listing, list_removals, removal_report, remove


def listing(results: Path, kind: str, match: str = "*", older_days: float = 0.0) -> Listing:
    return list_removals(results, kind, match=match, older_days=older_days)


def names(found: Listing) -> list[str]:
    return [removal.run for removal in found.removals]


def test_finished_runs_keep_their_best_checkpoint_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "done")
    write_run(tmp_path / "going_on", finished=False, f1=None)
    found = listing(tmp_path, "checkpoints")
    assert [(removal.run, removal.num_bytes) for removal in found.removals] == [("done", 100)]
    remove(found, confirm=found.confirmation)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["best.ckpt"]
    assert (tmp_path / "going_on" / "checkpoints" / "last.ckpt").exists()


def test_nothing_is_removed_without_the_confirmation_of_this_very_listing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "done")
    first = listing(tmp_path, "checkpoints")
    note = removal_report(first, done=False).notes[-1]
    assert note.endswith(f"repeat the command with confirm={first.confirmation}")
    (run / "checkpoints" / "last.ckpt").write_bytes(b"another")
    second = listing(tmp_path, "checkpoints")
    with pytest.raises(RunError, match="belongs to another listing"):
        remove(second, confirm=first.confirmation)
    assert (run / "checkpoints" / "last.ckpt").exists()


def test_whole_runs_go_with_their_folder_and_links_are_not_followed(tmp_path: Path) -> None:
    results, outside = tmp_path / "results", tmp_path / "outside"
    run = write_run(results / "old")
    write_run(results / "other")
    outside.mkdir()
    (outside / "precious").touch()
    (run / "wandb").mkdir()
    (run / "wandb" / "latest-run").symlink_to(outside)
    found = listing(results, "runs", match="old")
    remove(found, confirm=found.confirmation)
    assert [path.name for path in results.iterdir()] == ["other"]
    assert (outside / "precious").exists()


def test_running_run_is_left_alone_and_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", finished=False, f1=None)
    with hold(run / "run.lock", wait=False):
        for kind in ("runs", "unfinished", "checkpoints"):
            assert names(listing(tmp_path, kind)) == []
        (note,) = listing(tmp_path, "runs").left_alone
    assert f"run is left alone: it is being written by process {os.getpid()}" in note


def test_run_that_was_taken_up_after_the_listing_stays(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", finished=False, f1=None)
    found = listing(tmp_path, "runs")
    with hold(run / "run.lock", wait=False), pytest.raises(RunError, match="it stays"):
        remove(found, confirm=found.confirmation)
    assert (run / "config.yaml").exists()


@pytest.mark.parametrize(
    "path", ["cache/manifest.json", "cache/tusz/0123456789abcdef/train/a.npz", "b/run.lock"]
)
def test_run_that_holds_a_cache_or_another_run_is_left_alone(tmp_path: Path, path: str) -> None:
    foreign = write_run(tmp_path / "run") / path
    foreign.parent.mkdir(parents=True)
    foreign.touch()
    found = listing(tmp_path, "runs")
    assert found.removals == ()
    assert found.left_alone == (f"run is left alone: it holds a cache or another run ({path})",)


def test_unfinished_runs_are_taken_only_when_they_are_old(tmp_path: Path) -> None:
    two_days_ago = time.time() - 2 * 86400
    write_run(tmp_path / "finished")
    write_run(tmp_path / "fresh", finished=False, f1=None)
    write_run(tmp_path / "scoring_failed", f1=None, failure="x")
    for name in ("stopped", "failed"):
        write_run(tmp_path / name, finished=False, f1=None, failure="x" if name == "failed" else "")
    for run in tmp_path.iterdir():
        if run.name != "fresh":
            for path in (path for path in run.rglob("*") if path.is_file()):
                os.utime(path, (two_days_ago, two_days_ago))
    assert names(listing(tmp_path, "unfinished", older_days=1)) == ["failed", "stopped"]
    assert names(listing(tmp_path, "unfinished", older_days=3)) == []


def test_confirmation_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is nothing to remove"):
        remove(listing(tmp_path, "checkpoints"), confirm="remove-000000000000")
