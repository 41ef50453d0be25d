"""What a client and a container see of the loopback Modal's data, through Modal's own library."""

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import modal
import pytest

from tests.fakemodal import FakeModal
from tests.fakemodal.__main__ import main
from tests.fakemodal.blobs import BlobStore
from tests.fakemodal.client import connected

pytestmark = pytest.mark.modal

_REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeModal]:
    """A loopback Modal that this process's client talks to."""
    with (
        FakeModal(tmp_path / "modal", secrets={"keys": {"TOKEN": "hidden"}}) as fake,
        connected(fake.environment),
    ):
        yield fake


def upload(volume: modal.Volume, path: str, data: bytes, *, force: bool = False) -> None:
    with volume.batch_upload(force=force) as batch:
        batch.put_file(io.BytesIO(data), path)


@pytest.mark.parametrize("version", [1, 2])
def test_client_reads_what_it_uploaded_block_by_block(fake: FakeModal, version: int) -> None:
    zeros = bytes(8 << 20)  # a block's trailing zeros are not uploaded by version 2
    data = os.urandom(1 << 20) + zeros + os.urandom(1 << 20) + zeros
    volume = modal.Volume.from_name("runs", create_if_missing=True, version=version)
    upload(volume, "/jobs/0/weights.bin", data)
    assert b"".join(volume.read_file("jobs/0/weights.bin")) == data
    assert (fake.volume("runs") / "jobs" / "0" / "weights.bin").read_bytes() == data


@pytest.mark.parametrize("version", [1, 2])
def test_client_lists_and_removes_what_is_committed(fake: FakeModal, version: int) -> None:
    volume = modal.Volume.from_name("runs", create_if_missing=True, version=version)
    upload(volume, "/jobs/0.txt", b"zero")
    assert [(entry.path, entry.size) for entry in volume.listdir("/jobs")] == [("jobs/0.txt", 4)]
    assert [entry.path for entry in volume.iterdir("/")] == ["jobs", "jobs/0.txt"]
    volume.remove_file("jobs", recursive=True)
    assert volume.listdir("/") == []
    with pytest.raises(FileNotFoundError, match=r"jobs/0\.txt"):
        list(volume.read_file("jobs/0.txt"))


@pytest.mark.parametrize("version", [1, 2])
def test_uploaded_file_replaces_another_only_by_force(fake: FakeModal, version: int) -> None:
    volume = modal.Volume.from_name("runs", create_if_missing=True, version=version)
    upload(volume, "a.txt", b"first")
    with pytest.raises(FileExistsError, match=r"a\.txt"):
        upload(volume, "a.txt", b"second")
    upload(volume, "a.txt", b"third", force=True)
    assert b"".join(volume.read_file("a.txt")) == b"third"


def test_volume_is_made_only_when_asked_for(fake: FakeModal) -> None:
    with pytest.raises(modal.exception.NotFoundError, match="Volume 'runs' not found"):
        modal.Volume.from_name("runs").hydrate()
    assert not fake.volume("runs").exists()
    modal.Volume.from_name("runs", create_if_missing=True, version=1).hydrate()
    with pytest.raises(modal.exception.InvalidError, match="has version v1, not v2"):
        modal.Volume.from_name("runs", version=2).hydrate()


def test_volumes_are_listed_copied_into_renamed_and_deleted(fake: FakeModal) -> None:
    volume = modal.Volume.from_name("runs", create_if_missing=True, version=2)
    upload(volume, "a.txt", b"a")
    volume.copy_files(["a.txt"], "copies/b.txt")
    modal.Volume.rename("runs", "sweeps")
    assert modal.Volume.from_id(volume.object_id).info().name == "sweeps"
    assert (fake.volume("sweeps") / "copies" / "b.txt").read_bytes() == b"a"
    fake.stores.volumes.create("cache")
    assert [found.name for found in modal.Volume.objects.list()] == ["cache", "sweeps"]
    modal.Volume.objects.delete("sweeps")
    assert [found.name for found in modal.Volume.objects.list()] == ["cache"]


def test_published_file_keeps_its_bytes_when_it_is_replaced(tmp_path: Path) -> None:
    file, part = tmp_path / "log.txt", tmp_path / "part"
    file.write_text("first")
    store = BlobStore(tmp_path, "http://127.0.0.1:1")
    token = store.publish(file).rsplit("/", 1)[1]
    part.write_text("second")
    part.replace(file)
    assert (store.folders["reads"] / token).read_text() == "first"


def test_missing_secret_and_missing_key_are_named(fake: FakeModal) -> None:
    with pytest.raises(modal.exception.NotFoundError, match="Secret 'other' not found"):
        modal.Secret.from_name("other").hydrate()
    with pytest.raises(modal.exception.ConflictError, match=r"missing key\(s\): KEY"):
        modal.Secret.from_name("keys", required_keys=["TOKEN", "KEY"]).hydrate()
    modal.Secret.from_name("keys", required_keys=["TOKEN"]).hydrate()


def test_dict_keeps_what_is_put_updated_and_popped(fake: FakeModal) -> None:
    progress = modal.Dict.from_name("progress", create_if_missing=True)
    progress.put("job-0", {"epoch": 1})
    progress.update({"job-1": {"epoch": 2}, "job-2": None})
    assert progress.pop("job-2") is None
    with pytest.raises(KeyError, match="job-2"):
        progress.pop("job-2")
    assert progress.get("job-2", "gone") == "gone"
    assert not progress.put("job-0", "other", skip_if_exists=True)
    assert progress.len() == 2
    assert dict(progress.items()) == {"job-0": {"epoch": 1}, "job-1": {"epoch": 2}}


def test_billing_rates_are_read_or_refused(fake: FakeModal) -> None:
    billing = modal.Workspace.from_context().billing
    assert str(billing.rates()["gpu_hour_cost_a100_40gb"]) == "2.10"
    fake.rates = None
    with pytest.raises(modal.exception.PermissionDeniedError, match="billing rates"):
        billing.rates()


def test_container_commits_reloads_and_is_refused_a_reload_with_an_open_file(
    fake: FakeModal,
) -> None:
    volume = modal.Volume.from_name("runs", create_if_missing=True, version=2)
    upload(volume, "seen.txt", b"seen")
    app = modal.App("volumes", include_source=False)

    @app.function(volumes={"/results": volume}, serialized=True, timeout=60)
    def work() -> tuple[str, str, str]:
        from pathlib import Path

        import modal

        volume = modal.Volume.from_name("runs")
        folder = Path("/results")
        (folder / "done.txt").write_text("done")
        volume.commit()
        committed = b"".join(volume.read_file("done.txt")).decode()
        with volume.batch_upload() as batch:
            batch.put_file(io.BytesIO(b"new"), "new.txt")
        with (folder / "seen.txt").open():
            try:
                volume.reload()
            except RuntimeError as error:
                refusal = str(error)
        before = (folder / "new.txt").exists()
        volume.reload()
        return committed, refusal, f"{before} {(folder / 'new.txt').read_text()}"

    with app.run():
        committed, refusal, new = work.remote()
    assert committed == "done"
    assert "there are open files preventing the operation" in refusal
    assert new == "False new"


def test_full_volume_fails_the_commit_inside_the_container(fake: FakeModal) -> None:
    volume = modal.Volume.from_name("runs", create_if_missing=True, version=2)
    volume.hydrate()
    fake.fill_volume("runs")
    app = modal.App("full", include_source=False)

    @app.function(volumes={"/results": volume}, serialized=True, timeout=60)
    def work() -> None:
        from pathlib import Path

        import modal

        Path("/results/weights.bin").write_bytes(b"weights")
        modal.Volume.from_name("runs").commit()

    with app.run(), pytest.raises(modal.exception.ResourceExhaustedError, match="no space left"):
        work.remote()
    assert list(fake.volume("runs").iterdir()) == []


def test_container_reads_a_folder_of_a_volume_that_it_may_not_write_to(fake: FakeModal) -> None:
    volume = modal.Volume.from_name("cache", create_if_missing=True, version=2)
    upload(volume, "tusz/tiles.bin", b"tiles")
    app = modal.App("reader", include_source=False)
    mounted = volume.with_mount_options(read_only=True, sub_path="tusz")

    @app.function(volumes={"/cache": mounted}, serialized=True, timeout=60)
    def work() -> tuple[bytes, str]:
        from pathlib import Path

        try:
            Path("/cache/tiles.bin").write_bytes(b"other")
        except OSError as error:
            refusal = str(error)
        return Path("/cache/tiles.bin").read_bytes(), refusal

    with app.run():
        data, refusal = work.remote()
    assert data == b"tiles"
    assert "Read-only file system" in refusal


def test_command_prints_the_environment_that_a_client_needs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fakemodal", "--root", str(tmp_path)]
    command += ["--secret", "keys:TOKEN=hidden"]
    with subprocess.Popen(command, cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "+infra=modal_cpu" in line:
                break
        exports = dict(re.findall(r"export (\w+)=(\S+)", printed))
        script = "import modal; modal.Secret.from_name('keys').hydrate(); print('found')"
        client = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | exports,
            capture_output=True,
            text=True,
        )
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert client.stdout == "found\n", client.stderr
    assert process.returncode == 0
    assert "all containers are killed" in rest
    assert "hidden" not in printed + rest


def test_malformed_secret_is_refused_and_not_repeated() -> None:
    with pytest.raises(SystemExit, match="give NAME:KEY=VALUE") as error:
        main(["--secret", "keys-TOKEN=hidden"])
    assert "hidden" not in str(error.value)


def test_bucket_without_its_folder_is_refused() -> None:
    with pytest.raises(SystemExit, match="raw=/no/such: give NAME=FOLDER"):
        main(["--bucket", "raw=/no/such"])
