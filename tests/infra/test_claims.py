"""No job is begun twice, wherever a launcher is killed: the first call to claim it has it."""

import copy
from types import SimpleNamespace

import pytest

from bgb.infra import claims, launch, worker
from bgb.infra.container import Container
from bgb.infra.ledger import Ledger
from bgb.infra.payload import Failure
from tests.infra.cloud import Killed
from tests.infra.jobs import ticket

JOBS = [["x=1"], ["x=2"]]
UNRECORDED = 6  # step at which the first call is sent and its line not yet in the ledger


def values(returns):
    return [one.return_value for one in returns]


def records(tmp_path):
    return Ledger(tmp_path / "sweep").records


@pytest.fixture
def launched(cloud, program, tmp_path, monkeypatch):
    """Return a function that launches the jobs in a folder and is killed at a step; None then.

    A step lies before and after every line of the ledger, every call sent and every look.
    """
    sweep = program()
    jobs = launch.compose_jobs(sweep._context, sweep._config, overrides=JOBS, first=0)
    monkeypatch.setattr(launch, "compose_jobs", lambda *_, **__: jobs)  # Hydra takes its time

    def launched(folder, *, kill_at=None):
        again = copy.copy(sweep)
        again._dir = tmp_path / str(folder)
        cloud.steps, cloud.kill_at = 0, kill_at
        try:
            return values(again.launch(JOBS, 0))
        except Killed:
            return None

    return launched


def test_launcher_killed_at_any_step_goes_on_and_sends_nothing_twice(cloud, launched):
    for kill_at in range(1, 100):
        cloud.forget()
        if launched(kill_at, kill_at=kill_at):
            break
        assert launched(kill_at) == [1, 4]
        assert cloud.sent() == [1, 2], f"killed at step {kill_at}"
    assert 20 < kill_at < 99


@pytest.mark.parametrize("first_kill", [None, UNRECORDED], ids=["once", "twice"])
@pytest.mark.parametrize("newest_first", [False, True])
def test_launcher_killed_while_jobs_are_queued_begins_nothing_twice(
    cloud, launched, tmp_path, newest_first, first_kill
):
    cloud.newest_first = newest_first
    most_sent = 0
    for kill_at in range(1, 100):
        cloud.forget()
        cloud.queue = []
        if first_kill:
            assert launched(kill_at, kill_at=first_kill) is None
        if launched(kill_at, kill_at=kill_at):
            break
        assert launched(kill_at) == [1, 4]
        assert sorted(cloud.began()) == [1, 2], f"killed at step {kill_at}"
        known = Ledger(tmp_path / str(kill_at)).records
        assert {known[num].call_id for num in (0, 1)} == set(cloud.begun)
        most_sent = max(most_sent, len(cloud.sent()))
    assert 20 < kill_at < 99
    assert most_sent == (4 if first_kill else 3)


def test_job_that_begins_while_data_are_prepared_keeps_its_claim(cloud, program, tmp_path):
    """An earlier launcher sent it; this one looked for it before, and sends it again after."""
    cloud.queue, cloud.kill_at = [], UNRECORDED
    with pytest.raises(Killed):
        program().launch(JOBS[:1], 0)
    assert (cloud.sent(), records(tmp_path)[0].state) == ([1], "sending")

    def prepare(session, configs, *, progress):
        cloud.begin_all()

    task = SimpleNamespace(prepare=prepare)
    assert values(program(function=task).launch(JOBS[:1], 0)) == [1]
    assert (cloud.sent(), cloud.begun) == ([1, 1], ["fc-0"])
    assert records(tmp_path)[0].call_id == "fc-0"


def test_call_left_in_the_queue_may_take_the_place_of_one_that_failed(cloud, program, tmp_path):
    cloud.queue, cloud.kill_at = [], UNRECORDED
    with pytest.raises(Killed):
        program().launch(JOBS[:1], 0)
    cloud.queue, cloud.replies[1] = None, Failure("task", "bad")  # fc-0 waits on
    program().launch(JOBS[:1], 0)
    assert cloud.begun == ["fc-1"]
    cloud.queue = ["fc-0"]
    cloud.replies.clear()
    assert values(program().launch(JOBS[:1], 0)) == [1]
    assert cloud.begun == ["fc-1", "fc-0"]
    assert records(tmp_path)[0].call_id == "fc-0"


def test_dict_that_cannot_be_reached_hinders_no_job(monkeypatch, caplog):
    tries = []

    def unreachable(container):
        tries.append(container)
        raise ConnectionError("no network")

    monkeypatch.setattr(worker, "progress_dict", unreachable)
    monkeypatch.setattr(claims, "WAIT_S", 0.0)
    here = Container("app", "volume", "/results")
    assert worker._claim(ticket(), "fc-1", here) == "fc-1"
    assert len(tries) == claims.TRIES > 1
    assert "not guarded against a second start: no network" in caplog.text


def test_claim_that_is_taken_back_meanwhile_is_made_again():
    class Entries(dict):
        def put(self, key, value, *, skip_if_exists):
            assert skip_if_exists
            if not self.get("refused"):
                self["refused"] = True  # another's claim, which is gone at the next look
                return False
            self[key] = value
            return True

    entries = Entries()
    assert claims.claim(entries, "0", call_id="fc-1") == "fc-1"
    assert claims.owner(entries, "0") == "fc-1"
