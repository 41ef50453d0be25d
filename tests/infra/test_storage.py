"""What `python -m bgb.storage` says of folders: every file once, nothing made, nothing guessed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bgb.config.compose import compose
from bgb.corpora import find_corpus
from bgb.data.build import build_cache
from bgb.data.key import cache_folder
from bgb.data.snapshot import SNAPSHOTS
from bgb.infra.storage.complete import judge, know_corpus, unknown_corpus
from bgb.infra.storage.look import look
from bgb.infra.storage.store import FolderStore
from bgb.infra.storage.survey import survey
from tests.data.tiny_corpus import config_for, write_corpus
from tests.infra.memory_store import MemoryStore, drawn, manifest, run_files

KEY = "0123456789abcdef"


@pytest.fixture
def built(tmp_path: Path):
    """The configuration of the tiny corpus, whose cache is built."""
    write_corpus(tmp_path / "edf")
    config = config_for(tmp_path / "edf", tmp_path / "runs" / "cache")
    build_cache(config, find_corpus(config))
    return config


def test_every_file_is_counted_once() -> None:
    files = {
        **run_files("runs/a", finished="2026-11-23"),
        **run_files("sweeps/x/0/b"),
        "runs/a/events/eval/r.csv_bi": b"1234",
        "sweeps/x/0/.hydra/config.yaml": b"12",
        f"cache/tusz/{KEY}/train/r.npz": b"x" * 1000,
        f"cache/tusz/{KEY}/train/.r2.npz.1-1.partial": b"x" * 10,
        f"data/chbmit/chb01/{KEY}/notes.txt": b"123",
        "data/chbmit/chb01/chb01_01.edf": b"x" * 500,
        "data/chbmit/chb01/chb01-summary.txt": b"1",
        "loose": b"1234567",
    }
    found = survey(MemoryStore(files))
    parts = sum(item.num_bytes for part in (found.edf, found.caches, found.runs) for item in part)
    assert parts + sum(found.others.values()) == found.num_bytes == sum(map(len, files.values()))
    assert [run.path for run in found.runs] == ["runs/a", "sweeps/x/0/b"]
    assert [(edf.path, edf.num_edf) for edf in found.edf] == [("data/chbmit", 1)]
    assert [cache.num_unfinished for cache in found.caches] == [1]
    assert dict(found.others) == {"files": 7, "sweeps": 2}


def test_store_that_is_itself_a_run_is_drawn_as_one() -> None:
    files = {path[2:]: data for path, data in run_files("a", finished="now").items()}
    (run,) = survey(MemoryStore({**files, "scores.json": b"{}"})).runs
    assert (run.path, run.state, run.scored, run.num_checkpoints) == ("", "finished", True, 1)
    assert run.checkpoint_bytes == 100


@pytest.mark.parametrize(
    ("provenance", "state"),
    [
        (b'{"finished": "2026-11-23"}', "finished"),
        (b'{"finished": null}', "unfinished"),
        (b'{"finis', "provenance.json damaged"),
    ],
)
def test_state_of_a_run_is_what_its_provenance_says(provenance: bytes, state: str) -> None:
    files = {**run_files("a"), "a/provenance.json": provenance}
    (run,) = survey(MemoryStore(files)).runs
    assert run.state == state
    assert not run.scored


def test_run_that_was_killed_at_once_is_a_run() -> None:
    (run,) = survey(MemoryStore({"a/config.yaml": b"seed: 0", "a/run.lock": b""})).runs
    assert run.state == "unfinished"


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (manifest(r=1000), "current"),
        (manifest(r=1000, s=2), "stale"),
        (manifest(r=999), "stale"),
        (b'{"recordi', "damaged"),
        (b'{"recordings": [3]}', "damaged"),
        (None, "missing"),
    ],
)
def test_manifest_is_compared_with_the_files(text: bytes | None, state: str) -> None:
    files = {f"cache/tusz/{KEY}/train/r.npz": b"x" * 1000}
    if text is not None:
        files[f"cache/tusz/{KEY}/manifest.json"] = text
    (cache,) = survey(MemoryStore(files)).caches
    assert cache.manifest == state
    assert (f"manifest {state}" in drawn(survey(MemoryStore(files)))) == (state != "current")


def test_edf_files_are_counted_by_split() -> None:
    files = {
        **{f"edf/train/aaaaaaaa/s001/t{number}.edf": b"12" for number in range(3)},
        **{"edf/eval/b/t0.edf": b"1", "edf/eval/b/t0.csv_bi": b"1234", "edf/eval/b/._t0.edf": b""},
    }
    (edf,) = survey(MemoryStore(files)).edf
    assert (edf.path, edf.num_edf, edf.num_bytes) == ("", 4, 11)
    assert dict(edf.by_split) == {"train": 3, "eval": 1}


def test_built_cache_is_complete_and_a_lacking_recording_is_named(built) -> None:
    store = FolderStore(built.cache_root)
    (cache,) = survey(store).caches
    assert judge(cache, know_corpus(built)).text == "complete"
    next(cache_folder(built).glob("eval/*.npz")).unlink()
    (cache,) = survey(store).caches
    said = judge(cache, know_corpus(built))
    assert not said.complete
    assert said.text == "1 of 5 recordings missing (eval/aaaaaaad_s001_t000)"
    assert "manifest stale" in drawn(survey(store), corpus=know_corpus(built))


def test_cache_of_other_preprocessing_is_compared_by_names(built) -> None:
    from dataclasses import replace

    other = replace(built, preprocess=replace(built.preprocess, lowpass_hz=20.0))
    (cache,) = survey(FolderStore(built.cache_root)).caches
    said = judge(cache, know_corpus(other))
    assert (said.complete, said.text) == (True, "complete, other settings")


def test_without_the_corpus_the_last_build_is_compared(built) -> None:
    absent = unknown_corpus(built, "its disk is not here")
    next(cache_folder(built).glob("dev/*.npz")).unlink()
    (cache,) = survey(FolderStore(built.cache_root)).caches
    assert judge(cache, absent).text.startswith("1 of 5 recordings missing as last built (dev/")
    for path in (cache_folder(built) / SNAPSHOTS).iterdir():
        path.unlink()
    (cache,) = survey(FolderStore(built.cache_root)).caches
    said = judge(cache, absent)
    assert (said.complete, said.text) == (None, "not compared: its disk is not here")


def test_cache_of_another_corpus_names_the_option_that_compares_it(built) -> None:
    (cache,) = survey(MemoryStore({f"cache/chbmit/{KEY}/train/r.npz": b"1"})).caches
    assert judge(cache, know_corpus(built)).text == "not compared: data=chbmit would"


def test_synthetic_corpus_is_not_made_by_looking(tmp_path: Path) -> None:
    words = [f"data.root={tmp_path / 'data'}", f"results={tmp_path / 'runs'}"]
    findings = look(compose("storage", words))
    assert f"no synthetic corpus at {tmp_path / 'data'}" in findings.corpus.problem
    assert not list(tmp_path.iterdir())
    text = drawn(*findings.surveys, corpus=findings.corpus)
    assert text.replace("\n", "").count("does not exist") == 2
    assert findings.unread == ()


def test_place_within_another_is_looked_at_once(tmp_path: Path) -> None:
    (tmp_path / "edf").mkdir()
    words = [f"data.root={tmp_path / 'edf'}", f"results={tmp_path}"]
    assert [place.label for place in look(compose("storage", words)).surveys] == [str(tmp_path)]


def test_command_draws_a_run_and_leaves_everything_as_it_was(built, tmp_path: Path) -> None:
    for path, data in run_files("runs/mine", finished="now").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    words = ["data=tusz", f"data.root={tmp_path / 'edf'}", "probe=true", "probe_files=2"]
    words += ["data.preprocess.rate_hz=64", "data.preprocess.lowpass_hz=25"]
    done = subprocess.run(
        [sys.executable, "-m", "bgb", "storage", *words, "data.preprocess.notch_hz=null"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "train 3, dev 1, eval 1" in done.stdout
    assert f"cache/tusz/{cache_folder(built).name}: train 3" in done.stdout
    assert "; complete" in done.stdout
    assert "mine: finished, 1 checkpoints 100 bytes" in done.stdout
    assert done.stdout.count("this machine") == 2
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
