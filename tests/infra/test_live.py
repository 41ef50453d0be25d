"""A sweep as a newcomer types it, on the loopback Modal; with `--live` on the real one, for cents.

pytest --live -m live tests/infra/test_live.py
"""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fakemodal import FakeModal, why_not

pytestmark = pytest.mark.slow
WORDS = (
    *("+experiment=smoke", "trainer.max_epochs=1", "data.sampling.windows_per_epoch=32"),
    *("evaluation.baseline=false", "logger=csv", "+infra=modal_cpu", "infra.max_cost_usd=1"),
    *("infra.max_hours=0.25", "infra.bucket.name=null", "infra.secrets=[]"),
)


def train(folder: Path, *words: str, **environment: str) -> str:
    command = [sys.executable, "-m", "bgb.train", *WORDS, *words]
    environment = {**os.environ, **environment, "COLUMNS": "120"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def check_run(sweep: Path, num: int) -> None:
    (run,) = (sweep / str(num)).glob("smoke-*")
    assert json.loads((run / "scores.json").read_text())
    record = json.loads((run / "provenance.json").read_text())
    assert record["finished"] and record["seconds"] > 0 and record["usd"] > 0
    assert record["sessions"][0]["machine"]["modal_task_id"]
    assert not list(run.rglob("*.ckpt"))  # stays on the Volume


@pytest.mark.modal
@pytest.mark.skipif(bool(why_not()), reason=f"no containers here: {why_not()}")
def test_one_run_needs_no_multirun_flag_and_comes_back(
    fake_modal: FakeModal, tmp_path: Path
) -> None:
    environment: Mapping[str, str] = fake_modal.environment
    output = train(tmp_path, **environment)
    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    check_run(sweep, 0)
    assert "1 of 1 jobs done" in output
    assert "All summed" in output  # the scores, as a run on this machine prints them
    assert not (tmp_path / "data").exists()  # nothing was generated or trained here
    options = {one["name"]: one for one in fake_modal.function_options()}
    assert options["job"]["volumes"].keys() == {"/results"}
    before = len(fake_modal.calls())
    train(tmp_path, "seed=1", **environment)  # the cache is there: the job starts at once
    assert [call.function_name for call in fake_modal.calls()[before:]] == ["job"]


@pytest.mark.live
def test_two_small_jobs_on_a_real_account(tmp_path: Path) -> None:
    volume = f"bgb-live-{uuid.uuid4().hex[:8]}"
    try:
        train(tmp_path, "seed=0,1", f"infra.volume.name={volume}")
        (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
        for num in (0, 1):
            check_run(sweep, num)
    finally:
        delete = [sys.executable, "-m", "modal", "volume", "delete", "--yes", volume]
        subprocess.run(delete, check=True)
