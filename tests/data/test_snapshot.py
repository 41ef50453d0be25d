"""Training from the cache alone: the list of recordings that a build leaves beside it."""

import os
import shutil
from dataclasses import replace

import pytest
from tiny_corpus import RECORDINGS, write_corpus

import bgb.data.source as source_module
from bgb.corpora import find_corpus
from bgb.data.build import build_cache
from bgb.data.key import FORMAT_VERSION
from bgb.data.manifest import MANIFEST, load_manifest
from bgb.data.module import EegDataModule
from bgb.data.snapshot import SNAPSHOTS, read_snapshot
from bgb.errors import CacheError


@pytest.fixture
def own_config(config, tmp_path):
    """An empty cache and a corpus of its own that a test may take away."""
    write_corpus(tmp_path / "edf")
    return replace(config, root=str(tmp_path / "edf"))


def build(config, **options):
    return build_cache(config, find_corpus(config, progress=False), **options)


def alone(config, **changes):
    return replace(config, check_source=False, **changes)


def open_alone(config, **options):
    data = EegDataModule(config, label_rate_hz=1.0, seed=0, progress=False, **options)
    data.prepare_data()
    return data


def test_run_without_its_edf_files_sees_the_same_windows(own_config):
    build(own_config)
    with_source = open_alone(own_config)
    shutil.rmtree(own_config.root)
    data = open_alone(alone(own_config))
    assert [one.path for one in data.cache] == [one.path for one in with_source.cache]
    first, same = next(iter(data.train_dataloader())), next(iter(with_source.train_dataloader()))
    assert (first.tiles_BSCR == same.tiles_BSCR).all()
    with pytest.raises(Exception, match="does not exist or is empty"):
        open_alone(own_config)


def test_cache_that_was_never_built_is_refused_with_the_command(config):
    with pytest.raises(CacheError, match=r"never completed .*action=build"):
        open_alone(alone(config)).setup()


def test_each_selection_has_a_list_of_its_own(own_config):
    build(own_config)
    limited = replace(own_config, limit=1)
    with pytest.raises(CacheError, match=r"never completed for \{'limit': 1"):
        read_snapshot(alone(limited))
    build(limited)
    assert len(read_snapshot(alone(limited))) == 3
    assert len(read_snapshot(alone(own_config))) == len(RECORDINGS)


def test_order_of_the_exclusions_does_not_matter(own_config):
    names = ["aaaaaaaa_s001_t001", "aaaaaaab_s001_t000"]
    build(replace(own_config, exclude=names))
    assert len(read_snapshot(alone(own_config, exclude=names[::-1]))) == len(RECORDINGS) - 2


def test_failed_build_leaves_no_list(own_config, tmp_path):
    (tmp_path / "edf" / "eval" / "aaaaaaad_s001_t000.edf").write_bytes(b"not an EDF")
    with pytest.raises(CacheError, match="could not be cached"):
        build(own_config)
    with pytest.raises(CacheError, match="never completed"):
        read_snapshot(alone(own_config))


def test_build_of_one_split_does_not_pass_for_the_whole(own_config):
    build(own_config, splits=["eval"])
    with pytest.raises(CacheError, match="is incomplete: 4 of 5 recordings are missing"):
        open_alone(alone(own_config)).setup()


def test_recording_that_vanished_from_the_cache_is_named(own_config):
    folder = build(own_config).folder
    (folder / "dev" / "aaaaaaac_s001_t000.npz").unlink()
    with pytest.raises(CacheError, match=r"incomplete: 1 of 5 .*dev/aaaaaaac_s001_t000"):
        open_alone(alone(own_config)).setup()


def test_copied_cache_serves_whatever_the_root_is_called_there(own_config):
    build(own_config)
    assert len(read_snapshot(alone(own_config, root="/mnt/elsewhere"))) == len(RECORDINGS)


def test_roots_with_different_recordings_are_not_confused(own_config, tmp_path):
    build(own_config)
    write_corpus(tmp_path / "part", [name for name in RECORDINGS if "_t001" not in name])
    part = replace(own_config, root=str(tmp_path / "part"))
    build(part)
    assert len(read_snapshot(alone(part))) == len(RECORDINGS) - 1
    assert len(read_snapshot(alone(own_config))) == len(RECORDINGS)
    with pytest.raises(CacheError, match=r"data.root=/mnt/third was never .* 2 other roots"):
        read_snapshot(alone(own_config, root="/mnt/third"))


def test_damaged_list_is_refused(own_config):
    folder = build(own_config).folder
    (path,) = (folder / SNAPSHOTS).iterdir()
    path.write_text(f'{{"format_version": {FORMAT_VERSION}}}')
    with pytest.raises(CacheError, match=r"damaged .*'train'.*write it anew"):
        read_snapshot(alone(own_config))
    build(own_config)
    assert len(read_snapshot(alone(own_config))) == len(RECORDINGS)


def test_list_holds_no_machine_path(own_config, tmp_path):
    folder = build(own_config).folder
    (path,) = (folder / SNAPSHOTS).iterdir()
    assert tmp_path.name not in path.name + path.read_text()


def test_changed_time_stamps_are_compared_by_contents_once(own_config, tmp_path, monkeypatch):
    folder = build(own_config).folder
    for path in (tmp_path / "edf").rglob("*.*"):
        os.utime(path, (1, 1))
    read = []
    digest = source_module._digest
    monkeypatch.setattr(source_module, "_digest", lambda url: read.append(url) or digest(url))
    assert build(own_config).built == ()
    assert len(read) == 2 * len(RECORDINGS)
    stamps = {entry.edf.stamp for entry in load_manifest(folder).values()}
    assert stamps == {"mtime:1.0"}
    written = (folder / MANIFEST).stat().st_mtime_ns
    build(own_config)
    assert len(read) == 2 * len(RECORDINGS)
    assert (folder / MANIFEST).stat().st_mtime_ns == written
