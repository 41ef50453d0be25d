"""Memory of batches: used again when nobody holds them, never before."""

import gc

import numpy as np
import pytest
import torch

from bgb.data.buffers import TileBuffers
from bgb.eeg.signal import SignalSpec
from bgb.errors import ConfigError

SPEC = SignalSpec("electrodes", ("Fz", "Cz", "Pz"), 8)


def make(dtype=torch.int16, **changes):
    return TileBuffers(SPEC, **{"window_s": 5, "batch_size": 4, "dtype": dtype, **changes})


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_memory_of_a_batch_that_is_gone_is_used_again(dtype):
    buffers = make(dtype)
    tiles = buffers.take(4)
    assert tiles.shape == (4, 5, 3, 8)
    assert tiles.dtype == dtype
    place = tiles.data_ptr()
    del tiles
    assert buffers.take(2).data_ptr() == place
    assert buffers.take(4).data_ptr() == place


KEPT = {
    "the tensor": lambda tiles: tiles,
    "a view": lambda tiles: tiles[1:, :2].transpose(0, 1)[0],
    "an array": lambda tiles: tiles.numpy()[2],
    "a view of an array": lambda tiles: tiles.numpy()[1:][1].T,
    "what autograd saved": lambda tiles: tiles.detach().requires_grad_().square(),
}


@pytest.mark.parametrize("kept", KEPT)
def test_memory_is_not_used_again_while_anything_of_it_is_held(kept):
    buffers = make(torch.float32)
    tiles = buffers.take(4).fill_(7)
    held, place = KEPT[kept](tiles), tiles.data_ptr()
    del tiles
    gc.collect()
    others = [buffers.take(4).fill_(1) for _ in range(3)]
    assert place not in {other.data_ptr() for other in others}
    if kept == "what autograd saved":
        held.sum().backward()
    else:
        assert (np.asarray(held) == 7).all()
    del held
    gc.collect()
    assert buffers.take(4).data_ptr() == place


def test_two_batches_never_share_memory():
    buffers = make()
    held = [buffers.take(4) for _ in range(20)]
    assert len({tiles.data_ptr() for tiles in held}) == 20


def test_no_more_than_keep_buffers_wait_for_use():
    buffers = make(keep=2)
    held = [buffers.take(4) for _ in range(10)]
    places = [tiles.data_ptr() for tiles in held]
    while held:
        del held[0]
    again = [buffers.take(1) for _ in range(2)]
    assert {tiles.data_ptr() for tiles in again} == set(places[-2:])
    assert not buffers._free


def test_float_tiles_are_channel_major_in_memory():
    tiles = make(torch.float32).take(4)
    assert tiles.transpose(1, 2).is_contiguous()
    assert make().take(4).is_contiguous()


def test_other_types_are_refused():
    with pytest.raises(ConfigError, match=r"cannot be torch.float64; possible are .*int16"):
        make(torch.float64)


def test_buffers_may_be_gone_before_their_batches():
    buffers = make()
    tiles = buffers.take(4).fill_(3)
    del buffers
    gc.collect()
    assert (tiles == 3).all()
