"""The file format: plain np.load reads it, aligned arrays, reproducible bytes."""

import json
import zipfile

import numpy as np
import pytest

from bgb.data.npz import ALIGNMENT, meta_member, open_signal, read_meta, write_npz
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
