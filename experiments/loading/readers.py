"""Readers of a batch of windows: ours into fresh memory, torch over mapped files, and np.load.

A reader takes pairs (recording, first second) and returns float32 microvolts (B, C, T) in fresh
memory. Libraries made for this are in `peers`.
"""

# Shapes: B windows, S seconds, C channels, R samples a second, T samples

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bgb.data.buffers import TileBuffers
from bgb.data.cache import CachedRecording
from bgb.data.windows import make_batch

WINDOW_S, GRID_S = 60, 10  # windows begin at multiples of 10 s: what every peer can address
Window = tuple[int, int]  # recording, first second
Reader = Callable[[Sequence[Window]], Tensor]


def fresh(
    recordings: Sequence[CachedRecording], windows: Sequence[Window], *, dtype: torch.dtype
) -> Tensor:
    """Cut windows with our own code, but into new memory and in one thread."""
    numbers, starts = zip(*windows, strict=True)
    spec = recordings[0].spec
    return make_batch(
        [recordings[number] for number in numbers],
        starts,
        window_s=WINDOW_S,
        label_rate_hz=1.0,
        recordings=numbers,
        first_sample=0,
        buffers=TileBuffers(spec, window_s=WINDOW_S, batch_size=len(windows), dtype=dtype),
    ).tiles_BSCR


def microvolts(steps_BSCR: Tensor, quantum_uv: float) -> Tensor:
    """Return (B, C, T) in fresh memory."""
    return steps_BSCR.transpose(1, 2).flatten(2).mul(quantum_uv)


class _MappedWindows(Dataset[Tensor]):
    """What a dataset of windows looks like in a tutorial: one mapped window an item."""

    def __init__(self, recordings: Sequence[CachedRecording], windows: Sequence[Window]) -> None:
        self.recordings, self.windows = recordings, windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Tensor:
        number, start = self.windows[index]
        recording = self.recordings[number]
        rate_hz, quantum_uv = recording.spec.rate_hz, np.float32(recording.spec.quantum_uv)
        tiles_SCR = _mapped(recording.path, recording.num_seconds, recording.spec.num_channels)
        window_SCR = tiles_SCR[start : start + WINDOW_S] * quantum_uv
        return torch.from_numpy(window_SCR.transpose(1, 0, 2).reshape(-1, WINDOW_S * rate_hz))


@lru_cache(maxsize=256)
def _mapped(path: Path, num_seconds: int, num_channels: int) -> NDArray[np.int16]:
    return np.memmap(path, np.int16, "r", 4096, (num_seconds, num_channels, 256))


def data_loader(
    recordings: Sequence[CachedRecording], windows: Sequence[Window], *, workers: int
) -> Tensor:
    """Read a mapped cache with torch's DataLoader: an item a window, the default collation."""
    dataset = _MappedWindows(recordings, windows)
    (batch,) = DataLoader(dataset, batch_size=len(windows), num_workers=workers)
    return batch


def np_load(recordings: Sequence[CachedRecording], windows: Sequence[Window]) -> Tensor:
    """Read with np.load, which reads the whole recording for a window."""
    batch = []
    for number, start in windows:
        with np.load(recordings[number].path) as archive:
            window_SCR = archive["signal"][start : start + WINDOW_S] * np.float32(0.1)
        batch.append(torch.from_numpy(window_SCR.transpose(1, 0, 2).reshape(19, -1)))
    return torch.stack(batch)


def plain_readers(recordings: Sequence[CachedRecording]) -> dict[str, Reader]:
    """Return what needs no library but torch and numpy."""
    return {
        "torch DataLoader, mapped": partial(data_loader, recordings, workers=0),
        "np.load of the recording": partial(np_load, recordings),
    }
