"""What `python -m bgb.storage` says of folders: every file once, nothing made, nothing guessed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from bgb.config.compose import compose
from bgb.corpora import find_corpus
from bgb.data.build import build_cache
from bgb.data.key import cache_folder
from bgb.data.snapshot import SNAPSHOTS
from bgb.errors import InfraError
from bgb.infra.storage.complete import judge, know_corpus, unknown_corpus
from bgb.infra.storage.draw import size_table, tree
from bgb.infra.storage.look import look
from bgb.infra.storage.price import monthly_usd
from bgb.infra.storage.probe import choose, probe
from bgb.infra.storage.store import FolderStore, Listing, StoredFile, open_store
from bgb.infra.storage.survey import survey
from tests.data.tiny_corpus import config_for, write_corpus

KEY = "0123456789abcdef"


class MemoryStore:
    """Files that are only in memory."""

    label, kind = "memory", "Volume"

    def __init__(self, files: dict[str, bytes]) -> None:
        self.contents = files

    def files(self) -> Listing:
        return Listing(
            tuple(StoredFile(path, len(self.contents[path])) for path in sorted(self.contents))
        )

    def read(self, path: str, *, start: int = 0, stop: int | None = None) -> bytes:
        return self.contents[path][start:stop]


def manifest(**num_bytes: int) -> bytes:
    entries = [
        {"split": "train", "recording_id": name, "num_bytes": size}
        for name, size in num_bytes.items()
    ]
    return json.dumps({"recordings": entries}).encode()


def run_files(run: str, **provenance: object) -> dict[str, bytes]:
    return {
        f"{run}/config.yaml": b"seed: 0",
        f"{run}/provenance.json": json.dumps(provenance).encode(),
        f"{run}/checkpoints/last.ckpt": b"x" * 100,
    }


@pytest.fixture
def built(tmp_path: Path):
    """The configuration of the tiny corpus, whose cache is built."""
    write_corpus(tmp_path / "edf")
    config = config_for(tmp_path / "edf", tmp_path / "runs" / "cache")
    build_cache(config, find_corpus(config))
    return config


def drawn(*surveys, corpus=None) -> str:
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    known = corpus or unknown_corpus(config_for(Path("edf"), Path("cache")), "not at hand")
    console.print(tree(surveys, known))
    console.print(size_table(surveys))
    console.file.close()
    return console.export_text()


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


def test_folder_that_may_not_be_listed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "open.edf").write_bytes(b"1")
    _refuse(monkeypatch, lambda path: Path(path).name == "closed")
    found = survey(FolderStore(str(tmp_path)))
    assert found.remarks == (f"{tmp_path / 'closed'} cannot be listed: Permission denied",)
    assert found.num_files == 1
    assert "Permission denied" in drawn(found).replace("\n", " ")
    _refuse(monkeypatch, lambda path: True)
    assert "Permission denied" in survey(FolderStore(str(tmp_path))).problem


def _refuse(monkeypatch: pytest.MonkeyPatch, refused: Callable[[object], bool]) -> None:
    """Make some folders unreadable, for root, too."""
    scandir = os.scandir

    def guarded(path: str) -> object:
        if refused(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)


def test_broken_link_and_loop_of_links_do_not_stop_the_walk(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.edf").write_bytes(b"12")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    found = survey(FolderStore(str(tmp_path)))
    assert (found.num_files, found.num_bytes) == (1, 2)
    assert found.remarks == (f"{tmp_path / 'gone'} cannot be looked at: No such file or directory",)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "nowhere does not exist"),
        ("file", "is no folder"),
        ("unknown://x/y", "unknown://x/y cannot be read"),
        ("memory://empty/none", "memory://empty/none does not exist or is empty"),
    ],
)
def test_place_that_cannot_be_read_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert message in survey(open_store(place)).problem


def test_password_of_a_url_is_not_shown() -> None:
    assert open_store("sftp://me:secret@host/data").label == "sftp://***@host/data"


def test_place_within_another_is_looked_at_once(tmp_path: Path) -> None:
    (tmp_path / "edf").mkdir()
    words = [f"data.root={tmp_path / 'edf'}", f"results={tmp_path}"]
    assert [place.label for place in look(compose("storage", words)).surveys] == [str(tmp_path)]


def test_price_is_that_of_the_kind_of_place() -> None:
    assert monthly_usd("s3", 100 * 10**9) == pytest.approx(2.30)
    assert monthly_usd("bucket", 10**9) == pytest.approx(0.023)
    assert monthly_usd("Volume", 2**40) == 0
    assert monthly_usd("Volume", 2**40 + 100 * 2**30) == pytest.approx(9.0)
    assert monthly_usd("disk", 10**12) is None


def test_probe_reads_what_it_says() -> None:
    files = {f"train/{number:02}.edf": bytes(5000 + number) for number in range(10)}
    store = MemoryStore({**files, "train/small.edf": b"1", "a.npz": bytes(9000)})
    ticks = iter(range(1000))
    speed = probe(store, num_files=5, where="here", clock=lambda: float(next(ticks)))
    assert speed.num_files == 5
    assert speed.num_bytes == sum(5000 + number for number in (0, 2, 4, 6, 8))
    assert (speed.latency_ms, speed.latency_p95_ms) == (1000.0, 1000.0)
    assert speed.mb_per_s == pytest.approx(
        speed.num_bytes / 6 / 1e6
    )  # one look at the clock a read


def test_probe_takes_the_slowest_into_the_percentile() -> None:
    seconds = [0.001] * 18 + [1.0, 1.0]
    times = [time for second in seconds for time in (0.0, second)]
    clock = iter([*times, *([0.0] * 100)])
    store = MemoryStore({f"{number:02}.edf": bytes(4096) for number in range(20)})
    speed = probe(store, num_files=20, where="here", clock=lambda: next(clock))
    assert speed.latency_ms == pytest.approx(1.0)
    assert speed.latency_p95_ms == pytest.approx(1000.0)


def test_probe_of_an_empty_place_says_so() -> None:
    speed = probe(MemoryStore({"a.edf": b"1"}), num_files=3, where="here")
    assert speed.problem == "no file of 4 KiB or more"


def test_probe_prefers_what_is_read_in_earnest() -> None:
    names = ["a.ckpt", "b.npz", "c.edf", "d.txt"]
    files = [StoredFile(name, 10_000) for name in names]
    assert [file.name for file in choose(files, 9)] == ["c.edf"]
    assert [file.name for file in choose([files[0], files[1]], 9)] == ["b.npz"]
    assert [file.name for file in choose([files[3]], 9)] == ["d.txt"]


def test_file_that_vanishes_during_a_probe_is_said(tmp_path: Path) -> None:
    store = FolderStore(str(tmp_path))
    (tmp_path / "a.edf").write_bytes(bytes(5000))
    with pytest.raises(InfraError, match=r"b\.edf cannot be read: No such file"):
        store.read("b.edf")
    assert store.read("a.edf", start=4990, stop=6000) == bytes(10)


def test_long_lists_are_cut_and_counted() -> None:
    files = {}
    for number in range(25):
        files |= run_files(f"run{number:02}")
    text = drawn(survey(MemoryStore(files)))
    assert text.count("unfinished") == 20
    assert "... and 5 more" in text


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
