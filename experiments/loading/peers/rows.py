"""Rows of the table of peers: one way to read a batch of windows with one library.

`item_rows` is what tutorials show, a map-style dataset behind torch's DataLoader; `into_rows` is
what remains where the library can read into an array of the caller.
"""

# Shapes: B windows, C channels, T samples

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from corpus import SPEC
from numpy.typing import NDArray
from readers import GRID_S, WINDOW_S, Reader, Window
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bgb.data.cache import CachedRecording

BATCH_SIZE = 64
NUM_SAMPLES = WINDOW_S * SPEC.rate_hz
QUANTUM_UV = np.float32(SPEC.quantum_uv)
Window_CT = NDArray[np.int16] | NDArray[np.float32]
Get = Callable[[int, int], Window_CT]  # of recording and first second
Fill = Callable[[int, int, NDArray[np.int16]], None]  # the same, and where to put it


@dataclass(frozen=True)
class Row:
    """One way to read a batch.

    Parameters
    ----------
    read : returns (B, C, T), float32 microvolts or int16 quanta by `dtype`.
    documented : this is the use that the documentation of the library shows.
    reused : the batch lies in the memory of the batch before it.
    served : windows of the last batch, of a library that chooses them itself.
    """

    use: str
    read: Reader
    dtype: str = "float32"
    documented: bool = False
    reused: bool = False
    served: Callable[[], Sequence[Window]] | None = None


class _Items(Dataset[Window_CT]):
    def __init__(self, get: Get, windows: Sequence[Window]) -> None:
        self.get, self.windows = get, windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Window_CT:
        return self.get(*self.windows[index])


def by_item(get: Get) -> Reader:
    """Read one window after the other and collate them, as torch's DataLoader does."""

    def read(windows: Sequence[Window]) -> Tensor:
        (batch_BCT,) = DataLoader(_Items(get, windows), batch_size=len(windows))
        return batch_BCT

    return read


def item_rows(get: Get, use: str) -> list[Row]:
    """Return the rows of a store of int16: float32 as documented, and int16."""
    return [
        Row(use, by_item(lambda n, s: get(n, s) * QUANTUM_UV), documented=True),
        Row(use, by_item(get), dtype="int16"),
    ]


def into_rows(fill: Fill, use: str) -> list[Row]:
    """Return the rows of a library that reads into the memory of its caller."""
    shape = (BATCH_SIZE, SPEC.num_channels, NUM_SAMPLES)
    quanta_BCT, batch_BCT = np.empty(shape, np.int16), np.empty(shape, np.float32)

    def read(windows: Sequence[Window]) -> Tensor:
        for row, (number, start) in enumerate(windows):
            fill(number, start, quanta_BCT[row])
        return torch.from_numpy(quanta_BCT[: len(windows)])

    def read_float32(windows: Sequence[Window]) -> Tensor:
        for row, (number, start) in enumerate(windows):
            fill(number, start, quanta_BCT[0])
            np.multiply(quanta_BCT[0], QUANTUM_UV, out=batch_BCT[row])
        return torch.from_numpy(batch_BCT[: len(windows)])

    return [Row(use, read_float32, reused=True), Row(use, read, dtype="int16", reused=True)]


def samples(start: int) -> slice:
    """Return where a window of the second `start` lies in its recording."""
    return slice(SPEC.rate_hz * start, SPEC.rate_hz * start + NUM_SAMPLES)


def signal_of(recording: CachedRecording) -> NDArray[np.int16]:
    """Return the quanta (C, T) of a whole recording."""
    tiles_SCR = recording.tiles(0, recording.num_seconds)
    return tiles_SCR.transpose(1, 0, 2).reshape(tiles_SCR.shape[1], -1)


def grid(recordings: Sequence[CachedRecording]) -> list[Window]:
    """Return every window that may be asked for, for stores that hold windows."""
    return [
        (number, start)
        for number, recording in enumerate(recordings)
        for start in range(0, recording.num_seconds - WINDOW_S + 1, GRID_S)
    ]
