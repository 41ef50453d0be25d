"""What a run tells the place where it runs: progress, files to publish, seconds and dollars."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from run_once import train

from bgb import job
from bgb.config.schema import TrainConfig
from bgb.files import read_json, write_json
from bgb.training.checkpoint import best_score
from bgb.training.provenance import Spending
from bgb.training.run_folder import RunFolder, run_folder


class WatchedJob(job.Job):
    """A rented machine at $36 an hour, a cent a second."""

    attempt = 3
    usd_per_hour = 36.0

    def __init__(self, last: Path) -> None:
        self.last = last
        self.shown: list[dict[str, float | str]] = []
        self.published_steps: list[int] = []

    def progress(self, **values: float | str) -> None:
        self.shown.append(values)

    def publish(self) -> None:
        self.published_steps.append(torch.load(self.last, weights_only=True)["global_step"])

    def provenance(self) -> dict[str, str]:
        return {"gpu": "A100-80GB"}


@pytest.fixture
def watched(make_config: Callable[..., TrainConfig]) -> Iterator[WatchedJob]:
    here = job.current()
    watched = WatchedJob(run_folder(make_config("run=watched")).last)
    job.set_current(watched)
    yield watched
    job.set_current(here)


def test_every_checkpoint_is_published_and_progress_is_shown(
    watched: WatchedJob, make_config: Callable[..., TrainConfig]
) -> None:
    folder = train(make_config("run=watched"))
    assert watched.published_steps == [3, 6, 6]  # two epochs of three steps, and the end
    assert watched.shown[0]["step"] == 1
    last = watched.shown[-1]
    assert (last["epoch"], last["step"]) == ("2/2", 6)
    assert 0 <= float(last["val/auroc"]) <= 1
    record = read_json(folder.provenance)
    assert record["usd"] == pytest.approx(record["seconds"] * 0.01, abs=2e-3)
    session = record["sessions"][0]
    assert (session["attempt"], session["usd_per_hour"]) == (3, 36.0)
    assert session["machine"] == {"gpu": "A100-80GB"}


def test_seconds_and_dollars_of_sessions_add_up(tmp_path: Path, watched: WatchedJob) -> None:
    folder = RunFolder(tmp_path)
    write_json(folder.provenance, {"seconds": 100.0, "usd": 2.5, "finished": None})
    now = [50.0]
    spending = Spending(folder, clock=lambda: now[0])
    for now[0] in (60.0, 80.0):  # recorded twice, counted once
        spending.record()
    record = read_json(folder.provenance)
    assert (record["seconds"], record["usd"]) == (130.0, pytest.approx(2.8))


def test_best_score_is_that_of_the_last_checkpoint(straight: RunFolder) -> None:
    checkpoint = torch.load(straight.last, weights_only=True)
    assert best_score(straight.last) == checkpoint["callbacks"]["Checkpoints"]["best_score"]
