"""What the worker does with a job: attempts, preemption, hours, results, errors."""

import json
import math
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bgb import job
from bgb.config.infra import InfraConfig, VolumeConfig
from bgb.errors import InfraError
from bgb.infra import attempts, worker
from bgb.infra.app import Session
from bgb.infra.container import Container
from bgb.infra.payload import Done, Failure, pack, unpack
from bgb.infra.preemption import OrderlyStop
from tests.fakemodal import FakeModal
from tests.infra import jobs
from tests.infra.jobs import ticket, wait
from tests.infra.loopback import started

pytestmark = pytest.mark.modal


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeModal, Session]]:
    """One app for all tests, each of which has a job of its own."""
    with started(tmp_path_factory.mktemp("worker")) as fake:
        session = Session(InfraConfig(), sweep_id="s")
        session.deploy()
        yield fake, session


@pytest.fixture
def fake_modal(shared: tuple[FakeModal, Session], monkeypatch: pytest.MonkeyPatch) -> FakeModal:
    monkeypatch.setattr(jobs, "NAME", uuid.uuid4().hex[:8])
    return shared[0]


@pytest.fixture
def session(fake_modal: FakeModal, shared: tuple[FakeModal, Session]) -> Session:
    return shared[1]


def running(fake: FakeModal, session: Session, call: str) -> str:
    """Wait until a job reports its first epoch; return its container's id."""
    fake.wait_until(lambda: session.progress().get(jobs.NAME, {}).get("epoch") == 1)
    (found,) = [one for one in fake.containers() if one.alive and one.call_id == call]
    return found.task_id


def send_again(session: Session, ended: str, function: Callable[[], object], **changes) -> str:
    """Send a job once more after its call ended, as the launcher does."""
    session.release(jobs.NAME, ended=ended)
    return session.submit(function, ticket=ticket(**changes))


Preempt = Callable[..., Done | Failure]


@pytest.fixture
def preempt(fake_modal: FakeModal, session: Session) -> Preempt:
    """Start a job, preempt it once it reports, and return how it ended."""

    def preempt(function: Callable[..., object], **changes: object) -> Done | Failure:
        call = session.submit(function, ticket=ticket(**changes))
        fake_modal.preempt(running(fake_modal, session, call), grace_s=20.0)
        return wait(session, call)

    return preempt


def test_value_comes_back_with_attempts_and_seconds(session: Session) -> None:
    reply = wait(session, session.submit(jobs.add, 2, 3, ticket=ticket()))
    assert isinstance(reply, Done)
    assert (reply.value, reply.attempts) == (5, 1)
    assert reply.seconds > 0


def test_preempted_job_goes_on_in_another_attempt(session: Session, preempt: Preempt) -> None:
    assert preempt(jobs.report_then_sleep).value == 2
    assert session.progress()[jobs.NAME]["attempt"] == 2
    assert session.progress()[jobs.NAME]["state"] == "done"


def test_preempted_job_that_exits_on_interrupt_is_started_again(preempt: Preempt) -> None:
    assert preempt(jobs.exit_when_interrupted).value == 2


def test_preempted_job_that_handles_sigterm_leaves_its_checkpoint(preempt: Preempt) -> None:
    assert preempt(jobs.checkpoint_when_told).value == "saved at a batch boundary"


def test_value_that_a_preempted_job_returns_is_not_trusted(preempt: Preempt) -> None:
    assert preempt(jobs.return_early_when_told).value == "whole"


def test_preemption_counts_as_an_attempt(preempt: Preempt) -> None:
    reply = preempt(jobs.sleep_for_ever, max_attempts=1)
    assert reply.kind == "attempts"
    assert "was started 1 times and never ended" in reply.message


def test_killed_container_loses_what_was_not_published(
    fake_modal: FakeModal, session: Session
) -> None:
    call = session.submit(jobs.publish_one_file_of_two, ticket=ticket())
    fake_modal.kill(running(fake_modal, session, call))
    reply = wait(session, call)
    assert (reply.value, reply.attempts) == (["published"], 2)


def test_crash_loop_ends_at_max_attempts(session: Session, fake_modal: FakeModal) -> None:
    call = session.submit(jobs.die, ticket=ticket(max_attempts=2))
    reply = wait(session, call)
    assert (reply.kind, reply.attempts) == ("attempts", 2)
    assert "infra.max_attempts" in reply.message
    assert len([one for one in fake_modal.containers() if one.call_id == call]) == 3


def test_job_that_failed_counts_its_attempts_anew_when_sent_again(session: Session) -> None:
    call = ""
    for _ in range(2):
        call = send_again(session, call, jobs.die, max_attempts=1)
        reply = wait(session, call)
        assert (reply.kind, reply.attempts) == ("attempts", 1)


def test_job_is_stopped_with_a_checkpoint_when_its_hours_are_used_up(
    session: Session, volume: Path
) -> None:
    call = session.submit(jobs.checkpoint_when_told, ticket=ticket(max_hours=0.5 / 3600))
    reply = wait(session, call)
    assert reply.kind == "budget"
    assert "infra.max_hours=0.000138889" in reply.message
    assert (volume / "jobs" / jobs.NAME / "last.ckpt").read_text() == "saved at a batch boundary"


def test_hours_of_earlier_attempts_count(session: Session, preempt: Preempt) -> None:
    reply = preempt(jobs.sleep_for_ever, max_hours=2.0 / 3600)
    assert (reply.kind, reply.attempts) == ("budget", 2)
    assert 2.0 <= reply.seconds < 30.0


def test_silent_attempt_is_charged_until_the_next_one_or_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It may have hung, paid and unable to say so: the predecessor's GPU hours went that way.
    now = 1000.0
    monkeypatch.setattr("time.time", lambda: now)
    first = attempts.begin(tmp_path, "call", number=1, task="a")
    now += 60
    attempts.touch(tmp_path, first)  # its last sign of life
    now += 7200
    second = attempts.begin(tmp_path, "call", number=2, task="b")
    now += 100
    attempts.touch(tmp_path, second, ended=True)
    attempts.begin(tmp_path, "other", number=1, task="c")
    now += 500
    found = attempts.earlier(tmp_path, "call")
    assert [one.task for one in found] == ["a", "b"]
    assert attempts.spent_s(found, longest_s=math.inf) == 7260 + 100
    assert attempts.spent_s(found, longest_s=3600) == 3600 + 100
    assert attempts.spent_s(found[:1], longest_s=math.inf) == 7860  # until now


def test_torn_attempt_counts_for_its_own_call(tmp_path: Path) -> None:
    attempts.begin(tmp_path, "call", number=1, task="a")
    (torn,) = (tmp_path / "attempts").iterdir()
    torn.write_text("{")
    assert len(attempts.earlier(tmp_path, "call")) == 1
    assert not attempts.earlier(tmp_path, "another")


def test_attempt_that_nears_the_limit_of_modal_stops_with_a_checkpoint(
    session: Session, volume: Path
) -> None:
    limited = ticket(attempt_hours=2.0 / 3600, max_attempts=1)
    reply = wait(session, session.submit(jobs.checkpoint_when_told, ticket=limited))
    assert reply.kind == "attempts"  # it would go on in its next one
    assert (volume / "jobs" / jobs.NAME / "last.ckpt").read_text() == "saved at a batch boundary"


def test_attempt_has_the_hours_that_earlier_ones_left(
    fake_modal: FakeModal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds_left = []

    def stop(seconds: float, *, attempt_s: float) -> OrderlyStop:
        seconds_left.append(seconds)
        return OrderlyStop(seconds, attempt_s=attempt_s)

    monkeypatch.setattr(worker, "OrderlyStop", stop)
    monkeypatch.setattr(job, "_current", job.current())
    known = ticket(job_dir=str(tmp_path), max_hours=1.0)
    attempt = attempts.begin(tmp_path, "call", number=2, task="t")
    here = Container("app", "volume", str(tmp_path))
    request = unpack(pack(abs, [-1], known))
    reply = worker._attempt(request, known, attempt, here, earlier_s=600.0)
    assert seconds_left == [3000.0]
    assert (reply.value, reply.attempts) == (1, 2)
    assert reply.seconds >= 600.0


def attempt_at_once(folder: Path, **hours: float) -> Done | Failure:
    """Run a job in this very process, as the worker would."""
    known = ticket(job_dir=str(folder), **hours)
    attempt = attempts.begin(folder, "call", number=1, task="t")
    request = unpack(pack(jobs.stop_before_the_end, [], known))
    return worker._attempt(
        request, known, attempt, Container("app", "volume", str(folder)), earlier_s=60.0
    )


def test_job_that_predicts_its_end_stops_early_and_for_the_right_reason(
    fake_modal: FakeModal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "_current", job.current())
    left_s = attempt_at_once(tmp_path / "whole", max_hours=2.0).value
    assert 7100 < left_s <= 2 * 3600 - 60
    reply = attempt_at_once(tmp_path / "hours", max_hours=0.9)
    assert reply.kind == "budget"
    with pytest.raises(KeyboardInterrupt):  # upon which Modal starts another attempt
        attempt_at_once(tmp_path / "attempt", max_hours=9.0, attempt_hours=0.9)


def test_finished_job_is_not_run_again(session: Session) -> None:
    for _ in range(2):
        assert wait(session, session.submit(jobs.count_runs, ticket=ticket())).value == 1


def test_result_of_another_configuration_does_not_count(session: Session) -> None:
    call = ""
    for run in (1, 2):
        call = send_again(session, call, jobs.count_runs, fingerprint=f"f{run}")
        assert wait(session, call).value == run


def test_failed_job_is_run_again_when_sent_again(session: Session) -> None:
    call = ""
    for run in (1, 2):
        call = send_again(session, call, jobs.fail_after_counting)
        reply = wait(session, call)
        assert (reply.kind, reply.message) == ("task", f"ValueError: run {run}")
        assert isinstance(reply.exception, ValueError)


def test_job_that_is_sent_twice_is_run_by_one_call(
    session: Session, fake_modal: FakeModal, volume: Path
) -> None:
    calls = [session.submit(jobs.report_then_sleep, ticket=ticket()) for _ in range(2)]
    fake_modal.wait_until(lambda: any(session.look(call) for call in calls))
    (loser,) = [call for call in calls if session.look(call)]
    (owner,) = set(calls) - {loser}
    reply = session.look(loser)
    assert (reply.kind, reply.owner, reply.attempts) == ("duplicate", owner, 0)
    assert f"call {owner} has it" in reply.message
    assert session.owner(jobs.NAME) == owner
    assert session.stored(ticket()) is None
    fake_modal.preempt(running(fake_modal, session, owner), grace_s=20.0)
    assert wait(session, owner).value == 2  # its second attempt still has the job
    kept = (volume / "sweeps" / "s" / jobs.NAME / "attempts").glob("*.json")
    assert [json.loads(path.read_text())["call"] for path in kept] == [owner, owner]
    assert not [name for name in session.progress() if jobs.NAME in name and name != jobs.NAME]


def test_claim_of_a_call_that_is_not_known_to_have_ended_stays(session: Session) -> None:
    first = session.submit(jobs.fail_after_counting, ticket=ticket())
    assert wait(session, first).message == "ValueError: run 1"
    reply = wait(session, send_again(session, "another", jobs.fail_after_counting))
    assert (reply.kind, reply.owner) == ("duplicate", first)


def test_reply_stays_on_the_volume_for_its_fingerprint(session: Session) -> None:
    assert session.stored(ticket()) is None
    wait(session, session.submit(jobs.add, 2, 3, ticket=ticket()))
    assert session.stored(ticket()).value == 5
    assert session.stored(ticket(fingerprint="other")) is None


def test_exception_that_cannot_be_pickled_keeps_its_traceback(session: Session) -> None:
    reply = wait(session, session.submit(jobs.raise_unreadable, ticket=ticket()))
    assert (reply.kind, reply.exception) == ("task", None)
    assert isinstance(reply.error(), InfraError)
    assert "OnlyHereError: neveragain" in str(reply.error())
    assert "in raise_unreadable" in str(reply.error())


def test_value_that_cannot_be_pickled_is_a_failure_that_says_so(session: Session) -> None:
    reply = wait(session, session.submit(jobs.return_lock, ticket=ticket()))
    assert reply.kind == "unpickle"
    assert "what the job returned cannot be pickled" in reply.message
    assert reply.attempts == 1


def test_module_that_the_container_lacks_is_named(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "laptop_only.py").write_text("def work():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import laptop_only

    reply = wait(session, session.submit(laptop_only.work, ticket=ticket()))
    assert reply.kind == "unpickle"
    assert "no module named 'laptop_only'" in reply.message
    assert "infra.packages=[laptop_only]" in reply.message


@pytest.mark.parametrize("with_ticket", [True, False])
def test_full_volume_ends_the_job_and_says_what_to_do(
    session: Session, fake_modal: FakeModal, with_ticket: bool
) -> None:
    infra = replace(session.infra, volume=VolumeConfig(name="full"))
    full = Session(infra, sweep_id="full")
    full.deploy()
    fake_modal.fill_volume("full")
    reply = wait(full, full.submit(jobs.count_runs, ticket=ticket() if with_ticket else None))
    assert reply.kind == "storage"
    assert "no space left on device" in reply.message
    assert "modal volume rm full" in reply.message


def test_job_folder_that_cannot_be_written_is_said(session: Session) -> None:
    call = session.submit(jobs.add, 1, 2, ticket=ticket(job_dir="/proc/0"))
    reply = wait(session, call)
    assert reply.kind == "storage"
    assert "Volume brain-go-brr-results at /results cannot be written" in reply.message
    assert "/proc/0" in reply.message


def test_progress_reaches_the_launcher(session: Session, fake_modal: FakeModal) -> None:
    call = session.submit(jobs.report_then_sleep, ticket=ticket())
    fake_modal.wait_until(lambda: "auroc" in session.progress().get(jobs.NAME, {}))
    entry = session.progress()[jobs.NAME]
    assert {"epoch": 1, "auroc": 0.5, "state": "running", "attempt": 1}.items() <= entry.items()
    assert entry["call_id"] == call
    assert entry["at"] >= entry["started"]
    fake_modal.wait_until(lambda: "asleep" in session.task_logs(call, 10))


def test_cancelled_job_ends_as_cancelled(session: Session, fake_modal: FakeModal) -> None:
    call = session.submit(jobs.sleep_for_ever, ticket=ticket())
    fake_modal.wait_until(lambda: jobs.NAME in session.progress())
    session.cancel(call)
    assert wait(session, call).kind == "cancelled"
    fake_modal.wait_until(
        lambda: not any(one.alive for one in fake_modal.containers() if one.call_id == call)
    )


def test_job_that_is_cancelled_from_elsewhere_says_so(
    session: Session, fake_modal: FakeModal
) -> None:
    import modal

    call = session.submit(jobs.sleep_for_ever, ticket=ticket())
    running(fake_modal, session, call)
    modal.FunctionCall.from_id(call).cancel()
    assert wait(session, call).kind == "cancelled"
    fake_modal.wait_until(lambda: session.progress()[jobs.NAME]["state"] == "cancelled")


def test_outputs_are_remembered_relative_to_the_volume(session: Session, volume: Path) -> None:
    wait(session, session.submit(jobs.add_output, f"/results/runs/{jobs.NAME}", ticket=ticket()))
    outputs = json.loads((volume / "sweeps" / "s" / jobs.NAME / "outputs.json").read_text())
    assert outputs == {"folders": [f"runs/{jobs.NAME}"]}


def test_output_outside_the_volume_is_refused(session: Session) -> None:
    reply = wait(session, session.submit(jobs.add_output, "/tmp/runs/a", ticket=ticket()))
    assert "/tmp/runs/a is not on the Volume" in reply.message
    assert "set results=/results" in reply.message


def test_provenance_names_machine_and_price(session: Session) -> None:
    reply = wait(session, session.submit(jobs.provenance, ticket=ticket()))
    assert reply.value["modal_task_id"].startswith("ta-")
    assert reply.value["modal_image_id"].startswith("im-")
    assert reply.value["usd_per_hour"] == "2.5000"
    assert reply.value["sweep"] == "s"


def test_seconds_of_an_attempt_are_those_it_was_seen(tmp_path: Path) -> None:
    attempt = attempts.begin(tmp_path, "call", number=1, task="t")
    attempts.touch(tmp_path, replace(attempt, started_s=attempt.started_s))
    (known,) = attempts.earlier(tmp_path, "call")
    assert known.seconds == known.seen_s - attempt.started_s >= 0


def test_job_that_ignores_sigterm_is_interrupted_after_the_grace() -> None:
    code = """
import os, signal, time
from bgb.infra.preemption import OrderlyStop
signal.signal(signal.SIGTERM, lambda signum, frame: print("told", flush=True))
stop = OrderlyStop(3600, grace_s=0.2)
try:
    with stop:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
except KeyboardInterrupt:
    print(stop.reason)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.split() == ["told", "preempted"]
