"""The loopback Modal's Volumes keep Modal's promises, and none that Modal does not make."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from grpclib import GRPCError
from modal_proto import api_pb2

from tests.fakemodal.volumes import VolumeStore


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    """A store with one Volume, `runs`, that holds `kept.txt` and `folder/deep.txt`."""
    store = VolumeStore(tmp_path)
    committed = store.create("runs")
    (committed / "folder").mkdir()
    (committed / "kept.txt").write_text("kept")
    (committed / "folder" / "deep.txt").write_text("deep")
    return store


def volume_id(store: VolumeStore, name: str = "runs") -> str:
    request = api_pb2.VolumeGetOrCreateRequest(deployment_name=name)
    return store.get_or_create(request).volume_id


def start(store: VolumeStore, task_id: str, **options: Any) -> Path:
    return store.working_copy(volume_id(store), task_id, **options)


def files(folder: Path) -> dict[str, str]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def test_container_sees_the_last_commit_at_its_start(store: VolumeStore) -> None:
    assert files(start(store, "ta-1")) == {"kept.txt": "kept", "folder/deep.txt": "deep"}


def test_write_in_place_does_not_reach_the_committed_tree_before_commit(store: VolumeStore) -> None:
    with (start(store, "ta-1") / "kept.txt").open("r+") as file:
        file.write("KEPT")
    assert files(store.path("runs"))["kept.txt"] == "kept"
    store.commit(volume_id(store), "ta-1")
    assert files(store.path("runs"))["kept.txt"] == "KEPT"


def test_killed_container_loses_what_was_not_committed(store: VolumeStore) -> None:
    copy = start(store, "ta-1")
    (copy / "first.txt").write_text("committed")
    store.commit(volume_id(store), "ta-1")
    (copy / "second.txt").write_text("lost")
    store.finish("ta-1", commit=False)
    assert sorted(files(store.path("runs"))) == ["first.txt", "folder/deep.txt", "kept.txt"]
    assert not copy.exists()


def test_container_that_ends_by_itself_commits(store: VolumeStore) -> None:
    (start(store, "ta-1") / "last.txt").write_text("published")
    store.finish("ta-1", commit=True)
    assert files(store.path("runs"))["last.txt"] == "published"


def test_background_commit_publishes_a_half_written_file(store: VolumeStore) -> None:
    with (start(store, "ta-1") / "weights.bin").open("w") as file:
        file.write("half")
        file.flush()
        store.commit_task("ta-1")
        file.write(" and half")
    store.finish("ta-1", commit=False)
    assert files(store.path("runs"))["weights.bin"] == "half"


def test_commits_of_two_containers_merge_file_by_file(store: VolumeStore) -> None:
    first, second = start(store, "ta-1"), start(store, "ta-2")
    (first / "first.txt").write_text("1")
    (first / "kept.txt").write_text("from the first")
    (second / "second.txt").write_text("2")
    store.commit(volume_id(store), "ta-1")
    store.commit(volume_id(store), "ta-2")  # has the old kept.txt, but did not change it
    assert files(store.path("runs")) == {
        "first.txt": "1",
        "folder/deep.txt": "deep",
        "kept.txt": "from the first",
        "second.txt": "2",
    }


def test_last_commit_of_one_file_wins(store: VolumeStore) -> None:
    first, second = start(store, "ta-1"), start(store, "ta-2")
    (second / "kept.txt").write_text("second")
    (first / "kept.txt").write_text("first")
    store.commit(volume_id(store), "ta-2")
    store.commit(volume_id(store), "ta-1")
    assert files(store.path("runs"))["kept.txt"] == "first"


def test_removed_file_is_removed_by_the_commit_but_not_what_others_put_beside_it(
    store: VolumeStore,
) -> None:
    first, second = start(store, "ta-1"), start(store, "ta-2")
    (second / "folder" / "new.txt").write_text("new")
    store.commit(volume_id(store), "ta-2")
    (first / "folder" / "deep.txt").unlink()
    (first / "folder").rmdir()
    store.commit(volume_id(store), "ta-1")
    assert files(store.path("runs")) == {"folder/new.txt": "new", "kept.txt": "kept"}


def test_renamed_file_and_replaced_folder_are_committed(store: VolumeStore) -> None:
    copy = start(store, "ta-1")
    (copy / "kept.txt").rename(copy / "moved.txt")
    (copy / "folder" / "deep.txt").unlink()
    (copy / "folder").rmdir()
    (copy / "folder").write_text("now a file")
    (copy / "empty").mkdir()
    (copy / "last").symlink_to("moved.txt")
    store.commit(volume_id(store), "ta-1")
    committed = store.path("runs")
    assert files(committed) == {"folder": "now a file", "last": "kept", "moved.txt": "kept"}
    assert (committed / "empty").is_dir()
    assert (committed / "last").is_symlink()


def test_commits_of_others_are_seen_after_reload_only(store: VolumeStore) -> None:
    writer, reader = start(store, "ta-1"), start(store, "ta-2")
    (writer / "kept.txt").unlink()
    (writer / "new.txt").write_text("new")
    (reader / "own.txt").write_text("own")
    store.commit(volume_id(store), "ta-1")
    assert sorted(files(reader)) == ["folder/deep.txt", "kept.txt", "own.txt"]
    store.reload(volume_id(store), "ta-2")
    assert sorted(files(reader)) == ["folder/deep.txt", "new.txt", "own.txt"]


def test_reload_is_refused_while_the_container_has_a_file_open(store: VolumeStore) -> None:
    copy = start(store, "ta-1")
    script = "import sys; file = open(sys.argv[1]); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(copy / "kept.txt")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env={"MODAL_TASK_ID": "ta-1"}, **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(GRPCError, match="there are open files preventing the operation"):
            store.reload(volume_id(store), "ta-1")
        process.communicate()
    store.reload(volume_id(store), "ta-1")


def test_full_volume_refuses_commits_and_keeps_what_it_has(store: VolumeStore) -> None:
    copy = start(store, "ta-1")
    (copy / "kept.txt").write_text("more")
    store.fill("runs")
    with pytest.raises(GRPCError, match="Volume 'runs': no space left on device"):
        store.commit(volume_id(store), "ta-1")
    assert files(store.path("runs"))["kept.txt"] == "kept"


def test_sub_path_mounts_one_folder_and_makes_it(store: VolumeStore) -> None:
    assert files(start(store, "ta-1", sub_path="/folder")) == {"deep.txt": "deep"}
    (start(store, "ta-2", sub_path="jobs/0") / "result.txt").write_text("done")
    store.finish("ta-2", commit=True)
    assert files(store.path("runs"))["jobs/0/result.txt"] == "done"


def test_read_only_copy_keeps_its_bytes_and_is_never_committed(store: VolumeStore) -> None:
    reader, writer = start(store, "ta-1", read_only=True), start(store, "ta-2")
    (writer / "kept.txt").write_text("changed")
    store.commit(volume_id(store), "ta-2")
    assert files(reader)["kept.txt"] == "kept"
    (reader / "stray.txt").write_text("stray")
    store.finish("ta-1", commit=True)
    assert "stray.txt" not in files(store.path("runs"))


def test_most_containers_that_wrote_at_once_are_counted(store: VolumeStore) -> None:
    start(store, "ta-1")
    start(store, "ta-2")
    store.finish("ta-1", commit=True)
    start(store, "ta-3")
    start(store, "ta-4", read_only=True)
    assert store.peak_writers == {"runs": 2}


def test_volume_that_does_not_exist_is_not_found_without_create_if_missing(
    store: VolumeStore,
) -> None:
    with pytest.raises(GRPCError, match="Volume 'cache' not found in environment 'main'"):
        volume_id(store, "cache")
