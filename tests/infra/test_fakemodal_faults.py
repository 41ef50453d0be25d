"""Retries, timeouts, preemption, lost containers and cancellation in the loopback Modal."""

import sys
from collections.abc import Iterator
from pathlib import Path

import modal
import pytest

from tests.fakemodal import FakeModal, why_not
from tests.infra.shipping import Deploy, deployer, shipped

pytestmark = [
    pytest.mark.modal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder that every container sees: what happened there is known even after a kill."""
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture
def fake(tmp_path: Path, notes: Path) -> Iterator[FakeModal]:
    with (
        FakeModal(tmp_path / "modal", heartbeat_s=0.3, shared=[notes]) as fake,
        fake.connected(),
    ):
        yield fake


@pytest.fixture
def deploy(fake: FakeModal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deploy:
    return deployer(tmp_path, monkeypatch)


def happened(notes: Path, what: str = "attempt") -> int:
    return len(list(notes.glob(f"{what}-*")))


def wait_for_attempt(fake: FakeModal, notes: Path, number: int = 1) -> str:
    """Return the id of the container that works on the given attempt."""
    fake.wait_until(lambda: happened(notes) >= number)
    return next(c.task_id for c in reversed(fake.containers()) if c.alive)


def test_spawn_is_retried_by_the_server(fake: FakeModal, deploy: Deploy, notes: Path) -> None:
    call = deploy("fail_times", retries=modal.Retries(max_retries=2, initial_delay=0.0)).spawn(
        str(notes), 2
    )
    assert call.get(timeout=60) == 2
    assert [(c.status, c.attempts) for c in fake.calls()] == [("success", 3)]
    assert "FunctionRetryInputs" not in fake.rpcs


def test_spawn_fails_when_its_retries_are_used_up(
    fake: FakeModal, deploy: Deploy, notes: Path
) -> None:
    call = deploy("fail_times", retries=modal.Retries(max_retries=1, initial_delay=0.0)).spawn(
        str(notes), 9
    )
    with pytest.raises(ValueError, match="attempt 1 fails"):
        call.get(timeout=60)
    assert [(c.status, c.attempts) for c in fake.calls()] == [("failure", 2)]


def test_remote_is_retried_by_the_client(fake: FakeModal, deploy: Deploy, notes: Path) -> None:
    function = deploy("fail_times", retries=modal.Retries(max_retries=2, initial_delay=0.0))
    assert function.remote(str(notes), 2) == 2
    assert fake.rpcs["FunctionRetryInputs"] == 2


def test_map_is_retried_by_the_client_for_each_input(
    fake: FakeModal, deploy: Deploy, notes: Path
) -> None:
    function = deploy(
        "fail_once_each", retries=modal.Retries(max_retries=1, initial_delay=0.0), max_containers=2
    )
    assert list(function.starmap([(str(notes), n) for n in range(3)])) == [0, 1, 2]
    assert happened(notes, "value*") == 6


def test_timeout_ends_an_attempt_and_counts_as_a_retry(
    fake: FakeModal, deploy: Deploy, notes: Path
) -> None:
    function = deploy("sleep", timeout=1, retries=modal.Retries(max_retries=1, initial_delay=0.0))
    with pytest.raises(modal.exception.FunctionTimeoutError, match="timeout of 1s"):
        function.spawn(str(notes), 30, first_only=False).get(timeout=60)
    assert [(c.status, c.attempts) for c in fake.calls()] == [("timeout", 2)]
    assert happened(notes) == 2


def test_preempted_input_restarts_without_using_a_retry(
    fake: FakeModal, deploy: Deploy, notes: Path
) -> None:
    call = deploy("sleep").spawn(str(notes), 30)
    first = wait_for_attempt(fake, notes)
    fake.preempt(first, grace_s=5.0)
    assert call.get(timeout=60) == 1
    assert [(c.status, c.attempts) for c in fake.calls()] == [("success", 2)]
    assert len(fake.containers()) == 2
    assert "preemption" in fake.log(first)


def test_job_that_ignores_its_preemption_is_killed_after_the_grace_period(
    fake: FakeModal, deploy: Deploy, notes: Path
) -> None:
    call = deploy("ignore_interrupt").spawn(str(notes))
    fake.preempt(wait_for_attempt(fake, notes), grace_s=0.3)
    assert call.get(timeout=60) == 1


def test_system_exit_at_a_preemption_is_a_failure_not_a_restart(
    fake: FakeModal, deploy: Deploy, notes: Path
) -> None:
    # Lightning does this; a worker has to turn it back into KeyboardInterrupt.
    call = deploy("exit_when_interrupted").spawn(str(notes))
    fake.preempt(wait_for_attempt(fake, notes), grace_s=5.0)
    with pytest.raises(SystemExit):
        call.get(timeout=60)
    assert [(c.status, c.attempts) for c in fake.calls()] == [("failure", 1)]


def test_killed_container_loses_what_was_not_committed_and_its_input_restarts(
    fake: FakeModal, deploy: Deploy, notes: Path
) -> None:
    volume = modal.Volume.from_name("runs", create_if_missing=True, version=2)
    function = deploy("write_and_sleep", volumes={"/results": volume})
    call = function.spawn(str(notes), "/results/a.txt")
    fake.kill(wait_for_attempt(fake, notes))
    assert call.get(timeout=60) == 1
    fake.wait_until(lambda: not any(c.alive for c in fake.containers()))
    assert list(fake.volume("runs").iterdir()) == []


def test_killed_container_keeps_what_it_had_committed(
    fake: FakeModal, deploy: Deploy, notes: Path
) -> None:
    volume = modal.Volume.from_name("runs", create_if_missing=True, version=2)
    function = deploy("commit_and_sleep", volumes={"/results": volume})
    call = function.spawn(str(notes), "runs", "/results/a.txt")
    fake.kill(wait_for_attempt(fake, notes))
    assert call.get(timeout=60) == "committed"


def test_commit_to_a_full_volume_fails(fake: FakeModal, deploy: Deploy, notes: Path) -> None:
    volume = modal.Volume.from_name("runs", create_if_missing=True, version=2)
    function = deploy("commit_and_sleep", volumes={"/results": volume})
    fake.fill_volume("runs")
    with pytest.raises(Exception, match="no space left on device"):
        function.remote(str(notes), "runs", "/results/a.txt")


def test_call_survives_that_its_client_is_offline(
    fake: FakeModal, deploy: Deploy, notes: Path
) -> None:
    call = deploy("sleep").spawn(str(notes), 0)
    fake.offline = True
    fake.wait_until(lambda: fake.calls()[0].status == "success")
    with pytest.raises(modal.exception.ServiceError, match="network is down"):
        call.get(timeout=0)
    fake.offline = False
    assert call.get(timeout=60) == 0


def test_deployed_app_restarts_a_crashing_input_for_ever(
    fake: FakeModal, deploy: Deploy, notes: Path
) -> None:
    fake.knobs.crash_limit = 2
    call = deploy("crash").spawn(str(notes))
    fake.wait_until(lambda: happened(notes) >= 4)
    call.cancel(terminate_containers=True)
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        call.get(timeout=60)


def test_ephemeral_app_gives_up_on_a_crashing_input(
    fake: FakeModal, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.knobs.crash_limit = 2
    app = modal.App("short")
    crash = app.function()(shipped(tmp_path, monkeypatch).crash)
    with app.run(), pytest.raises(modal.exception.RemoteError, match="code 7 in 2 attempts"):
        crash.spawn(str(notes)).get(timeout=60)
    assert happened(notes) == 2


def test_running_call_is_cancelled_inside_the_function(
    fake: FakeModal, deploy: Deploy, notes: Path
) -> None:
    call = deploy("note_cancellation").spawn(str(notes))
    wait_for_attempt(fake, notes)
    call.cancel()
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        call.get(timeout=60)
    assert (notes / "cancelled").read_text() == "InputCancellation"
    assert fake.calls()[0].status == "terminated"


def test_cancelling_can_kill_the_container(fake: FakeModal, deploy: Deploy, notes: Path) -> None:
    call = deploy("note_cancellation").spawn(str(notes))
    wait_for_attempt(fake, notes)
    call.cancel(terminate_containers=True)
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        call.get(timeout=60)
    fake.wait_until(lambda: not any(c.alive for c in fake.containers()))
    assert not (notes / "cancelled").exists()


def test_waiting_call_is_cancelled_without_a_container(
    fake: FakeModal, deploy: Deploy, notes: Path
) -> None:
    function = deploy("sleep", max_containers=1)
    first = function.spawn(str(notes), 30)
    wait_for_attempt(fake, notes)
    waiting = function.spawn(str(notes), 30)
    waiting.cancel()
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        waiting.get(timeout=60)
    first.cancel(terminate_containers=True)
    assert [(c.status, c.attempts) for c in fake.calls()] == [("terminated", 1), ("terminated", 0)]


def test_import_error_ends_the_call_with_that_error(
    fake: FakeModal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import os\nif os.environ.get('MODAL_IS_REMOTE'):\n    import not_shipped\n"
    (tmp_path / "unimportable.py").write_text(text + "def run():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "unimportable", raising=False)
    app = modal.App("broken")
    app.function(retries=3)(__import__("unimportable").run)
    app.deploy()
    with pytest.raises(ModuleNotFoundError, match="not_shipped"):
        modal.Function.from_name("broken", "run").spawn().get(timeout=60)
    assert [(c.status, c.attempts) for c in fake.calls()] == [("init_failure", 0)]


def test_stopped_app_ends_its_running_call(fake: FakeModal, deploy: Deploy, notes: Path) -> None:
    call = deploy("sleep").spawn(str(notes), 30)
    wait_for_attempt(fake, notes)
    modal.App.lookup("jobs").stop()
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        call.get(timeout=60)
    assert [app.state for app in fake.apps()] == ["stopped"]
    with pytest.raises(modal.exception.NotFoundError):
        modal.Function.from_name("jobs", "sleep").hydrate()
