"""Staging: whole checked copies only, resumable, nothing copied twice, nothing foreign touched."""

import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from bgb.config.data import DataConfig
from bgb.corpora import find_corpus
from bgb.data import staging
from bgb.data.build import build_cache
from bgb.data.cache import open_cache
from bgb.data.key import cache_folder
from bgb.data.manifest import load_manifest, refresh_manifest
from bgb.data.module import EegDataModule
from bgb.data.staging import MARKER, stage_lists, stage_recordings, staged_config
from bgb.errors import CacheError, ConfigError
from tests.data.tiny_corpus import RECORDINGS

ALL = [(split, name) for name, (split, *_) in RECORDINGS.items()]


@pytest.fixture
def staged(built_config, tmp_path) -> DataConfig:
    """A built cache that is to be staged to an empty folder."""
    return replace(built_config, staging=str(tmp_path / "local"))


def stage(config, recordings=ALL):
    stage_lists(config)
    return stage_recordings(config, recordings, progress=False)


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return contents and time stamps of all recordings below a cache."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*.npz")
    }


def test_copy_is_the_original_with_its_time_stamps_and_manifest(staged):
    report = stage(staged)
    source, folder = cache_folder(staged), cache_folder(staged_config(staged))
    assert report.folder == folder
    assert len(report.copied) == 5 and report.present == ()
    assert files(folder) == files(source)
    assert load_manifest(folder) == refresh_manifest(folder) == refresh_manifest(source)
    assert report.num_bytes == sum(len(content) for content, _ in files(source).values())
    assert [item.name for item in folder.rglob(".*")] == []  # no partial file


def test_second_staging_copies_nothing(staged, monkeypatch):
    stage(staged)
    monkeypatch.setattr(staging, "_copy", None)
    report = stage(staged)
    assert report.copied == () and report.num_bytes == 0
    assert len(report.present) == 5


def test_only_what_is_wanted_is_copied_and_more_comes_on_top(staged):
    stage(staged, ALL[:2])
    folder = cache_folder(staged_config(staged))
    assert sorted(load_manifest(folder)) == sorted(f"{split}/{name}.npz" for split, name in ALL[:2])
    assert len(stage(staged, ALL[1:]).copied) == 3
    assert len(open_cache(folder)) == 5


def test_changed_original_is_copied_again(staged, tmp_path, config):
    build_cache(config, find_corpus(config))
    config = replace(config, staging=staged.staging)
    stage(config)
    path = next(cache_folder(config).rglob("*.npz"))
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    report = stage(config)
    assert report.copied == (path.relative_to(cache_folder(config)).as_posix(),)


def test_staging_goes_on_where_it_was_killed(staged):
    folder = cache_folder(staged_config(staged))
    code = (
        "import os, sys, pickle\n"
        "from bgb.data import staging\n"
        "config, recordings = pickle.load(sys.stdin.buffer)\n"
        "pieces, num_files = staging._pieces, []\n"
        "def die(original):\n"
        "    num_files.append(original)\n"
        "    for piece in pieces(original):\n"
        "        yield piece[:1000]\n"
        "        if len(num_files) == 3:\n"
        "            os.kill(os.getpid(), 9)\n"
        "        yield piece[1000:]\n"
        "staging._pieces, staging._COPIES = die, 1\n"
        "staging.stage_lists(config)\n"
        "staging.stage_recordings(config, recordings)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps((staged, ALL)), capture_output=True
    )
    assert done.returncode == -9, done.stderr
    assert len(files(folder)) == 2
    (torn,) = folder.rglob("*.staged.partial")
    report = stage(staged)
    assert len(report.copied) == 3 and len(report.present) == 2
    assert files(folder) == files(cache_folder(staged))
    assert not torn.exists()


def test_runs_that_stage_at_once_copy_each_recording_once(staged, monkeypatch):
    copied, copy = [], staging._copy
    monkeypatch.setattr(
        staging, "_copy", lambda *words: (copied.append(words[2].path), copy(*words))
    )
    threads = [threading.Thread(target=stage, args=(staged,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(copied) == sorted(f"{split}/{name}.npz" for split, name in ALL)


@pytest.mark.parametrize("position", [5000, -10])  # in the signal, at the end of the zip
def test_damaged_original_never_gets_the_name_of_a_copy(config, staged, position):
    build_cache(config, find_corpus(config))
    config = replace(config, staging=staged.staging)
    path = cache_folder(config) / "train" / "aaaaaaaa_s001_t000.npz"
    status, content = path.stat(), bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CacheError) as refused:
        stage(config)
    assert f"{path} does not arrive whole" in str(refused.value)
    assert "action=verify" in str(refused.value)
    assert not (cache_folder(staged_config(config)) / "train" / path.name).exists()


def test_copy_of_another_recording_is_refused(config, staged):
    build_cache(config, find_corpus(config))
    config = replace(config, staging=staged.staging)
    one, other = (cache_folder(config) / split / f"{name}.npz" for split, name in ALL[:2])
    entry = refresh_manifest(cache_folder(config))[f"{ALL[0][0]}/{ALL[0][1]}.npz"]
    problem = staging._problem(
        other, replace(entry, num_bytes=other.stat().st_size), key=cache_folder(config).name
    )
    assert "it holds train/aaaaaaaa_s001_t001 of cache" in problem
    assert staging._problem(one, entry, key=cache_folder(config).name) is None


def test_folder_that_was_not_made_by_staging_is_left_alone(staged):
    folder = cache_folder(staged_config(staged))
    build_cache(staged_config(staged), find_corpus(staged))  # somebody keeps a cache there
    before = files(folder)
    with pytest.raises(CacheError, match="was not made by staging: it may be a cache of its own"):
        stage_lists(staged)
    assert files(folder) == before
    assert not (folder / MARKER).exists()


def test_staging_never_removes_a_file(staged):
    folder = cache_folder(staged_config(staged))
    stage(staged)
    stranger = folder / "train" / "notes.txt"
    stranger.write_text("mine")
    stage(staged, ALL[:1])
    assert stranger.read_text() == "mine"
    assert len(files(folder)) == 5


def test_disk_without_room_is_refused_before_anything_is_copied(staged, monkeypatch):
    source = cache_folder(staged)
    needed = sum(path.stat().st_size for path in source.rglob("*.npz"))
    monkeypatch.setattr(staging, "_free", lambda _: needed + staging._RESERVE_BYTES - 1)
    with pytest.raises(CacheError, match=f"staging needs {needed:,} bytes") as refused:
        stage(staged)
    assert "set data.staging to a larger disk" in str(refused.value)
    assert files(cache_folder(staged_config(staged))) == {}
    monkeypatch.setattr(staging, "_free", lambda _: needed + staging._RESERVE_BYTES)
    stage(staged)


def test_cache_that_lacks_a_recording_or_is_missing_is_said(staged, tmp_path):
    with pytest.raises(CacheError, match=r"1 of 6 recordings are missing \(train/nobody.npz\)"):
        stage(staged, [*ALL, ("train", "nobody")])
    with pytest.raises(CacheError, match=r"no valid manifest.json in .*/nowhere/tusz/"):
        stage_lists(replace(staged, cache_root=str(tmp_path / "nowhere")))


def test_size_line_and_progress_are_said(staged, caplog):
    caplog.set_level("INFO")
    stage(staged, ALL[:3])
    assert "3 of 3 recordings, 0.0" in caplog.text
    assert "GB free)" in caplog.text
    assert "staging: 3 files" in caplog.text


@pytest.mark.parametrize("check_source", [True, False])
def test_data_module_trains_from_the_copy_alone(staged, tmp_path, check_source):
    config = replace(staged, check_source=check_source, residency="disk")
    data = EegDataModule(config, label_rate_hz=1.0, seed=0, progress=False)
    data.prepare_data()
    assert {item.path.parents[3] for item in data.cache} == {Path(staged.staging)}
    expected = EegDataModule(replace(config, staging=None), label_rate_hz=1.0, seed=0)
    for here, there in zip(data.train_dataloader(), expected.train_dataloader(), strict=True):
        assert (here.tiles_BSCR == there.tiles_BSCR).all()
        assert here.start_B.tolist() == there.start_B.tolist()


@pytest.fixture
def bucket(built_config):
    """The built cache as objects behind a URL."""
    system = fsspec.filesystem("memory")
    folder = cache_folder(built_config)
    system.put(f"{folder}/", f"/caches/tusz/{folder.name}/", recursive=True)
    yield "memory://caches"
    system.rm("/caches", recursive=True)


def test_cache_behind_a_url_is_staged_and_then_used(staged, bucket):
    config = replace(staged, cache_root=bucket, check_source=False)
    data = EegDataModule(config, label_rate_hz=1.0, seed=0, progress=False)
    data.prepare_data()
    assert len(data.cache) == 5
    copies = files(cache_folder(staged_config(config)))
    assert copies == files(cache_folder(staged))


def test_cache_behind_a_url_is_never_read_at_random_nor_built(built_config, tmp_path):
    url = {"cache_root": "s3://bucket/caches"}
    with pytest.raises(ConfigError, match=r"read at random .* set data.staging="):
        replace(built_config, **url)
    with pytest.raises(ConfigError, match=r"data.check_source=false"):
        replace(built_config, **url, staging=str(tmp_path))
    config = replace(built_config, **url, staging=str(tmp_path), check_source=False)
    with pytest.raises(CacheError, match="such a cache is only copied from"):
        cache_folder(config)


@pytest.mark.parametrize("place", ["s3://bucket/x", "same"])
def test_staging_must_be_another_local_folder(built_config, place):
    place = built_config.cache_root if place == "same" else place
    with pytest.raises(ConfigError, match=f"data.staging={place} must be a local folder"):
        replace(built_config, staging=place)
