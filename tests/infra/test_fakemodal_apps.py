"""Apps of the loopback Modal live and end as Modal's: ephemeral, detached, deployed."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest

from tests.fakemodal import FakeModal, why_not
from tests.infra.shipping import shipped

pytestmark = [
    pytest.mark.modal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeModal]:
    with FakeModal(tmp_path / "modal") as fake, fake.connected():
        yield fake


def test_ephemeral_app_stops_with_its_client_and_shows_its_logs(
    fake: FakeModal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    app = modal.App("short")
    double = app.function()(shipped(tmp_path, monkeypatch).double)
    with modal.enable_output(), app.run():
        assert fake.apps()[0].state == "ephemeral"
        assert double.remote(4) == 8
    assert fake.apps()[0].state == "stopped"
    fake.wait_until(lambda: not any(c.alive for c in fake.containers()))
    assert "doubling 4" in capsys.readouterr().out


CLIENT = """
    import modal, sys, time
    sys.path.insert(0, sys.argv[1])
    import jobs_in_modal
    app = modal.App("from-elsewhere")
    sleep = app.function()(jobs_in_modal.sleep)
    with app.run(detach=sys.argv[2] == "detach"):
        print(sleep.spawn(sys.argv[3], 30).object_id, flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize(("mode", "state"), [("ephemeral", "stopped"), ("detach", "detached")])
def test_only_a_detached_app_outlives_a_killed_client(
    fake: FakeModal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, state: str
) -> None:
    shipped(tmp_path, monkeypatch)
    environment = os.environ | {"MODAL_HEARTBEAT_INTERVAL": "0.3"}
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(CLIENT),
        str(tmp_path / "source"),
        mode,
        "/tmp",
    ]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        call_id = client.stdout.readline().strip()
        fake.wait_until(lambda: [c for c in fake.calls() if c.status == "running"])
        fake.wait_until(lambda: fake.rpcs["AppHeartbeat"] > 3)
        client.kill()
    if mode == "ephemeral":
        fake.wait_until(lambda: fake.apps()[0].state == "stopped")
        fake.wait_until(lambda: fake.calls()[0].status == "terminated")
    else:
        fake.preempt(fake.containers()[0].task_id)
        fake.wait_until(lambda: fake.calls()[0].attempts == 2)
        modal.FunctionCall.from_id(call_id).cancel(terminate_containers=True)
    assert fake.apps()[0].state == state


def test_leaving_kills_every_container_even_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = shipped(tmp_path, monkeypatch)
    with pytest.raises(ZeroDivisionError), FakeModal(tmp_path / "m") as fake, fake.connected():
        app = modal.App("jobs")
        sleep = app.function()(jobs.sleep)
        app.deploy()
        sleep.spawn("/tmp", 60)
        pids = fake.wait_until(lambda: [c.pid for c in fake.containers() if c.alive])
        raise ZeroDivisionError
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_two_loopback_modals_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = shipped(tmp_path, monkeypatch)
    with FakeModal(tmp_path / "one") as one, FakeModal(tmp_path / "two") as two:
        for fake, value in ((one, 1), (two, 2)):
            with fake.connected():
                app = modal.App("jobs")
                app.function()(jobs.double)
                app.deploy()
                assert modal.Function.from_name("jobs", "double").remote(value) == 2 * value
        assert (len(one.calls()), len(two.calls())) == (1, 1)
