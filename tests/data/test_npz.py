"""The file format: plain np.load reads it, aligned arrays, reproducible bytes."""

import json
import zipfile
import zlib

import numpy as np
import pytest

from bgb.data.crc import crc32_of_end
from bgb.data.npz import ALIGNMENT, BlockedArray, meta_member, open_signal, read_meta, write_npz
from bgb.errors import CacheError


def members():
    signal_SCR = np.arange(5 * 3 * 64, dtype=np.int16).reshape(5, 3, 64)
    events = np.array([(1.0, 2.5, "seiz")], [("start_s", "f8"), ("stop_s", "f8"), ("label", "U4")])
    return {"signal": signal_SCR, "events": events, "meta": meta_member({"a": 1})}


def test_plain_np_load_reads_every_member(tmp_path):
    write_npz(tmp_path / "x.npz", members())
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == ["events", "meta", "signal"]
        np.testing.assert_array_equal(archive["signal"], members()["signal"])
        assert archive["events"]["stop_s"].tolist() == [2.5]
        assert archive["events"]["label"].tolist() == ["seiz"]
        assert json.loads(archive["meta"].item()) == {"a": 1}


def test_arrays_are_stored_and_begin_at_multiples_of_4096(tmp_path):
    path = tmp_path / "x.npz"
    write_npz(path, members())
    with zipfile.ZipFile(path) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
    data, signal_SCR = path.read_bytes(), members()["signal"]
    assert data.index(signal_SCR.tobytes()) == ALIGNMENT
    assert data.index(members()["events"].tobytes()) % ALIGNMENT == 0
    assert data.index(members()["meta"].tobytes()) % ALIGNMENT == 0


def test_zero_events_are_a_member_too(tmp_path):
    none = np.array([], [("start_s", "f8"), ("stop_s", "f8"), ("label", "U1")])
    write_npz(tmp_path / "x.npz", {**members(), "events": none})
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        assert archive["events"].shape == (0,)


def test_same_arrays_give_same_bytes(tmp_path):
    write_npz(tmp_path / "x.npz", members())
    write_npz(tmp_path / "y.npz", members())
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()


def test_writing_leaves_no_partial_file(tmp_path):
    write_npz(tmp_path / "x.npz", members())
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_positioned_read_equals_np_load(tmp_path):
    write_npz(tmp_path / "x.npz", members())
    handle = open_signal(tmp_path / "x.npz", 0)
    assert handle.shape == (5, 3, 64)
    window_SCR = np.empty((2, 3, 64), np.int16)
    handle.read_into(window_SCR, 3)
    np.testing.assert_array_equal(window_SCR, members()["signal"][3:5])


def test_what_lies_in_memory_is_read_without_waiting(tmp_path):
    write_npz(tmp_path / "x.npz", members())
    handle, window_SCR = open_signal(tmp_path / "x.npz", 0), np.empty((2, 3, 64), np.int16)
    handle.announce(3, 5)
    if handle.read_cached(window_SCR, 3):  # some file systems do not tell
        np.testing.assert_array_equal(window_SCR, members()["signal"][3:5])


def test_window_that_is_not_all_there_is_not_read_without_waiting(tmp_path, monkeypatch):
    path = tmp_path / "x.npz"
    write_npz(path, members())
    path.write_bytes(path.read_bytes()[: ALIGNMENT + 100])
    window_SCR = np.empty((1, 3, 64), np.int16)
    assert open_signal(path, 2).read_cached(window_SCR, 0) is False
    monkeypatch.setattr("bgb.data.npz.os.preadv", raise_nothing_cached)
    assert open_signal(path, 2).read_cached(window_SCR, 0) is False


def raise_nothing_cached(*_):
    raise BlockingIOError


def test_header_written_otherwise_is_read_too(tmp_path):
    """A file that was copied with np.savez: other padding, same members."""
    np.savez(tmp_path / "x.npz", **members())
    window_SCR = np.empty((2, 3, 64), np.int16)
    open_signal(tmp_path / "x.npz", 0).read_into(window_SCR, 3)
    np.testing.assert_array_equal(window_SCR, members()["signal"][3:5])


@pytest.mark.parametrize("wrong", [np.zeros((2, 3, 8)), np.zeros((2, 3), np.int16)])
def test_signal_of_another_kind_is_refused(tmp_path, wrong):
    write_npz(tmp_path / "x.npz", {"signal": wrong})
    with pytest.raises(CacheError, match=r"signal is .*, not int16 \(S, C, R\)"):
        open_signal(tmp_path / "x.npz", 0)


def test_truncated_signal_is_an_error(tmp_path):
    path = tmp_path / "x.npz"
    write_npz(path, members())
    path.write_bytes(path.read_bytes()[: ALIGNMENT + 100])
    with pytest.raises(CacheError, match=r"ends 284 bytes too early; run `python -m bgb.cache"):
        open_signal(path, 1).read_into(np.empty((1, 3, 64), np.int16), 0)


def test_foreign_file_is_refused_by_name(tmp_path):
    np.savez(tmp_path / "foreign.npz", windows=np.zeros(3))
    with pytest.raises(CacheError, match=r"foreign.npz is not a cached recording.*windows.npy"):
        open_signal(tmp_path / "foreign.npz", 0)
    with pytest.raises(CacheError, match=r"foreign.npz is not a cached recording.*meta"):
        read_meta(tmp_path / "foreign.npz")


def test_meta_of_a_torn_file_is_an_error(tmp_path):
    write_npz(tmp_path / "x.npz", members())
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:5000])
    with pytest.raises(CacheError, match="action=verify"):
        read_meta(tmp_path / "x.npz")


def test_array_that_comes_in_blocks_is_written_as_the_whole(tmp_path):
    whole = members()
    signal_SCR, order = whole["signal"], []

    def blocks():
        for start in (0, 2, 4):
            order.append(start)
            yield signal_SCR[start : start + 2]

    signal = BlockedArray(signal_SCR.shape, signal_SCR.dtype, blocks())

    def pairs():
        yield "signal", signal
        assert order == [0, 2, 4]  # written before the next member is asked for
        assert signal.crc32 == zlib.crc32(signal_SCR)
        yield from list(whole.items())[1:]

    write_npz(tmp_path / "blocks.npz", pairs())
    write_npz(tmp_path / "whole.npz", whole)
    assert (tmp_path / "blocks.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_blocks_that_do_not_fill_the_array_leave_no_file(tmp_path):
    signal = BlockedArray((3, 2, 64), np.dtype("<i2"), [np.zeros((2, 2, 64), np.int16)])
    with pytest.raises(AssertionError, match="values more than"):
        write_npz(tmp_path / "x.npz", {"signal": signal})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("num_bytes", [0, 1, 7, 4096, 100_001])
def test_crc_of_the_end_follows_from_that_of_the_whole(num_bytes):
    beginning, end = bytes(range(128)), np.random.default_rng(num_bytes).bytes(num_bytes)
    whole = zlib.crc32(beginning + end)
    assert crc32_of_end(whole, zlib.crc32(beginning), num_bytes) == zlib.crc32(end)
