"""TileBuffers: memory of batches, used again once nobody holds the batch any more.

New memory costs more than reading a batch into it: each page is mapped and cleared first
(performance.md 1c). A buffer is free when the last tensor made of it is gone, wherever it was kept,
so a consumer that keeps its batches only makes the loader take more memory. Pinned memory comes
from torch's own allocator, which does the same and also waits for copies still under way.
"""

# Shapes: B windows, S seconds, C channels, R samples a second

import weakref
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray

from bgb.eeg.signal import SignalSpec
from bgb.errors import ConfigError

TILE_TYPES = {torch.int16: np.int16, torch.float32: np.float32}


class TileBuffers:
    """Memory for the tiles of batches of one shape.

    Parameters
    ----------
    batch_size : windows of a full batch; smaller ones take a part of its memory.
    dtype : int16, or float32 for a detector on the CPU: the same numbers, channel-major in memory,
        so that the frontend takes them as they are.
    keep : free buffers kept; what a consumer held beyond that goes back to the system.
    pinned : page-locked memory, from which CUDA copies at full speed.
    """

    def __init__(
        self,
        spec: SignalSpec,
        *,
        window_s: int,
        batch_size: int,
        dtype: torch.dtype = torch.int16,
        keep: int = 4,
        pinned: bool = False,
    ) -> None:
        if dtype not in TILE_TYPES:
            raise ConfigError(f"batches cannot be {dtype}; possible are {list(TILE_TYPES)}")
        middle = (window_s, spec.num_channels)
        self._channel_major = dtype == torch.float32
        self._shape = (batch_size, *(middle[::-1] if self._channel_major else middle), spec.rate_hz)
        self._dtype, self._pinned = dtype, pinned
        self._free: deque[NDArray[np.generic]] = deque(maxlen=keep)  # atomic: no lock in finalizers

    def take(self, size: int) -> torch.Tensor:
        """Return tiles (B, S, C, R) of `size` windows, holding whatever was there before."""
        tiles = self._take(size)
        return tiles.transpose(1, 2) if self._channel_major else tiles

    def _take(self, size: int) -> torch.Tensor:
        if self._pinned:
            return torch.empty((size, *self._shape[1:]), dtype=self._dtype, pin_memory=True)
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._shape, TILE_TYPES[self._dtype])
        lent = memory[:size]  # held by the storage of the tensor and by nobody else
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return torch.from_numpy(lent)
