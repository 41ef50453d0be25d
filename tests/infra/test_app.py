"""Session: deploy, submit, look, cancel, stop; and what it says when Modal refuses."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bgb.config.infra import BucketConfig, InfraConfig, VolumeConfig
from bgb.errors import InfraError
from bgb.infra import app, deployment, payload
from bgb.infra.app import Session
from bgb.infra.payload import Done, Failure
from tests.fakemodal import FakeModal
from tests.infra import jobs
from tests.infra.jobs import ticket, wait
from tests.infra.loopback import SECRETS

pytestmark = pytest.mark.modal
INFRA = InfraConfig(secrets=["wandb-secret"])


@pytest.fixture
def session(fake_modal: FakeModal) -> Session:
    session = Session(INFRA, sweep_id="s")
    session.deploy()
    return session


def options_of(fake: FakeModal, pool: str) -> dict:
    (found,) = [one for one in fake.function_options() if one["name"] == pool]
    return found


def test_job_pool_is_the_machine_that_was_asked_for(fake_modal: FakeModal) -> None:
    infra = replace(INFRA, gpu="A100-80GB:2", cpu=8, memory_gib=64, region="us-east")
    Session(replace(infra, max_attempts=30, max_hours=6), sweep_id="s").deploy()
    job = options_of(fake_modal, "job")
    assert (job["gpu"], job["cpu"], job["memory_mib"]) == ("A100-80GB:2", (8, 8), (65536, 65536))
    assert (job["retries"], job["single_use_containers"], job["regions"]) == (10, True, ["us-east"])
    assert job["timeout_s"] == (6 + deployment.SLACK_H) * 3600
    assert job["startup_timeout_s"] == 600
    volume = {"name": "brain-go-brr-results", "version": 1, "read_only": False, "sub_path": ""}
    assert job["volumes"] == {"/results": volume}
    assert job["buckets"]["/data"]["read_only"]
    assert job["buckets"]["/data"]["key_prefix"] == "tusz/"
    assert "wandb-secret" in job["secrets"]


def test_cpu_pool_has_no_gpu_and_its_own_size(fake_modal: FakeModal) -> None:
    Session(replace(INFRA, gpu="L4", cpu=8), sweep_id="s").deploy()
    cpu = options_of(fake_modal, "cpu")
    assert (cpu["gpu"], cpu["cpu"], cpu["memory_mib"]) == (None, (2, 2), (8192, 8192))


def test_attempt_never_lasts_longer_than_modal_allows(fake_modal: FakeModal) -> None:
    Session(replace(INFRA, max_hours=100), sweep_id="s").deploy()
    assert options_of(fake_modal, "job")["timeout_s"] == 24 * 3600


@pytest.mark.parametrize(("version", "containers"), [(1, 5), (2, 10)])
def test_volume_of_version_1_has_at_most_five_writers(
    fake_modal: FakeModal, caplog: pytest.LogCaptureFixture, version: int, containers: int
) -> None:
    caplog.set_level(logging.INFO)
    infra = replace(INFRA, volume=VolumeConfig(version=version))
    Session(infra, sweep_id="s").deploy()
    assert options_of(fake_modal, "job")["max_containers"] == containers
    assert ("at most 5 jobs at once" in caplog.text) == (version == 1)


def test_deploying_again_changes_nothing(session: Session, fake_modal: FakeModal) -> None:
    Session(INFRA, sweep_id="s").deploy()
    Session(replace(INFRA, max_cost_usd=1, poll_s=9), sweep_id="s").deploy()
    assert fake_modal.rpcs["AppPublish"] == 1


def test_changed_source_is_deployed_anew(
    fake_modal: FakeModal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_module.py").write_text("VALUE = 1\n")
    for value in (1, 2):
        (tmp_path / "my_module.py").write_text(f"VALUE = {value}\n")
        Session(INFRA, sweep_id="s", packages=["my_module"]).deploy()
    assert fake_modal.rpcs["AppPublish"] == 2


def test_stopped_app_is_deployed_anew(session: Session, fake_modal: FakeModal) -> None:
    session.stop()
    session.stop()
    session.deploy()
    assert wait(session, session.submit(jobs.add, 1, 2)) == Done(3)
    assert [one.state for one in fake_modal.apps()][-2:] == ["stopped", "deployed"]


def test_file_saved_while_deploying_is_no_error(
    fake_modal: FakeModal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "my_module.py"
    source.write_text("VALUE = 1\n")
    build = deployment.build_app
    saved_at = [time.time() + 60, time.time() - 60]  # the first one while Modal reads the files

    def build_and_save(*args: object, **options: object) -> object:
        when = saved_at.pop(0)
        os.utime(source, (when, when))
        return build(*args, **options)

    monkeypatch.setattr(deployment, "build_app", build_and_save)
    Session(INFRA, sweep_id="s", packages=["my_module"]).deploy()
    assert (fake_modal.rpcs["AppPublish"], saved_at) == (1, [])


def test_job_sees_secrets_and_where_results_belong(session: Session) -> None:
    names = ("WANDB_API_KEY", "BGB_RESULTS", "BGB_JOB", "MODAL_TOKEN_SECRET")
    reply = wait(session, session.submit(jobs.environment, *names))
    assert reply.value == {
        "WANDB_API_KEY": SECRETS["wandb-secret"]["WANDB_API_KEY"],
        "BGB_RESULTS": "/results",
        "BGB_JOB": "1",
        "MODAL_TOKEN_SECRET": None,
    }


def test_no_secret_is_ever_sent(
    session: Session, fake_modal: FakeModal, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "0123456789abcdef-secret"
    monkeypatch.setenv("WANDB_API_KEY", secret)
    with pytest.raises(InfraError, match=r"value of the environment variable WANDB_API_KEY"):
        session.submit(jobs.add, {"logger": {"key": secret}}, 1)
    wait(session, session.submit(jobs.add, 1, 2, ticket=ticket()))
    sent = b"".join(fake_modal.payloads())
    assert b"/results/sweeps/s/0" in sent
    assert secret.encode() not in sent
    assert fake_modal.environment["MODAL_TOKEN_SECRET"].encode() not in sent


def test_another_process_finds_app_and_call_again(session: Session, tmp_path: Path) -> None:
    call = session.submit(jobs.add, 1, 2)
    wait(session, call)
    code = f"""
from bgb.config.infra import InfraConfig
from bgb.infra.app import Session
session = Session(InfraConfig(secrets=["wandb-secret"]), sweep_id="s")
print(session.look({call!r}).value)
print(session.submit(abs, -1))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    value, other_call = done.stdout.split()
    assert value == "3"
    assert wait(session, other_call) == Done(1)


def test_call_that_has_not_ended_is_none(session: Session, fake_modal: FakeModal) -> None:
    fake_modal.start_delay_s = 1.0
    call = session.submit(jobs.add, 1, 2)
    assert session.look(call) is None
    assert wait(session, call) == Done(3)


def test_expired_result_is_said_to_be_expired(session: Session, fake_modal: FakeModal) -> None:
    call = session.submit(jobs.add, 1, 2)
    wait(session, call)
    fake_modal.expire(call)
    assert session.look(call) == Failure("expired", f"Modal no longer keeps the result of {call}")
    assert session.look("fc-0123456789abcdefghijkl").kind == "expired"


def test_job_beyond_modals_limit_is_a_timeout(
    fake_modal: FakeModal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "SLACK_H", 0.0)
    session = Session(replace(INFRA, max_hours=2 / 3600, max_attempts=1), sweep_id="s")
    session.deploy()
    reply = wait(session, session.submit(jobs.sleep_for_ever))
    assert reply.kind == "timeout"
    assert "raise infra.max_hours=" in reply.message


def test_container_that_cannot_begin_is_an_init_failure(
    fake_modal: FakeModal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bgb.infra.image.shipped", lambda *args: {})
    monkeypatch.setattr("bgb.infra.deployment.shipped", lambda *args: {})
    session = Session(INFRA, sweep_id="s")
    session.deploy()
    reply = wait(session, session.submit(abs, -1))
    assert reply.kind == "init"
    assert "No module named 'bgb" in reply.message


def test_container_with_other_packages_than_locked_is_an_init_failure(
    fake_modal: FakeModal, tmp_path: Path
) -> None:
    lock = tmp_path / "my.lock"
    lock.write_text("numpy==1.0\n")
    session = Session(replace(INFRA, lock=str(lock)), sweep_id="s")
    session.deploy()
    reply = wait(session, session.submit(abs, -1))
    assert reply.kind == "init"
    assert "numpy 1.0 is locked" in reply.message


def test_container_without_the_gpu_is_a_failure_of_that_machine(fake_modal: FakeModal) -> None:
    session = Session(replace(INFRA, gpu="L4"), sweep_id="s")
    session.deploy()
    reply = wait(session, session.submit(abs, -1))
    assert reply.kind == "machine"
    assert "nvidia-smi finds no GPU" in reply.message


def test_argument_that_cannot_be_sent_is_named(session: Session, fake_modal: FakeModal) -> None:
    with pytest.raises(InfraError, match=r"argument 1 of .*add \(lock\) cannot be pickled"):
        session.submit(jobs.add, 1, threading.Lock())
    assert fake_modal.calls() == []


def test_too_large_a_call_is_refused(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "MAX_REQUEST_BYTES", 2**20)
    with pytest.raises(InfraError, match=r"has 3 MiB, at most 1 can be sent; pass paths"):
        session.submit(jobs.add, b"0" * 3 * 2**20, 1)


Refusal = Callable[[InfraConfig], str]


@pytest.fixture
def refusal(fake_modal: FakeModal) -> Refusal:
    """Return the message with which a deployment ends."""

    def refusal(infra: InfraConfig) -> str:
        with pytest.raises(InfraError) as caught:
            Session(infra, sweep_id="s").deploy()
        return str(caught.value)

    return refusal


def test_missing_secret_is_named_with_the_command_that_makes_it(refusal: Refusal) -> None:
    text = refusal(replace(INFRA, secrets=["my-secret"]))
    assert text.startswith("infra.secrets: there is no Modal secret 'my-secret'")
    assert "modal secret create my-secret" in text
    text = refusal(replace(INFRA, bucket=replace(BucketConfig(), secret="my-keys")))
    assert text.startswith("infra.bucket.secret: there is no Modal secret 'my-keys'")


def test_missing_volume_is_named_with_the_command_that_makes_it(refusal: Refusal) -> None:
    text = refusal(replace(INFRA, volume=VolumeConfig(name="my-volume", create=False)))
    assert text.startswith("infra.volume.name=my-volume: there is no such Volume")
    assert "modal volume create my-volume" in text


def test_volume_of_another_version_names_the_key(refusal: Refusal) -> None:
    Session(replace(INFRA, volume=VolumeConfig(version=2)), sweep_id="other").deploy()
    assert "set infra.volume.version=2" in refusal(INFRA)


def test_unknown_gpu_names_the_key(refusal: Refusal) -> None:
    infra = replace(INFRA)
    object.__setattr__(infra, "gpu", "A9000")  # as if Modal had dropped a GPU that we know
    text = refusal(infra)
    assert text.startswith("infra.gpu=A9000: ")
    assert "A100-80GB" in text


def test_failed_image_shows_the_end_of_its_log(refusal: Refusal, fake_modal: FakeModal) -> None:
    fake_modal.fail_image = "E: Unable to locate package libnothing"
    text = refusal(INFRA)
    assert text.startswith("the image cannot be built")
    assert text.endswith("E: Unable to locate package libnothing")
    assert "infra.lock, infra.apt" in text


@pytest.mark.parametrize("token", [None, "bad"])
def test_missing_credentials_name_the_command_that_makes_them(
    refusal: Refusal, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    if token is None:
        monkeypatch.delenv("MODAL_TOKEN_ID")
        monkeypatch.delenv("MODAL_TOKEN_SECRET")
    else:
        monkeypatch.setenv("MODAL_TOKEN_ID", token)
    assert "run `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET" in refusal(INFRA)


def test_lost_network_is_waited_for_and_then_said(
    session: Session,
    fake_modal: FakeModal,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    call = session.submit(jobs.add, 1, 2)
    fake_modal.offline = True
    assert session.look(call) is None
    assert session.look(call) is None
    assert session.progress() == {}
    assert caplog.text.count("Modal cannot be reached (the network is down)") == 1
    with pytest.raises(InfraError, match="jobs that run go on meanwhile"):
        session.submit(jobs.add, 1, 2)
    monkeypatch.setattr(app, "UNREACHABLE_S", 0.0)
    with pytest.raises(InfraError, match="jobs that run go on meanwhile"):
        session.look(call)
    fake_modal.offline = False
    assert wait(session, call) == Done(3)
