"""Opening and reading a cache; the manifest that describes it."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_corpus import RECORDINGS

from bgb.data.cache import open_cache
from bgb.data.manifest import MANIFEST, load_manifest, refresh_manifest, write_manifest
from bgb.data.npz import OPEN_HANDLES, open_signal
from bgb.eeg.events import Event
from bgb.errors import CacheError

NAME = "aaaaaaaa_s001_t000"


@pytest.fixture
def folder(cache, tmp_path):
    """A copy of the cache, to be damaged."""
    return shutil.copytree(cache.folder, tmp_path / cache.folder.name)


def test_cache_has_length_iteration_splits_and_recordings_by_name(cache):
    assert len(cache) == len(list(cache)) == len(RECORDINGS)
    assert [recording.split for recording in cache] == ["train"] * 3 + ["dev", "eval"]
    assert [recording.recording_id for recording in cache.split("dev")] == ["aaaaaaac_s001_t000"]
    recording = cache[NAME]
    assert recording.patient == "aaaaaaaa"
    assert recording.events == (Event(10.0, 25.0, "seiz"),)
    assert recording.spec.rate_hz == 64
    assert recording.meta["signal_crc32"] > 0


def test_unknown_recording_lists_what_there_is(cache):
    with pytest.raises(CacheError, match=f"no recording 'x' .* possible are {NAME}"):
        cache["x"]


def test_signal_is_microvolts_to_the_sample(cache):
    recording = cache[NAME]
    with np.load(recording.path, allow_pickle=False) as archive:
        whole_CT = archive["signal"].transpose(1, 0, 2).reshape(19, -1) * np.float32(0.1)
    np.testing.assert_array_equal(recording.signal_CT(), whole_CT)
    np.testing.assert_array_equal(recording.signal_CT(3.25, 7.5), whole_CT[:, 208:480])
    np.testing.assert_array_equal(recording.signal_CT(39.5, 40.0), whole_CT[:, -32:])
    assert recording.signal_CT(1, 2).dtype == np.float32


def test_signal_ends_with_the_recording_not_with_the_padding(cache):
    recording = cache["aaaaaaaa_s001_t001"]
    assert recording.num_seconds == 13
    assert recording.signal_CT().shape == (19, round(12.5 * 64))


@pytest.mark.parametrize(("start_s", "stop_s"), [(-1, 2), (5, 5), (39, 40.5)])
def test_range_outside_the_recording_is_an_error(cache, start_s, stop_s):
    with pytest.raises(CacheError, match=rf"{NAME}: \[{start_s}, {stop_s}\) s is not in"):
        cache[NAME].signal_CT(start_s, stop_s)


def test_tiles_outside_the_recording_are_an_error(cache):
    with pytest.raises(CacheError, match=r"seconds \[38, 41\) are not in \[0, 40\)"):
        cache[NAME].tiles(38, 41)


def test_cached_recording_can_be_pickled(cache):
    copy = pickle.loads(pickle.dumps(cache[NAME]))  # noqa: S301 - our own object
    np.testing.assert_array_equal(copy.tiles(3, 5), cache[NAME].tiles(3, 5))


def num_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_open_descriptors_stay_bounded(cache, tmp_path):  # lesson 25
    for number in range(3 * OPEN_HANDLES):
        shutil.copyfile(cache[NAME].path, tmp_path / f"{number}.npz")
    open_signal.cache_clear()
    before = num_open()
    for number in range(3 * OPEN_HANDLES):
        open_signal(tmp_path / f"{number}.npz", 0)
    assert num_open() - before == OPEN_HANDLES
    open_signal.cache_clear()
    assert num_open() == before


def test_a_handle_in_use_survives_its_eviction(cache, tmp_path):
    shutil.copyfile(cache[NAME].path, tmp_path / "x.npz")
    handle = open_signal(tmp_path / "x.npz", 0)
    open_signal.cache_clear()
    tile_SCR = np.empty((1, 19, 64), np.int16)
    handle.read_into(tile_SCR, 0)
    np.testing.assert_array_equal(tile_SCR, cache[NAME].tiles(0, 1))


def test_missing_folder_names_the_command_that_builds(tmp_path):
    with pytest.raises(CacheError, match=r"no cache at .*python -m bgb.cache action=build data="):
        open_cache(tmp_path / "nowhere")


def test_missing_manifest_names_the_command_that_builds(folder):  # lesson 19
    (folder / MANIFEST).unlink()
    with pytest.raises(CacheError, match=r"no valid manifest.json .*action=build data="):
        open_cache(folder)
    assert len(open_cache(folder, force_manifest=True)) == len(RECORDINGS)


def test_incomplete_cache_names_what_is_missing(folder):
    (folder / "dev" / "aaaaaaac_s001_t000.npz").unlink()
    wanted = [("dev", "aaaaaaac_s001_t000"), ("train", NAME)]
    with pytest.raises(CacheError, match=r"1 of 2 recordings are missing \(dev/aaaaaaac_s001_t000"):
        open_cache(folder, recordings=wanted)


def test_only_the_wanted_recordings_are_opened(folder):
    wanted = [("train", NAME), ("eval", "aaaaaaad_s001_t000")]
    assert [item.recording_id for item in open_cache(folder, recordings=wanted)] == [
        NAME,
        "aaaaaaad_s001_t000",
    ]


def test_manifest_round_trip_reads_no_file_again(folder, monkeypatch):
    import bgb.data.manifest as module

    expected = refresh_manifest(folder, force=True)
    write_manifest(folder, expected)
    monkeypatch.setattr(module, "read_meta", None)  # a call would fail
    assert load_manifest(folder) == expected == refresh_manifest(folder)


def test_stale_manifest_is_brought_up_to_date(folder, monkeypatch):  # lessons 20 and 28
    import bgb.data.manifest as module

    write_manifest(folder, refresh_manifest(folder, force=True))
    (folder / "train" / f"{NAME}.npz").unlink()
    os.utime(folder / "dev" / "aaaaaaac_s001_t000.npz", (5, 5))
    read = []
    original = module.read_meta
    monkeypatch.setattr(module, "read_meta", lambda path: read.append(path.name) or original(path))
    cache = open_cache(folder)
    assert len(cache) == len(RECORDINGS) - 1
    assert read == ["aaaaaaac_s001_t000.npz"]


def test_force_reads_every_meta(folder, monkeypatch):
    import bgb.data.manifest as module

    read = []
    original = module.read_meta
    monkeypatch.setattr(module, "read_meta", lambda path: read.append(path) or original(path))
    refresh_manifest(folder, force=True)
    assert len(read) == len(RECORDINGS)


def test_manifest_of_another_folder_is_not_believed(folder):  # lesson 31
    values = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**values, "key": "0123456789abcdef"}))
    assert load_manifest(folder) is None


def test_unknown_files_are_ignored_with_a_remark(folder, caplog):  # lesson 28
    (folder / "train" / "left_over.npy").write_bytes(b"")
    assert len(open_cache(folder)) == len(RECORDINGS)
    assert "1 unknown files ignored: train/left_over.npy" in caplog.text


def test_file_of_another_cache_is_an_error(folder, tmp_path):
    renamed = folder.rename(tmp_path / "0123456789abcdef")
    with pytest.raises(
        CacheError, match=r"belongs to cache [0-9a-f]{16} .* not to 0123456789abcdef"
    ):
        open_cache(renamed, force_manifest=True)


def test_renamed_recording_is_an_error(folder):
    (folder / "train" / f"{NAME}.npz").rename(folder / "dev" / f"{NAME}.npz")
    with pytest.raises(CacheError, match="was renamed or moved"):
        open_cache(folder)
