"""`python -m bgb.plan`: what it prints for one job and a sweep, measured or not, here or rented."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bgb.config.compose import compose
from bgb.config.infra import InfraConfig
from bgb.infra.plan_table import PlanRow, duration_text, plan_notes, wall_hours
from bgb.infra.prices import Rates
from bgb.plan import PlannedJob
from tests.fakemodal import FakeModal, why_not

RATES = Rates("table of a test", {"L4": 0.001}, 0.0001, 0.00001)
L4 = InfraConfig(gpu="L4", cpu=2, memory_gib=10, max_hours=5, max_cost_usd=100)  # $4.68 an hour
SMALL = (
    "data.corpus.hours=0.3 data.corpus.train_patients=4 data.corpus.dev_patients=2 "
    "data.corpus.eval_patients=2 data.corpus.oddities=false model=eegnet "
    "data.window_s=20 data.batch_size=4 data.sampling.windows_per_epoch=64 trainer.max_epochs=3"
).split()


def plan(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bgb.plan", *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": "120", "MODAL_CONFIG_PATH": "/none", **environ},
        capture_output=True,
        text=True,
    )


def test_configuration_is_that_of_the_training() -> None:
    overrides = ["model=eegnet", "+infra=modal_a100", "data=tusz"]
    planned, trained = compose("plan", overrides), compose("train", overrides)
    assert {name: getattr(planned, name) for name in vars(trained)} == vars(trained)


def test_sweep_without_measurement_says_so_and_guesses_nothing(tmp_path: Path) -> None:
    done = plan(tmp_path, "model=eegnet,eventnet_unet", "optimizer.lr=1e-4,3e-4", "data=synthetic")
    assert done.returncode == 0, done.stderr
    assert "Plan: 4 jobs on this machine" in done.stdout
    assert "Nothing was measured for jobs 0, 1, 2, 3" in done.stdout
    assert "probe=true" in done.stdout
    assert " min" not in done.stdout
    assert "data=synthetic" not in done.stdout  # all jobs share it
    assert "Learning rate of jobs 0, 2: 5.88e-06 at step 0, 16 warm-up steps" in done.stdout
    assert "Learning rate of jobs 1, 3: 1.76e-05 at step 0" in done.stdout
    assert done.stdout.count("step 0  ") == 2  # drawings
    assert list(tmp_path.iterdir()) == []


def test_rented_jobs_have_an_upper_bound_that_is_held_against_the_limit(tmp_path: Path) -> None:
    words = ("model=eegnet,eventnet_unet", "seed=1,2", "+infra=modal_a100")
    done = plan(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    bound = r"4 jobs x at most 8.25 h x \$3.39/h \(A100-80GB, 8 cores, 64 GiB\) = at most \$111.78"
    assert re.search(f"Upper bound: {bound} \\(rates: table of 2026-08-10\\)", done.stdout)
    assert "The training would be refused" in done.stdout
    within = plan(tmp_path, *words, "infra.max_hours=7")
    assert "refused" not in within.stdout


def test_wrong_value_of_any_job_is_refused_by_name(tmp_path: Path) -> None:
    done = plan(tmp_path, "seed=1,-2")
    assert done.returncode == 2
    assert "seed=-2 must not be negative" in done.stderr


def test_unknown_key_is_refused(tmp_path: Path) -> None:
    done = plan(tmp_path, "optimizer.learning=1,2")
    assert done.returncode == 2
    assert "unknown key 'optimizer.learning'" in done.stderr


def test_probe_measures_once_for_jobs_of_the_same_speed_and_later_plans_find_it(
    tmp_path: Path,
) -> None:
    words = (*SMALL, "optimizer.lr=1e-4,3e-4", "evaluation.baseline=false", "data.workers=1")
    first = plan(tmp_path, *words, "probe=true", "probe_s=0.5")
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("windows/s in training") == 1
    assert len(list((tmp_path / "runs" / "probes").glob("synthetic-eegnet-*.json"))) == 1
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"cache", "probes"}
    later = plan(tmp_path, *words)
    for done in (first, later):
        assert "Nothing was measured" not in done.stdout
        assert "Measured: eegnet:" in done.stdout
    assert table_of(later) == table_of(first)


@pytest.mark.modal
def test_probe_on_rented_machine_fills_the_cache_and_leaves_nothing_running(
    tmp_path: Path,
) -> None:
    if reason := why_not():
        pytest.skip(reason)
    buckets = {"brain-go-brr-eeg-data-20250919": tmp_path / "bucket"}
    (tmp_path / "bucket" / "tusz").mkdir(parents=True)
    secrets = {"wandb-secret": {"WANDB_API_KEY": "x"}, "aws-s3-secret": {"AWS_ACCESS_KEY_ID": "x"}}
    home = tmp_path / "home"
    home.mkdir()
    words = (*SMALL, "seed=1,2", "+infra=modal_cpu", "infra.poll_s=0.2")
    words = (*words, "evaluation.baseline=false", "data.workers=1")
    with FakeModal(tmp_path / "modal", buckets=buckets, secrets=secrets) as fake:
        done = plan(home, *words, "probe=true", "probe_s=0.5", **fake.environment)
        assert done.returncode == 0, done.stderr
        assert [call.function_name for call in fake.calls()].count("job") == 1
        assert {app.state for app in fake.apps()} == {"stopped"}
        assert fake.wait_until(lambda: not any(each.alive for each in fake.containers()))
        assert "Measured: eegnet on Modal, no GPU, 4 cores" in done.stdout
        assert "rates: live" in done.stdout
        assert [path.name for path in home.iterdir()] == ["runs"]
        calls = len(fake.calls())
        later = plan(home, *words, **fake.environment)
        assert table_of(later) == table_of(done)
        assert len(fake.calls()) == calls


def test_job_that_outlasts_its_limit_is_named() -> None:
    rows = [row(0, hours=(3.0, 1.0, 0.9)), row(1, hours=(4.0, 1.0, 0.5))]
    (note,) = [note for note in plan_notes(rows, RATES) if "stopped" in note]
    assert note.startswith("Job 1 needs 5.5 h, but is stopped at infra.max_hours=5")


def test_cost_is_hours_times_the_price_of_the_machine() -> None:
    assert row(0, hours=(1.0, 0.5, 0.5)).usd(RATES) == pytest.approx(2 * 4.68)
    assert row(0, hours=None).usd(RATES) is None


def test_end_is_that_of_the_last_job_with_some_at_once() -> None:
    assert wall_hours([3, 1, 1, 1], num_at_once=2) == 3
    assert wall_hours([1, 1, 1, 3], num_at_once=2) == 4
    assert wall_hours([2, 2], num_at_once=1) == 4


@pytest.mark.parametrize(
    ("hours", "text"), [(12.34, "12.3 h"), (0.5, "30.0 min"), (1 / 3600, "1.0 s")]
)
def test_times_are_told_in_the_unit_that_fits(hours: float, text: str) -> None:
    assert duration_text(hours) == text


def test_planned_job_shows_only_where_it_differs() -> None:
    job = PlannedJob(0, ("seed=1",), compose("plan", ["seed=1"]), "a machine")
    assert job.row().overrides == "seed=1"
    assert job.row().steps == 5 * 64  # epochs of 1024 windows, 16 in a batch


def table_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith(("│", "┃"))]


def row(number: int, *, hours: tuple[float, float, float] | None) -> PlanRow:
    return PlanRow(number, "-", L4, 100, hours, "x" if hours else "")
