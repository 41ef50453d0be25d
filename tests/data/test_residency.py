"""Where windows are read from: chosen by size, said aloud, the same signals everywhere."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from bgb.data import device, residency
from bgb.data.device import DeviceSplit
from bgb.data.residency import make_resident
from bgb.errors import CacheError, ConfigError

CUDA = torch.device("cuda", 0)


def test_memory_holds_every_recording_as_its_file_does(cache, monkeypatch):
    recordings = cache.split("train")
    monkeypatch.setattr(residency, "_CHUNK_BYTES", 3 * recordings[0].signal_bytes // 40)
    for there, here in zip(recordings, make_resident(recordings, "memory", memory_gib=8)):
        assert np.array_equal(here.tiles(0, there.num_seconds), there.tiles(0, there.num_seconds))
        assert (here.recording_id, here.duration_s) == (there.recording_id, there.duration_s)
        assert here.events == there.events
        assert np.array_equal(here.present_C, there.present_C)


def test_disk_leaves_the_recordings_as_they_are(cache):
    recordings = cache.split("train")
    assert make_resident(recordings, "disk", memory_gib=8) == recordings


def test_device_is_one_tensor_there(cache, caplog):
    caplog.set_level(logging.INFO)
    split = make_resident(cache.split("train"), "device", memory_gib=8)
    assert isinstance(split, DeviceSplit)
    assert split.tiles_NCR.device == torch.device("cpu")
    assert "residency device cpu: 3 recordings" in caplog.text


@pytest.fixture
def chosen(cache, monkeypatch):
    """What auto takes, given the free bytes of GPU and host as multiples of the split."""
    recordings = cache.split("train")
    needed = sum(recording.signal_bytes for recording in recordings)
    monkeypatch.setattr(residency, "load_split", lambda *_, **__: "device")
    monkeypatch.setattr(residency, "load_memory", lambda *_, **__: "memory")

    def choose(*, gpu: float | None, host: float = 10.0, memory_gib: float = 8.0):
        free = {"cuda": gpu, "cpu": host}
        monkeypatch.setattr(
            residency, "free_bytes", lambda device: int((free[device.type] or 0) * needed)
        )
        where = torch.device("cpu") if gpu is None else CUDA
        made = make_resident(recordings, "auto", memory_gib=memory_gib, device=where)
        return made if isinstance(made, str) else "disk"

    return choose


def test_auto_takes_the_gpu_only_where_half_of_what_is_free_is_enough(chosen):
    assert chosen(gpu=2.1) == "device"
    assert chosen(gpu=1.9) == "memory"
    assert chosen(gpu=None) == "memory"  # trained on the CPU


def test_auto_takes_memory_up_to_the_limit_and_what_is_free(chosen):
    assert chosen(gpu=None, host=1.1) == "memory"
    assert chosen(gpu=None, host=0.9) == "disk"
    assert chosen(gpu=1.9, memory_gib=1e-6) == "disk"


def test_memory_that_is_not_free_is_refused(cache, monkeypatch):
    monkeypatch.setattr(device, "free_bytes", lambda _: 1000)
    with pytest.raises(ConfigError, match=r"residency=memory: 3 recordings need .* 1,000 free"):
        make_resident(cache.split("train"), "memory", memory_gib=8)


def test_unknown_residency_is_refused(cache):
    with pytest.raises(ConfigError, match="'cloud' is not valid; auto, device, memory, disk"):
        make_resident(cache.split("train"), "cloud", memory_gib=8)


def test_damaged_signal_does_not_get_into_memory(cache, tmp_path):
    recordings = list(cache.split("train"))
    copy = tmp_path / "damaged.npz"
    content = bytearray(recordings[2].path.read_bytes())
    content[5000] ^= 1
    copy.write_bytes(content)
    recordings[2] = replace(recordings[2], path=copy)
    with pytest.raises(CacheError, match=r"damaged.npz is damaged: its signal differs"):
        make_resident(recordings, "memory", memory_gib=8)
