"""On a GPU: windows gathered there are those of the files, and pinned batches arrive unharmed."""

from dataclasses import replace

import pytest
import torch

from bgb.config.data import SamplingConfig
from bgb.data import device
from bgb.data.cache import open_cache
from bgb.data.device import DeviceSplit, find_device, free_bytes, load_split
from bgb.data.key import cache_folder
from bgb.data.loader import WindowLoader
from bgb.data.residency import make_resident
from bgb.errors import ConfigError

CUDA = torch.device("cuda", 0)
SAMPLING = SamplingConfig(windows_per_epoch=200)


@pytest.fixture
def recordings(gpu_config):
    return open_cache(cache_folder(gpu_config)).split("train")


@pytest.fixture
def make_loader(recordings):
    def make(**changes):
        values = {"window_s": 8, "batch_size": 7, "label_rate_hz": 1.0, "seed": 0}
        return WindowLoader(recordings, SAMPLING, **{**values, **changes})

    return make


@pytest.mark.parametrize(("window_s", "label_rate_hz"), [(8, 1.0), (8, 0.25), (9, 64.0), (60, 3.0)])
def test_batches_gathered_on_the_gpu_are_those_of_the_files(make_loader, window_s, label_rate_hz):
    shape = {"window_s": window_s, "label_rate_hz": label_rate_hz}
    there = make_loader(**shape)
    for batch, expected in zip(
        make_loader(**shape, residency="device", device=CUDA), there, strict=True
    ):
        assert all(tensor.device == CUDA for tensor in batch)
        for here, value in zip(batch, expected, strict=True):
            assert here.dtype == value.dtype
            assert torch.equal(here.cpu(), value)


def test_pieces_that_pass_through_pinned_memory_arrive_whole(recordings, monkeypatch):
    expected = load_split(recordings, torch.device("cpu")).tiles_NCR
    monkeypatch.setattr(device, "_CHUNK_BYTES", 3 * expected[0].nbytes)
    assert torch.equal(load_split(recordings, CUDA).tiles_NCR.cpu(), expected)


def test_batches_for_the_gpu_are_pinned_and_survive_copies_still_under_way(make_loader):
    expected = [batch.tiles_BSCR.clone() for batch in make_loader()]
    copies = []
    for batch in make_loader(device=CUDA, threads=3):
        assert batch.tiles_BSCR.is_pinned()
        copies.append(batch.tiles_BSCR.to(CUDA, non_blocking=True))
        del batch  # its memory may be used again at once
    torch.cuda.synchronize()
    assert all(torch.equal(here.cpu(), there) for here, there in zip(copies, expected, strict=True))


def test_auto_takes_the_gpu_that_trains(recordings, gpu_config):
    assert find_device("auto") == find_device("gpu") == CUDA
    split = make_resident(recordings, "auto", memory_gib=8, device=CUDA)
    assert isinstance(split, DeviceSplit) and split.device == CUDA


def test_split_larger_than_the_gpu_is_refused_with_what_is_free(recordings):
    one = recordings[0]
    copies = -(-2 * free_bytes(CUDA) // one.signal_bytes)
    long = replace(one, entry=replace(one.entry, num_seconds=one.num_seconds * copies))
    with pytest.raises(ConfigError, match=r"residency=device: 1 recordings need .* cuda:0 has"):
        load_split([long], CUDA)
