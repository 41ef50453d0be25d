"""The loopback Modal runs the real client and real containers as Modal does."""

import sys
from collections.abc import Iterator
from pathlib import Path

import modal
import pytest

from tests.fakemodal import FakeModal, why_not
from tests.infra.shipping import Deploy, deployer

pytestmark = [
    pytest.mark.modal,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeModal]:
    """A loopback Modal with a bucket and a Secret, that this process's client talks to."""
    bucket = tmp_path / "bucket"
    (bucket / "tusz").mkdir(parents=True)
    (bucket / "tusz" / "a.edf").write_text("raw")
    secrets = {"keys": {"API_KEY": "sesame-open"}}
    with (
        FakeModal(tmp_path / "modal", buckets={"raw": bucket}, secrets=secrets) as fake,
        fake.connected(),
    ):
        yield fake


@pytest.fixture
def deploy(fake: FakeModal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deploy:
    return deployer(tmp_path, monkeypatch)


def test_deployed_function_is_found_by_name_and_spawned(fake: FakeModal, deploy: Deploy) -> None:
    call = deploy("double").spawn(21)
    assert modal.FunctionCall.from_id(call.object_id).get(timeout=60) == 42
    assert [(c.status, c.attempts) for c in fake.calls()] == [("success", 1)]
    assert [(app.name, app.state) for app in fake.apps()] == [("jobs", "deployed")]


def test_container_sees_only_what_was_shipped(deploy: Deploy) -> None:
    seen = deploy("look", secrets=[modal.Secret.from_name("keys")]).remote()
    assert seen["cwd"] == "/root"
    assert seen["root"] == ["jobs_in_modal.py"]
    assert "work" not in seen["top"]
    assert not any(str(Path(__file__).parents[2]) in entry for entry in seen["path"])
    assert seen["environment"]["API_KEY"] == "sesame-open"
    assert "MODAL_TOKEN_ID" not in seen["environment"]
    assert "PYTEST_CURRENT_TEST" not in seen["environment"]


def test_editable_install_does_not_import_in_a_container(deploy: Deploy) -> None:
    importing = deploy("import_module")
    assert importing.remote("numpy").startswith("/opt/venv/")
    with pytest.raises(ModuleNotFoundError, match="bgb"):
        importing.remote("bgb.errors")


def test_map_returns_results_in_order(deploy: Deploy) -> None:
    assert list(deploy("double", max_containers=2).map(range(6))) == [0, 2, 4, 6, 8, 10]


def test_large_inputs_and_outputs_travel_as_blobs(fake: FakeModal, deploy: Deploy) -> None:
    data = b"y" * (3 << 20)
    assert deploy("length").spawn(data).get(timeout=60) == len(data)
    assert deploy("big").remote(3 << 20) == b"x" * (3 << 20)
    assert any(data in payload for payload in fake.payloads())


def test_poll_of_an_unfinished_call_raises_timeout(fake: FakeModal, deploy: Deploy) -> None:
    fake.start_delay_s = 1.0
    call = deploy("double").spawn(1)
    with pytest.raises(TimeoutError):
        call.get(timeout=0)
    assert [c.alive for c in fake.containers()] == [False]
    assert call.get(timeout=60) == 2


def test_expired_output_is_told_from_an_unfinished_one(fake: FakeModal, deploy: Deploy) -> None:
    call = deploy("double").spawn(1)
    call.get(timeout=60)
    fake.expire(call.object_id)
    with pytest.raises(modal.exception.OutputExpiredError):
        call.get(timeout=0)


def test_max_containers_bounds_a_function(fake: FakeModal, deploy: Deploy) -> None:
    function = deploy("double", max_containers=1)
    calls = [function.spawn(n) for n in range(4)]
    assert [call.get(timeout=60) for call in calls] == [0, 2, 4, 6]
    assert len(fake.containers()) == 1


def test_single_use_container_serves_one_input(fake: FakeModal, deploy: Deploy) -> None:
    function = deploy("double", single_use_containers=True, max_containers=1)
    assert [function.remote(n) for n in range(2)] == [0, 2]
    assert len(fake.containers()) == 2


def test_new_deployment_replaces_the_code_of_idle_containers(
    fake: FakeModal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.knobs.idle_s = 30.0
    for text, expected in (("return 1", 1), ("return 2", 2)):
        (tmp_path / "versions.py").write_text(f"def answer():\n    {text}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "versions", raising=False)
        app = modal.App("versions")
        app.function()(__import__("versions").answer)
        app.deploy()
        assert modal.Function.from_name("versions", "answer").remote() == expected


def test_unchanged_function_keeps_its_container_at_a_new_deployment(
    fake: FakeModal, deploy: Deploy
) -> None:
    assert [deploy("double").remote(n) for n in range(2)] == [0, 2]
    assert len(fake.containers()) == 1


def test_variant_of_a_function_has_its_own_options(fake: FakeModal, deploy: Deploy) -> None:
    assert deploy("double", timeout=60).with_options(gpu="L4", timeout=30).remote(2) == 4
    base, variant = fake.function_options()
    assert (base["gpu"], base["timeout_s"]) == (None, 60)
    assert (variant["gpu"], variant["timeout_s"]) == ("L4", 30)


def test_function_options_say_what_was_asked(fake: FakeModal, deploy: Deploy) -> None:
    volume = modal.Volume.from_name("runs", create_if_missing=True, version=2)
    raw = modal.CloudBucketMount("raw", key_prefix="tusz/", read_only=True)
    deploy(
        "double",
        gpu=["A100-80GB:2", "H100"],
        cpu=(2, 4),
        memory=(1024, 2048),
        retries=3,
        max_containers=5,
        timeout=90,
        image=modal.Image.debian_slim().env({"A": "b c"}),
        volumes={"/results": volume.with_mount_options(read_only=True), "/data": raw},
        secrets=[modal.Secret.from_name("keys")],
    )
    (options,) = fake.function_options()
    assert options["gpu"] == ["A100-80GB:2", "H100"]
    assert (options["cpu"], options["memory_mib"]) == ((2.0, 4.0), (1024, 2048))
    assert (options["retries"], options["max_containers"], options["timeout_s"]) == (3, 5, 90)
    assert options["volumes"]["/results"]["name"] == "runs"
    assert options["volumes"]["/results"]["read_only"]
    assert options["buckets"]["/data"]["key_prefix"] == "tusz/"
    assert options["secrets"] == ["keys"]
    assert "ENV A='b c'" in options["image"]


def test_image_environment_reaches_the_container(deploy: Deploy) -> None:
    image = modal.Image.debian_slim().env({"GREETING": "good day"})
    assert deploy("look", image=image).remote()["environment"]["GREETING"] == "good day"


def test_bucket_is_a_read_only_folder(deploy: Deploy) -> None:
    mounts = {"/data": modal.CloudBucketMount("raw", read_only=True)}
    assert deploy("read", volumes=mounts).remote("/data/tusz/a.edf") == "raw"
    with pytest.raises(OSError, match="Read-only file system"):
        deploy("write", volumes=mounts).remote("/data/b.edf", "new")


def test_unknown_bucket_ends_the_call_with_its_name(fake: FakeModal, deploy: Deploy) -> None:
    mounts = {"/data": modal.CloudBucketMount("no-such-bucket", read_only=True)}
    with pytest.raises(modal.exception.RemoteError, match="no-such-bucket"):
        deploy("double", volumes=mounts).remote(1)
    assert fake.calls()[0].status == "init_failure"


def test_volume_is_committed_when_its_container_ends(fake: FakeModal, deploy: Deploy) -> None:
    volume = modal.Volume.from_name("runs", create_if_missing=True, version=2)
    function = deploy("write", volumes={"/results": volume}, single_use_containers=True)
    function.remote("/results/a.txt", "kept")
    fake.wait_until(lambda: (fake.volume("runs") / "a.txt").exists())
    assert (fake.volume("runs") / "a.txt").read_text() == "kept"


def test_secrets_are_in_no_payload(fake: FakeModal, deploy: Deploy) -> None:
    deploy("look", secrets=[modal.Secret.from_name("keys")]).spawn().get(timeout=60)
    assert any(b"def look" in payload for payload in fake.payloads())
    assert not any(b"sesame-open" in payload for payload in fake.payloads())


def test_missing_secret_is_not_found(deploy: Deploy) -> None:
    with pytest.raises(modal.exception.NotFoundError, match="absent"):
        deploy("double", secrets=[modal.Secret.from_name("absent")])


def test_missing_volume_is_not_found_unless_it_may_be_created(deploy: Deploy) -> None:
    with pytest.raises(modal.exception.NotFoundError, match="absent"):
        deploy("double", volumes={"/results": modal.Volume.from_name("absent")})


@pytest.mark.parametrize("name", ["absent", "double"])
def test_lookup_of_what_is_not_deployed_names_it(fake: FakeModal, name: str) -> None:
    with pytest.raises(modal.exception.NotFoundError, match=f"{name}.*nowhere"):
        modal.Function.from_name("nowhere", name).hydrate()


def test_bad_token_is_refused(fake: FakeModal) -> None:
    from tests.fakemodal.client import connected

    with (
        connected({"MODAL_TOKEN_ID": "bad"}),
        pytest.raises(modal.exception.AuthError, match="Token not found"),
    ):
        modal.Function.from_name("jobs", "double").hydrate()


def test_unknown_gpu_is_refused_by_name(deploy: Deploy) -> None:
    with pytest.raises(modal.exception.InvalidError, match="RTX-9000"):
        deploy("double", gpu="RTX-9000")


def test_failed_image_build_shows_its_log(
    fake: FakeModal, deploy: Deploy, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fail_image = "E: Unable to locate package nonsense"
    image = modal.Image.debian_slim().apt_install("nonsense")
    with modal.enable_output(), pytest.raises(modal.exception.ImageBuildError):
        deploy("double", image=image)
    assert "Unable to locate package nonsense" in capsys.readouterr().out
    fake.fail_image = None
    assert deploy("double", image=image).remote(1) == 2


def test_unknown_rpc_answers_with_its_name(fake: FakeModal) -> None:
    with pytest.raises(Exception, match="QueueGetOrCreate"):
        modal.Queue.from_name("q", create_if_missing=True).hydrate()


def test_logs_of_a_call_are_only_its_own(fake: FakeModal, deploy: Deploy) -> None:
    function = deploy("double", max_containers=1)
    calls = [function.spawn(n) for n in (7, 8)]
    assert [call.get(timeout=60) for call in calls] == [14, 16]
    lines = [entry.message for entry in calls[1].logs.tail()]
    assert lines == ["doubling 8\n"]
    assert [entry.message for entry in calls[0].logs.stream()] == ["doubling 7\n"]
