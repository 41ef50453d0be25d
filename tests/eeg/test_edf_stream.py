"""An EDF file read piece by piece is the file read as a whole, and every byte is read once."""

import hashlib
from pathlib import Path

import fsspec
import numpy as np
import pytest
from edf_writer import noise, patch, write_edf

from bgb.eeg import byte_stream
from bgb.eeg.edf import EdfStream, read_edf
from bgb.errors import EdfError

PIECES = [1, 255, 256, 257, 700, 2000]  # samples; records have 256


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few records, so that tiny files have many."""
    monkeypatch.setattr("bgb.eeg.edf_records._CHUNK_BYTES", 3 * 256 * 2 * 2)


def read_pieces(stream: EdfStream, rows: list[int] | None = None) -> np.ndarray:
    left, pieces = stream.num_samples, []
    while left:
        count = min(left, PIECES[len(pieces) % len(PIECES)])
        pieces.append(np.empty((len(stream.channels if rows is None else rows), count), np.float32))
        stream.read(pieces[-1], rows)
        left -= count
    return np.concatenate(pieces, axis=1)


def test_pieces_of_any_length_make_up_the_whole(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise(20), "F3": noise(20, seed=1)})
    whole = read_edf(path)
    with EdfStream(path) as stream:
        np.testing.assert_array_equal(read_pieces(stream), whole.signals_CT)
        assert stream.finish().start == whole.start
    with EdfStream(path) as stream:
        np.testing.assert_array_equal(read_pieces(stream, [1]), whole.signals_CT[1:])


@pytest.mark.parametrize("remote", [False, True])
def test_hash_covers_every_byte_of_the_file(tmp_path: Path, remote: bool) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise(10)})
    path.write_bytes(path.read_bytes() + bytes(3_000_000))  # after the declared records
    url = "memory://hashed/a.edf"
    fsspec.filesystem("memory").pipe_file("/hashed/a.edf", path.read_bytes())
    with EdfStream(url if remote else path, hashed=True) as stream:
        read_pieces(stream)
        facts = stream.finish()
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts.remarks == ("3000000 bytes after the 10 declared records are left out",)


def test_every_byte_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    class Counting(byte_stream.FileIO):
        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            read.append(super().readinto(buffer))
            return read[-1]

    monkeypatch.setattr(byte_stream, "FileIO", Counting)
    path = write_edf(tmp_path / "a.edf", [("T8-P8", noise(20)), ("T8-P8", noise(20))])
    with EdfStream(path, hashed=True) as stream:
        read_pieces(stream)
        assert stream.finish().rows == (0,)
    assert sum(read) == path.stat().st_size


def test_channel_that_differs_only_at_the_end_is_no_repeat(tmp_path: Path) -> None:
    signal = noise(20)
    other = signal.copy()
    other[-1] += 1
    path = write_edf(tmp_path / "a.edf", [("T8-P8", signal), ("T8-P8", other)])
    with EdfStream(path) as stream:
        assert stream.repeats == (1,)  # as far as is known
        read_pieces(stream)
        assert stream.repeats == () and stream.finish().rows == (0, 1)


def test_samples_outside_the_digital_range_are_counted_over_all_pieces(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": np.tile([3000.0, 0.0], 10 * 128), "F3": noise(10)})
    patch(path, "digital_max", "20000", signal=0)
    remarks = read_edf(path).remarks
    assert remarks == ("samples outside the declared digital range, read as stored: 'Fp1' 1280",)


def test_file_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", {"Fp1": noise(20)})
    with EdfStream(path) as stream:
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(EdfError, match=r"a\.edf: ends before its last record: it changed"):
            read_pieces(stream)


def test_file_without_header_is_closed_again(tmp_path: Path) -> None:
    (tmp_path / "a.edf").write_bytes(b"0")
    with pytest.raises(EdfError, match="has 1 bytes"):
        EdfStream(tmp_path / "a.edf")  # an open file would warn, and warnings are errors
