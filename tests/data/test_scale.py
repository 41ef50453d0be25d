"""What keeps a cache of 100,000 recordings quick: each fact stored, read and parsed once."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tiny_corpus import RECORDINGS

import bgb.data.cache as cache_module
import bgb.data.manifest as manifest_module
import bgb.data.verify as verify_module
from bgb.corpora import find_corpus
from bgb.data.build import build_cache
from bgb.data.cache import open_cache
from bgb.data.manifest import MANIFEST, load_manifest, refresh_manifest, write_manifest
from bgb.data.npz import read_meta, read_meta_and_events, write_npz
from bgb.data.verify import verify_cache
from bgb.eeg.signal import ZSCORE_SPEC
from bgb.errors import CacheError

NAME = "aaaaaaaa_s001_t000"


@pytest.fixture
def folder(cache, tmp_path):
    """A copy of the cache, to be damaged."""
    return shutil.copytree(cache.folder, tmp_path / cache.folder.name)


@pytest.fixture
def parsed(monkeypatch):
    """Counts how often a manifest is parsed."""
    calls, original = [], load_manifest

    def count(folder):
        calls.append(folder)
        return original(folder)

    for module in (manifest_module, cache_module):
        monkeypatch.setattr(module, "load_manifest", count)
    monkeypatch.setattr("bgb.data.build.load_manifest", count)
    return calls


def test_opening_parses_the_manifest_once(folder, parsed):
    write_manifest(folder, refresh_manifest(folder))
    parsed.clear()
    open_cache(folder)
    assert len(parsed) == 1


def test_build_that_finds_everything_parses_it_twice(built_config, parsed):
    build_cache(built_config, find_corpus(built_config))
    assert len(parsed) == 2  # the plan, and once more for what others built meanwhile


def test_manifest_has_a_line_for_each_recording_and_each_signal_once(folder):
    manifest = dict(refresh_manifest(folder))
    path = f"train/{NAME}.npz"
    manifest[path] = replace(manifest[path], spec=ZSCORE_SPEC)
    write_manifest(folder, manifest)
    text = (folder / MANIFEST).read_text()
    assert len(text.splitlines()) == len(RECORDINGS) + 2
    assert len(json.loads(text)["signals"]) == 2
    assert load_manifest(folder) == manifest


def test_manifest_of_an_empty_folder_is_json(tmp_path):
    write_manifest(tmp_path, {})
    assert json.loads((tmp_path / MANIFEST).read_text())["recordings"] == []
    assert load_manifest(tmp_path) == {}


def test_manifest_in_an_older_form_is_rebuilt(folder, caplog):
    values = json.loads((folder / MANIFEST).read_text())
    del values["signals"]
    (folder / MANIFEST).write_text(json.dumps(values))
    assert load_manifest(folder) is None
    assert "it is rebuilt" in caplog.text
    assert len(refresh_manifest(folder)) == len(RECORDINGS)


def test_meta_is_the_same_whatever_numpy_wrote_its_header(folder, tmp_path):
    path = folder / "train" / f"{NAME}.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        members = {name: archive[name] for name in archive.files}
        expected = json.loads(archive["meta"].item())
    assert read_meta(path) == expected
    members["meta"] = members["meta"].astype(members["meta"].dtype.newbyteorder(">"))
    write_npz(tmp_path / "x.npz", members)
    meta, events = read_meta_and_events(tmp_path / "x.npz")
    assert meta == expected
    assert events.tolist() == [(10.0, 25.0, "seiz")]


def test_damaged_meta_is_an_error(folder):
    path = folder / "train" / f"{NAME}.npz"
    data = bytearray(path.read_bytes())
    data[data.rindex("seiz".encode("utf-32-le"))] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CacheError, match=r"is not a cached recording: .*CRC"):
        read_meta(path)


def test_damage_in_the_last_second_is_found_piece_by_piece(folder, monkeypatch):
    monkeypatch.setattr(verify_module, "_PIECE_BYTES", 3 * 2 * 19 * 64)  # three seconds
    assert not [file.problem for file in verify_cache(folder) if file.problem]
    path = folder / "train" / f"{NAME}.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        members = {name: archive[name] for name in ("signal", "events", "meta")}
    members["signal"][-1, -1, -1] ^= 1
    write_npz(path, members)
    problems = {file.path: file.problem for file in verify_cache(folder) if file.problem}
    assert problems == {f"train/{NAME}.npz": "the signal differs from its CRC"}


def test_signal_of_another_length_than_meta_says_is_found(folder):
    path = folder / "train" / f"{NAME}.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        members = {name: archive[name] for name in ("signal", "events", "meta")}
    members["signal"] = members["signal"][:-1]
    write_npz(path, members)
    (problem,) = [file.problem for file in verify_cache(folder) if file.problem]
    assert problem == "signal is (39, 19, 64), meta says (40, 19, 64)"
