"""`bgb.runs`: every run is found in whatever state it is, and listed as asked for."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fake_run import write_run

from bgb.config.compose import compose
from bgb.errors import ConfigError, RunError
from bgb.locks import hold, is_held
from bgb.training.runs.find import find_run, find_runs
from bgb.training.runs.record import read_record
from bgb.training.runs.report import as_csv, as_json, duration
from bgb.training.runs.table import list_runs


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m bgb.runs`, and say on standard error whether torch was imported."""
    code = (
        "import atexit, sys, bgb.runs;"
        "atexit.register(lambda: sys.stderr.write(f'torch: {\"torch\" in sys.modules}'));"
        "bgb.runs.main()"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder, env={**os.environ, "COLUMNS": "150"}, capture_output=True, text=True,
    )  # fmt: skip


def test_list_shows_progress_best_metric_and_scores_without_torch(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one", f1=0.9)
    write_run(tmp_path / "runs" / "two", f1=None)
    done = command(tmp_path)
    assert done.stderr == "torch: False"
    lines = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith("│")}
    assert "evaluated │   2/2 │    6 │ 0.700 │ 0.900 │ 0.800 │    12.0 │ 0.950" in lines["one"]
    assert "1:02:03 │ 1.25 │ 2026-11-23 10:00" in lines["one"]
    assert "finished" in lines["two"]
    assert "of all: corpus synthetic, model eegnet, monitor val/auroc" in done.stdout


def test_variants_of_a_detector_are_told_apart(tmp_path: Path) -> None:
    for name, variant in (("one", ""), ("two", "small")):
        write_run(tmp_path / name)
        path = tmp_path / name / "config.yaml"
        path.write_text(path.read_text().replace("model:", f"model:\n  variant: '{variant}'"))
    assert read_record(tmp_path / "one", "one").model == "eegnet"
    assert read_record(tmp_path / "two", "two").model == "eegnet_small"


def test_json_and_csv_hold_the_same_rows(tmp_path: Path) -> None:
    write_run(tmp_path / "one", usd=float("nan"))
    report = list_runs(tmp_path, match="*", sort="started")
    (row,) = json.loads(as_json(report))["rows"]
    assert (row["name"], row["event_f1"], row["usd"]) == ("one", 0.9, None)
    heading, line = as_csv(report).splitlines()
    assert dict(zip(heading.split(","), line.split(",")))["event_f1"] == "0.9"


@pytest.mark.parametrize(
    ("made_with", "state"),
    [
        ({}, "evaluated"),
        ({"f1": None}, "finished"),
        ({"finished": False, "f1": None}, "stopped"),
        ({"finished": False, "f1": None, "failure": "RunError: loss is nan"}, "failed"),
    ],
)
def test_state_of_a_run_is_what_its_files_say(
    tmp_path: Path, made_with: dict[str, object], state: str
) -> None:
    write_run(tmp_path / "run", **made_with)
    record = read_record(tmp_path / "run", "run")
    assert record.state == state
    assert record.remark == made_with.get("failure", "")


def test_run_is_running_while_its_lock_is_held_and_not_after(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", finished=False, f1=None)
    with hold(run / "run.lock", wait=False):
        record = read_record(run, "run")
        assert (record.state, f"process {os.getpid()}" in record.remark) == ("running", True)
    assert read_record(run, "run").state == "stopped"


@pytest.mark.parametrize("host", [socket.gethostname(), "another-machine"])
def test_lock_of_a_dead_owner_is_not_held(tmp_path: Path, host: str) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    lock = tmp_path / "run.lock"
    lock.write_text(f"process {dead.pid} on {host} since 2026-11-23T10:00:00+00:00\n")
    before = lock.stat().st_mtime_ns
    assert not is_held(lock)
    assert lock.stat().st_mtime_ns == before


def test_damaged_file_is_named_and_hides_no_other_run(tmp_path: Path) -> None:
    (write_run(tmp_path / "torn") / "scores.json").write_text('{"detec')
    write_run(tmp_path / "whole")
    report = list_runs(tmp_path, match="*", sort="name")
    assert [row["state"] for row in report.rows] == ["damaged", "evaluated"]
    assert report.notes == ("torn: damaged: scores.json is damaged",)


def test_torn_row_of_the_metrics_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with (run / "metrics.csv").open("a") as file:
        file.write("9,2,val/auroc,0.9")
    assert (read_record(run, "run").best, read_record(run, "run").step) == (0.7, 6)


def test_best_false_alarm_rate_is_the_lowest(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for name in ("config.yaml", "metrics.csv"):
        text = (run / name).read_text()
        (run / name).write_text(text.replace("val/auroc", "val/fp_per_day"))
    assert read_record(run, "run").best == 0.6


def test_runs_of_sweeps_are_found_and_caches_and_links_are_not_entered(tmp_path: Path) -> None:
    results = tmp_path / "results"
    session = {"sweep": {"name": "2026-11-23", "job": 3}}
    write_run(results / "sweeps" / "2026-11-23" / "3" / "swept", sessions=[session])
    write_run(results / "cache" / "bids" / "key" / "hidden")
    (results / "cache" / "bids" / "key" / "manifest.json").write_text("{}")
    (results / "linked").symlink_to(write_run(tmp_path / "elsewhere"))
    (row,) = list_runs(results, match="swept", sort="name").rows
    assert (row["name"], row["sweep"]) == ("sweeps/2026-11-23/3/swept", "2026-11-23/3")
    assert list(find_runs(results)) == ["sweeps/2026-11-23/3/swept"]


def test_best_scores_come_first_and_unknown_ones_last(tmp_path: Path) -> None:
    for name, f1 in (("low", 0.1), ("none", None), ("high", 0.9)):
        write_run(tmp_path / name, f1=f1)
    names = [row["name"] for row in list_runs(tmp_path, match="*", sort="event_f1").rows]
    assert names == ["high", "low", "none"]


def test_missing_run_is_told_with_the_nearest_names(tmp_path: Path) -> None:
    write_run(tmp_path / "smoke-12345678")
    with pytest.raises(
        RunError, match=r"no run 'smoke-1234' below .* the nearest are smoke-123456"
    ):
        find_run(tmp_path, "smoke-1234")
    assert find_run(tmp_path, str(tmp_path / "smoke-12345678"))[0] == "smoke-12345678"


def test_name_of_several_runs_is_refused(tmp_path: Path) -> None:
    for job in "01":
        write_run(tmp_path / "sweeps" / job / "same")
    with pytest.raises(RunError, match="several runs are called same: give one of sweeps/0/same"):
        find_run(tmp_path, "same")


def test_missing_results_folder_is_named(tmp_path: Path) -> None:
    done = command(tmp_path, "results=nowhere")
    assert done.returncode == 2
    assert "results=nowhere is no folder" in done.stderr


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["action=compare", "runs=[a]"], "action=compare takes two runs"),
        (["runs=[a,b]"], "action=compare takes two runs"),
        (["action=prune", "remove=runs"], "name them with match="),
        (["confirm=remove-1"], "is read by action=prune only"),
        (["sort=colour"], "sort='colour' is not valid; choose one of"),
    ],
)
def test_wrong_choice_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose("runs", overrides)
    assert message in str(caught.value)


def test_times_have_hours_minutes_and_seconds() -> None:
    assert (duration(3723.4), duration(59.7), duration(None)) == ("1:02:03", "0:01:00", "-")
