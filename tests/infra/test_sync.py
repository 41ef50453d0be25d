"""Fetching what a job left, from the loopback Modal's Volume."""

import io
import json
import os

import pytest

from bgb.errors import InfraError
from bgb.infra.sync import Fetched, on_volume, sync_folder, sync_job
from tests.fakemodal import FakeModal
from tests.infra.cloud import Volume

pytestmark = pytest.mark.modal


@pytest.fixture(scope="module")
def modal_volumes(tmp_path_factory):
    import modal

    with FakeModal(tmp_path_factory.mktemp("modal")) as fake, fake.connected():
        yield modal.Volume


@pytest.fixture(params=[1, 2])
def volume(modal_volumes, request):
    name = f"volume-{request.param}"
    modal_volumes.objects.delete(name, allow_missing=True)
    return modal_volumes.from_name(name, create_if_missing=True, version=request.param)


def put(volume, **files):
    with volume.batch_upload(force=True) as batch:
        for path, text in files.items():
            batch.put_file(io.BytesIO(text.encode()), path)


def test_a_folder_arrives_with_its_sub_folders(volume, tmp_path):
    put(volume, **{"sweeps/0/log.txt": "log", "sweeps/0/a/b.txt": "b", "sweeps/01/no.txt": "other"})
    assert sync_folder(volume, "sweeps/0", tmp_path, exclude=[]) == Fetched(2, 4)
    assert (tmp_path / "log.txt").read_text() == "log"
    assert (tmp_path / "a" / "b.txt").read_text() == "b"
    assert not list(tmp_path.glob("**/no.txt"))


def test_only_what_changed_is_fetched_again(volume, tmp_path):
    put(volume, **{"job/same.txt": "same", "job/longer.txt": "short"})
    sync_folder(volume, "job", tmp_path, exclude=[])
    put(volume, **{"job/longer.txt": "now longer"})
    os.utime(tmp_path / "longer.txt", (1, 1))
    assert sync_folder(volume, "job", tmp_path, exclude=[]) == Fetched(1, 10)
    assert (tmp_path / "longer.txt").read_text() == "now longer"


def test_a_fetched_file_has_the_time_that_it_has_on_the_volume(tmp_path):
    folder = Volume(tmp_path / "volume")
    folder.put("job/a.txt", "a")
    os.utime(tmp_path / "volume" / "job" / "a.txt", (1000, 1000))
    sync_folder(folder, "job", tmp_path / "here", exclude=[])
    assert (tmp_path / "here" / "a.txt").stat().st_mtime == 1000
    assert sync_folder(folder, "job", tmp_path / "here", exclude=[]) == Fetched(0, 0)


def test_a_file_of_the_same_size_and_another_time_is_fetched_again(volume, tmp_path):
    put(volume, **{"job/metric.txt": "0.5"})
    (tmp_path / "metric.txt").write_text("0.4")
    os.utime(tmp_path / "metric.txt", (1, 1))
    sync_folder(volume, "job", tmp_path, exclude=[])
    assert (tmp_path / "metric.txt").read_text() == "0.5"


def test_excluded_files_stay_and_local_ones_are_kept(volume, tmp_path):
    put(volume, **{"job/checkpoints/last.ckpt": "weights", "job/wandb/x": "x", "job/scores": "1"})
    (tmp_path / "mine.txt").write_text("mine")
    fetched = sync_folder(volume, "job", tmp_path, exclude=["*.ckpt", "wandb/*"])
    assert fetched == Fetched(1, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "scores"]


def test_file_that_a_killed_container_was_writing_stays(volume, tmp_path):
    put(
        volume,
        **{"job/.last.ckpt.77-140.partial": "half", "job/a": "a", "job/b/.c.1-2.partial": ""},
    )
    assert sync_folder(volume, "job", tmp_path, exclude=[]) == Fetched(1, 1)


@pytest.mark.parametrize("text", ["{", "[]", '{"other": 1}'])
def test_list_of_outputs_that_cannot_be_read_is_named(tmp_path, text):
    folder = Volume(tmp_path / "volume")
    folder.put("job/outputs.json", text)
    with pytest.raises(InfraError, match=r"job/outputs\.json on the Volume names no folders: "):
        sync_job(folder, "job", tmp_path / "here", exclude=[])


def test_path_outside_of_the_folder_is_refused(tmp_path):
    folder = Volume(tmp_path / "volume")
    folder.put("other/a.txt", "a")
    entries = folder.listdir("other", recursive=True)
    folder.listdir = lambda path, recursive: entries
    with pytest.raises(InfraError, match=r"'other/a\.txt', which leads out of job"):
        sync_folder(folder, "job", tmp_path / "here", exclude=[])


def test_output_folders_come_along_but_not_what_the_worker_keeps(volume, tmp_path):
    put(
        volume,
        **{
            "sweeps/0/squares.log": "log",
            "sweeps/0/result.pkl": "pickle",
            "sweeps/0/attempts/1.json": "{}",
            "sweeps/0/outputs.json": json.dumps({"folders": ["runs/run-a", "runs/gone"]}),
            "runs/run-a/metrics.csv": "x",
            "runs/run-a/last.ckpt": "weights",
        },
    )
    sync_job(volume, "sweeps/0", tmp_path, exclude=["*.ckpt"])
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert found == ["run-a/metrics.csv", "squares.log"]


def test_a_job_that_left_nothing_is_no_error(volume, tmp_path):
    assert sync_job(volume, "sweeps/none", tmp_path, exclude=[]) == Fetched(0, 0)


def test_paths_of_containers_become_paths_on_the_volume():
    assert on_volume("/results/sweeps/0", "/results") == "sweeps/0"
