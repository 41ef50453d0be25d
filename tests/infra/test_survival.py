"""A sweep of six trainings through every misfortune: nothing is lost, nothing is run twice.

One job is preempted, one killed, one fails by itself, and the launcher is killed with SIGKILL and
started again. Every other job ends with the very metrics of an undisturbed run on this machine.
"""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.fakemodal import FakeModal, why_not

pytestmark = [
    pytest.mark.modal,
    pytest.mark.slow,
    pytest.mark.xdist_group("survival"),
    pytest.mark.skipif(bool(why_not()), reason=f"no containers here: {why_not()}"),
]
VOLUME = "brain-go-brr-results"
BUCKET = "brain-go-brr-eeg-data-20250919"
KEY = "a-secret-that-must-not-travel"
LEARNING_RATES = ("1e-3", "2e-3", "3e-3", "4e-3", "5e-3", "1e18")  # the last one diverges
PREEMPTED, KILLED, FAILING = 0, 1, 5
SMALL = (
    *("+experiment=smoke", "trainer.max_epochs=6", "trainer.threads=1", "logger=csv"),
    *("data.sampling.windows_per_epoch=64", "evaluation.baseline=false"),
)
REMOTE = ("+infra=modal_cpu", "infra.max_containers=3", "infra.poll_s=0.3")


@pytest.fixture(scope="module")
def modal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeModal]:
    folder = tmp_path_factory.mktemp("modal")
    (folder / "bucket" / "tusz" / "edf").mkdir(parents=True)
    secrets = {"wandb-secret": {"WANDB_API_KEY": KEY}, "aws-s3-secret": {"AWS_ACCESS_KEY_ID": KEY}}
    with FakeModal(folder / "root", buckets={BUCKET: folder / "bucket"}, secrets=secrets) as fake:
        fake.knobs.idle_s = 0.2
        yield fake


def start(folder: Path, words: Sequence[str], **environment: str) -> "subprocess.Popen[str]":
    with (folder / "output.txt").open("a") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "bgb.train", *words],
            cwd=folder,
            env={**os.environ, **environment, "COLUMNS": "140"},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def ledger(sweep: Path) -> list[dict[str, object]]:
    """Return the lines about jobs, in order."""
    path = sweep / ".modal" / "jobs.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in map(json.loads, lines) if "num" in line]


def call_of(sweep: Path, num: int) -> str | None:
    calls = [line["call_id"] for line in ledger(sweep) if line["num"] == num and "call_id" in line]
    return str(calls[-1]) if calls and calls[-1] else None


def container_of(modal: FakeModal, call_id: str | None) -> str | None:
    alive = [one for one in modal.containers() if one.alive and one.call_id == call_id]
    return alive[0].task_id if call_id and alive else None


def job_folder(modal: FakeModal, num: int) -> Path | None:
    found = list(modal.volume(VOLUME).glob(f"sweeps/*/*/{num}"))
    return found[0] if found else None


def run_on_volume(modal: FakeModal, num: int) -> Path | None:
    """Return the run folder of a job once its first checkpoint is committed."""
    folder = job_folder(modal, num)
    if folder is None or not (folder / "outputs.json").exists():
        return None
    (path,) = json.loads((folder / "outputs.json").read_text())["folders"]
    run = modal.volume(VOLUME) / path
    return run if (run / "checkpoints" / "last.ckpt").exists() else None


def disturb(modal: FakeModal, sweep: Path) -> None:
    """Preempt one job and kill another, each as soon as its first checkpoint is committed."""
    waiting = {PREEMPTED, KILLED}
    while waiting:
        num = modal.wait_until(lambda: next_with_checkpoint(modal, waiting), timeout_s=300) - 1
        task_id = container_of(modal, call_of(sweep, num))
        assert task_id is not None, f"job {num} ended before it could be disturbed"
        modal.preempt(task_id, grace_s=20) if num == PREEMPTED else modal.kill(task_id)
        waiting.remove(num)


def next_with_checkpoint(modal: FakeModal, nums: set[int]) -> int:
    """Return one more than the number of a job with a committed checkpoint; 0 for none."""
    return next((num + 1 for num in sorted(nums) if run_on_volume(modal, num)), 0)


@pytest.fixture(scope="module")
def survived(modal: FakeModal, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder where the disturbed sweep was started, and ended."""
    folder = tmp_path_factory.mktemp("laptop")
    words = ["-m", *SMALL, *REMOTE, f"optimizer.lr={','.join(LEARNING_RATES)}"]
    words.append("hydra.sweep.dir=sweep")
    launcher = start(folder, words, **modal.environment)
    disturb(modal, folder / "sweep")
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    again = start(folder, words, **modal.environment)
    assert again.wait(timeout=400) == 2, (folder / "output.txt").read_text()  # one job failed
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of the same jobs, carried out here, one after the other."""
    folder = tmp_path_factory.mktemp("undisturbed")
    words = ["-m", *SMALL, f"optimizer.lr={','.join(LEARNING_RATES[:FAILING])}"]
    assert start(folder, words).wait(timeout=400) == 0, (folder / "output.txt").read_text()
    return folder / "runs"


def local_run(sweep: Path, num: int) -> Path:
    (run,) = (sweep / str(num)).glob("smoke-*")
    return run


def learning_rate(run: Path) -> str:
    found = re.search(r"^  lr: (\S+)$", (run / "config.yaml").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_surviving_jobs_end_as_undisturbed_runs_do(survived: Path, undisturbed: Path) -> None:
    there = {learning_rate(run): run for run in undisturbed.glob("smoke-*")}
    assert len(there) == FAILING
    for num in range(FAILING):
        run = local_run(survived / "sweep", num)
        expected = there[learning_rate(run)]
        assert metrics(run) == metrics(expected), f"job {num}"
        scores = json.loads((run / "scores.json").read_text())
        assert scores == json.loads((expected / "scores.json").read_text())


def test_nothing_is_run_twice_and_attempts_are_counted(survived: Path, modal: FakeModal) -> None:
    attempts = {}
    for num in range(len(LEARNING_RATES)):
        folder = job_folder(modal, num)
        assert folder is not None
        attempts[num] = len(list((folder / "attempts").rglob("*.json")))
    assert attempts == {0: 2, 1: 2, 2: 1, 3: 1, 4: 1, FAILING: 1}
    calls = [one for one in modal.calls() if one.function_name == "job"]
    assert len(calls) == len(LEARNING_RATES)


def test_ledger_tells_the_truth(survived: Path) -> None:
    ends = {line["num"]: line for line in ledger(survived / "sweep")}
    states = {num: line["state"] for num, line in ends.items()}
    assert states == {num: "failed" if num == FAILING else "done" for num in range(6)}
    assert [ends[num]["attempts"] for num in range(6)] == [2, 2, 1, 1, 1, 1]
    for line in ends.values():
        assert float(str(line["usd"])) == pytest.approx(
            float(str(line["seconds"])) / 3600 * 0.3172, rel=0.01
        )
    finished = [line["num"] for line in ledger(survived / "sweep") if line["state"] == "done"]
    assert sorted(set(finished)) == list(range(FAILING))


def test_output_tells_failure_resume_and_sum(survived: Path) -> None:
    output = (survived / "output.txt").read_text()
    assert "loss is nan at step" in output
    assert f"hydra.sweep.dir={survived / 'sweep'}" in output
    assert "5 of 6 jobs done, $" in output
    assert "at most $" in output
    log = (survived / "sweep" / str(PREEMPTED) / "job.log").read_text()
    assert "goes on at epoch" in log  # of the second attempt, below what the first one said
    assert log.index("epoch 1/6") < log.index("goes on at epoch") < log.index("epoch 6/6")


def test_seconds_and_dollars_are_in_the_provenance_of_the_run(survived: Path) -> None:
    record = json.loads((local_run(survived / "sweep", KILLED) / "provenance.json").read_text())
    assert len(record["sessions"]) == 2
    assert [session["attempt"] for session in record["sessions"]] == [1, 2]
    assert record["usd"] == pytest.approx(record["seconds"] / 3600 * 0.3172, rel=0.01)


def test_no_secret_is_in_any_payload_log_or_ledger(survived: Path, modal: FakeModal) -> None:
    assert modal.payloads()
    assert not any(KEY.encode() in payload for payload in modal.payloads())
    files = [path for path in survived.rglob("*") if path.is_file()]
    files += [path for path in modal.volume(VOLUME).rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_sweep_that_ended_is_not_started_again(survived: Path, modal: FakeModal) -> None:
    before = len(modal.calls())
    words = ["-m", *SMALL, *REMOTE, f"optimizer.lr={','.join(LEARNING_RATES[:FAILING])}"]
    again = start(survived, [*words, "hydra.sweep.dir=sweep"], **modal.environment)
    assert again.wait(timeout=100) == 0
    assert len(modal.calls()) == before


def test_other_configuration_in_the_same_sweep_is_refused(survived: Path, modal: FakeModal) -> None:
    words = ["-m", *SMALL, *REMOTE, "optimizer.lr=7e-3", "hydra.sweep.dir=sweep"]
    again = start(survived, words, **modal.environment)
    assert again.wait(timeout=100) == 2
    assert "optimizer.lr" in (survived / "output.txt").read_text().splitlines()[-1]
