"""Short calls in containers: each answer is kept as it comes, and nothing is left running."""

import pytest

from bgb.config.infra import InfraConfig
from bgb.infra import probe
from bgb.infra.deployment import JOB, _machine
from bgb.infra.payload import Done, Failure
from bgb.infra.probe import probe_infra, run_calls, temporary_session


class Calls:
    """A session whose calls end with `replies`; the call of None never ends."""

    def __init__(self, *replies):
        self.infra = InfraConfig(poll_s=0.001)
        self.replies, self.cancelled, self.num_sent = replies, [], 0

    def submit(self, function, position):
        self.num_sent += 1
        return str(position)

    def look(self, call):
        return self.replies[int(call)]

    def cancel(self, call):
        self.cancelled.append(call)


def run(session, kept):
    positions = [(number,) for number in range(len(session.replies))]
    run_calls(session, abs, positions, on_value=lambda *pair: kept.append(pair))


def test_what_was_measured_is_kept_when_another_measurement_fails():
    kept = []
    with pytest.raises(ValueError, match="second"):
        failures = [Failure("task", "", "", ValueError(name)) for name in ("second", "third")]
        run(Calls(Done("first"), *failures, Done("last")), kept)
    assert kept == [(0, "first"), (3, "last")]


def test_calls_are_cancelled_when_the_command_ends_early():
    session = Calls(Done("first"), None)
    with pytest.raises(KeyboardInterrupt):
        run_calls(session, abs, [(0,), (1,)], on_value=interrupt)
    assert session.cancelled == ["1"]


def test_modal_starts_no_measurement_a_second_time():
    short = probe_infra(InfraConfig(), seconds=60)
    assert _machine(short, JOB)["retries"].max_retries == 0


def interrupt(position, value):
    raise KeyboardInterrupt


class Apps:
    """Notes which apps were deployed and stopped."""

    def __init__(self, monkeypatch):
        self.deployed, self.stopped = [], []
        monkeypatch.setattr(probe, "Session", self.session)

    def session(self, infra, *, sweep_id, packages):
        self.name = sweep_id
        return self

    def deploy(self):
        self.deployed.append(self.name)

    def stop(self):
        self.stopped.append(self.name)


def test_app_that_ctrl_c_left_is_found_by_its_name_and_stopped_the_next_time(monkeypatch):
    apps = Apps(monkeypatch)
    with pytest.raises(KeyboardInterrupt), temporary_session(InfraConfig(), name="abc"):
        raise KeyboardInterrupt
    assert apps.stopped == []
    with temporary_session(InfraConfig(), name="abc"):
        pass
    assert (apps.deployed, apps.stopped) == (["plan-abc"] * 2, ["plan-abc"])


def test_app_without_a_name_is_always_stopped(monkeypatch):
    apps = Apps(monkeypatch)
    with pytest.raises(KeyboardInterrupt), temporary_session(InfraConfig()):
        raise KeyboardInterrupt
    assert apps.stopped == apps.deployed
