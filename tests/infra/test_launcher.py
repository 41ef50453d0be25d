"""A Hydra program that is not bgb's through the loopback Modal: killed, left, preempted."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakemodal import FakeModal, why_not

pytestmark = [
    pytest.mark.modal,
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
PROGRAM = Path(__file__).parent / "apps" / "squares.py"
KEYS = ["-m", "hydra/launcher=bgb_modal", "hydra.launcher.poll_s=0.1"]
SECRET = "sentinel-of-a-secret"


class Squares:
    """Starts apps/squares.py in a folder of its own; jobs in `wait` go on once the gate is open."""

    def __init__(self, fake, folder):
        self.fake, self.sweep, self.gate = fake, folder / "sweep", folder / "gate"
        self.environment = os.environ | fake.environment | {"WANDB_API_KEY": SECRET}

    def start(self, *overrides):
        where = [f"hydra.sweep.dir={self.sweep}", f"gate={self.gate}"]
        return self.run([sys.executable, str(PROGRAM), *KEYS, *where, *overrides])

    def run(self, command):
        return subprocess.Popen(
            command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def starts(self, num):
        return int((self.sweep / str(num) / "starts.txt").read_text())

    def records(self):
        lines = (self.sweep / ".modal" / "jobs.jsonl").read_text().splitlines()
        records = {}
        for line in map(json.loads, lines[1:]):
            records.setdefault(line["num"], {}).update(line)
        return records

    def wait_until_running(self, count):
        """Wait until so many jobs told the launcher that they work."""
        attempts = self.fake.volume("brain-go-brr-results").rglob
        self.fake.wait_until(lambda: len(list(attempts("starts.txt"))) == count)
        return [one for one in self.fake.containers() if one.alive]


@pytest.fixture
def squares(tmp_path):
    secrets = {"aws-s3-secret": {"AWS_ACCESS_KEY_ID": SECRET}}
    buckets = {"brain-go-brr-eeg-data-20250919": tmp_path / "bucket"}
    (tmp_path / "bucket" / "tusz").mkdir(parents=True)
    root = tmp_path / "modal"
    with FakeModal(root, buckets=buckets, secrets=secrets, shared=(tmp_path,)) as fake:
        yield Squares(fake, tmp_path)


def test_jobs_of_a_sweep_run_fail_and_leave_their_files(squares):
    program = squares.start("x=1,2,3", "fail=[2]")
    output, _ = program.communicate(timeout=120)
    assert program.returncode == 1
    assert "3 jobs x at most 8.25 h" in output
    assert re.search(r"job 1 \(x=2\) failed: OwnError: x=2 cannot be squared\nTraceback", output)
    assert "2 of 3 jobs done" in output
    states = {num: record["state"] for num, record in squares.records().items()}
    assert states == {0: "done", 1: "failed", 2: "done"}
    for num, x in enumerate((1, 2, 3)):
        folder = squares.sweep / str(num)
        assert f"squaring {x}" in (folder / "squares.log").read_text()
        assert (folder / ".hydra" / "config.yaml").exists()
        assert (folder / f"run-{x}" / "metrics.csv").read_text() == f"x\n{x}\n"
        assert not list(folder.rglob("*.ckpt"))
    assert [app.state for app in squares.fake.apps()] == ["stopped"]
    assert not any(SECRET.encode() in payload for payload in squares.fake.payloads())
    everything = [path.read_bytes() for path in squares.sweep.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in content for content in everything)


def test_killed_launcher_goes_on_with_the_same_jobs(squares):
    program = squares.start("x=1,2", "wait=[1,2]")
    squares.wait_until_running(2)
    program.kill()
    program.communicate()
    squares.gate.touch()
    again = squares.start("x=1,2", "wait=[1,2]")
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert "deploying app" not in output
    assert len(squares.fake.calls()) == 2
    assert [squares.starts(0), squares.starts(1)] == [1, 1]
    third = squares.start("x=1,2", "wait=[1,2]")
    assert "2 of 2 jobs done" in third.communicate(timeout=60)[0]
    assert len(squares.fake.calls()) == 2


def test_ctrl_c_once_leaves_jobs_and_the_printed_command_shows_them_again(squares):
    program = squares.start("x=1,2", "wait=[1,2]")
    squares.wait_until_running(2)
    program.send_signal(signal.SIGINT)
    output, _ = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "once more within 5 s cancels them all" in output
    assert [one.alive for one in squares.fake.containers()] == [True, True]
    command = re.findall(r"to see them again: (.*)", output)[-1]
    squares.gate.touch()
    again = squares.run([sys.executable, *shlex.split(command)[1:]])
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert "2 of 2 jobs done" in output
    assert len(squares.fake.calls()) == 2


def test_ctrl_c_twice_cancels_the_jobs_and_stops_the_app(squares):
    program = squares.start("x=1,2", "wait=[1,2]")
    squares.wait_until_running(2)
    program.send_signal(signal.SIGINT)
    for line in program.stdout:
        if "once more within" in line:
            break
    program.send_signal(signal.SIGINT)
    output, _ = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "all jobs are cancelled" in output
    squares.fake.wait_until(lambda: not any(one.alive for one in squares.fake.containers()))
    assert {record["state"] for record in squares.records().values()} == {"cancelled"}
    assert [app.state for app in squares.fake.apps()] == ["stopped"]


def test_preempted_job_is_started_again_and_counted(squares):
    program = squares.start("x=3", "wait=[3]")
    (container,) = squares.wait_until_running(1)
    squares.fake.preempt(container.task_id)
    squares.fake.wait_until(lambda: len(squares.fake.containers()) == 2)
    squares.gate.touch()
    output, _ = program.communicate(timeout=120)
    assert program.returncode == 0, output
    assert squares.records()[0]["attempts"] == 2
    assert squares.starts(0) == 2
    assert "done (attempt 2)" in output
