"""Reading places, measuring them and drawing them: what cannot be read is said."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bgb.errors import InfraError
from bgb.infra.storage.price import monthly_usd
from bgb.infra.storage.probe import choose, probe
from bgb.infra.storage.store import FolderStore, StoredFile, open_store
from bgb.infra.storage.survey import survey
from tests.infra.memory_store import MemoryStore, drawn, run_files


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
        files |= run_files(f"run{number:02}", finished=None)
    text = drawn(survey(MemoryStore(files)))
    assert text.count("unfinished") == 20
    assert "... and 5 more" in text
