"""A run folder of a Volume has one living writer, whatever its lock file says."""

import pytest

from bgb.config.infra import InfraConfig
from bgb.errors import RunError
from bgb.infra import leases
from bgb.infra.app import Session
from tests.fakemodal import FakeModal
from tests.infra import jobs
from tests.infra.jobs import ticket, wait


class Entries(dict):
    """What a lease uses of a modal.Dict."""

    def put(self, key, value, *, skip_if_exists):
        if skip_if_exists and key in self:
            return False
        self[key] = value
        return True


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


FIRST = {"call": "fc-1", "sweep": "s1", "job": "0"}
SECOND = {"call": "fc-2", "sweep": "s2", "job": "3"}


def test_living_call_keeps_its_run(now: list[float]) -> None:
    entries = Entries()
    leases.take(entries, "v/runs/x", **FIRST)
    now[0] += 170
    leases.renew(entries, "v/runs/x", **FIRST)
    now[0] += 170
    with pytest.raises(RunError, match=r"v/runs/x is being written by job 0 of sweep s1.*170 s"):
        leases.take(entries, "v/runs/x", **SECOND)
    leases.take(entries, "v/runs/y", **SECOND)  # another run is free
    leases.take(entries, "v/runs/x", **FIRST)  # its own next attempt


def test_run_of_a_call_that_is_gone_is_taken_over(now: list[float]) -> None:
    entries = Entries()
    leases.take(entries, "v/runs/x", **FIRST)
    now[0] += leases.EXPIRES_S
    leases.take(entries, "v/runs/x", **SECOND)
    leases.release(entries, "v/runs/x", call="fc-1")  # too late: it is the other's
    assert entries["v/runs/x"]["call"] == "fc-2"
    leases.release(entries, "v/runs/x", call="fc-2")
    assert not entries


@pytest.mark.modal
def test_two_sweeps_do_not_write_one_run_at_the_same_time(fake_modal: FakeModal) -> None:
    session = Session(InfraConfig(), sweep_id="s")
    session.deploy()
    first = session.submit(jobs.own_a_run_for_ever, ticket=ticket(name="a"))
    fake_modal.wait_until(lambda: session.progress().get("a", {}).get("epoch") == 1)
    other = ticket(name="b", job_dir="/results/sweeps/other/b")
    reply = wait(session, session.submit(jobs.own_a_run_for_ever, ticket=other))
    assert isinstance(reply.exception, RunError)
    assert "runs/x is being written by job a of sweep s" in reply.message
    session.cancel(first)
