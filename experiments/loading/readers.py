"""Readers of a batch of windows: peers and plain numpy, for the same recordings and windows.

A reader takes pairs (recording, first second) and returns float32 microvolts (B, C, T) in fresh
memory, as its documentation has it. `peers` leaves out, by name, what is not installed.
"""

# Shapes: B windows, S seconds, C channels, R samples a second, T samples

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from importlib import import_module
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


def peers(
    recordings: Sequence[CachedRecording], folder: Path
) -> tuple[dict[str, Reader], dict[str, str]]:
    """Write the recordings in the format of each peer; return readers, and what was skipped."""
    readers: dict[str, Reader] = {
        "torch DataLoader, mapped": partial(data_loader, recordings, workers=0),
        "np.load of the recording": partial(np_load, recordings),
    }
    skipped = {}
    for name, module, make in (
        ("h5py", "h5py", _h5py),
        ("zarr", "zarr", _zarr),
        ("lance", "lance", _lance),
        ("webdataset", "webdataset", None),
        ("tensorstore", "tensorstore", None),
        ("braindecode", "braindecode", None),
        ("mosaicml-streaming", "streaming", None),
        ("torcheeg", "torcheeg", None),
    ):
        try:
            import_module(module)
        except ImportError:
            skipped[name] = "not installed"
            continue
        if make is None:
            skipped[name] = "no reader here; see the trial in README.md"
            continue
        readers[name] = make(recordings, folder)
    return readers, skipped


def _channels(recording: CachedRecording) -> NDArray[np.int16]:
    tiles_SCR = recording.tiles(0, recording.num_seconds)
    return tiles_SCR.transpose(1, 0, 2).reshape(tiles_SCR.shape[1], -1)


def _stack(windows: Sequence[NDArray[np.int16]]) -> Tensor:
    return torch.stack([torch.from_numpy(window_CT * np.float32(0.1)) for window_CT in windows])


def _h5py(recordings: Sequence[CachedRecording], folder: Path) -> Reader:
    import h5py

    files = []
    for recording in recordings:
        path = folder / f"{recording.recording_id}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("signal", data=_channels(recording), chunks=(19, 2560))
        files.append(h5py.File(path, "r")["signal"])

    def read(windows: Sequence[Window]) -> Tensor:
        return _stack([files[n][:, 256 * s : 256 * (s + WINDOW_S)] for n, s in windows])

    return read


def _zarr(recordings: Sequence[CachedRecording], folder: Path) -> Reader:
    import zarr

    arrays = []
    for recording in recordings:
        path = str(folder / f"{recording.recording_id}.zarr")
        signal_CT = _channels(recording)
        array = zarr.create_array(
            path, shape=signal_CT.shape, chunks=(19, 2560), dtype="int16", compressors=None
        )
        array[:] = signal_CT
        arrays.append(array)

    def read(windows: Sequence[Window]) -> Tensor:
        return _stack([arrays[n][:, 256 * s : 256 * (s + WINDOW_S)] for n, s in windows])

    return read


def _lance(recordings: Sequence[CachedRecording], folder: Path) -> Reader:
    import lance
    import pyarrow

    rows, first = [], {}
    for number, recording in enumerate(recordings):
        first[number] = len(rows)
        tiles_SCR = recording.tiles(0, recording.num_seconds)
        pieces = range(0, len(tiles_SCR) // GRID_S * GRID_S, GRID_S)
        rows += [tiles_SCR[s : s + GRID_S].transpose(1, 0, 2).reshape(-1) for s in pieces]
    values = pyarrow.FixedSizeListArray.from_arrays(np.concatenate(rows), len(rows[0]))
    dataset = lance.write_dataset(
        pyarrow.table({"signal": values}), str(folder / "windows.lance"), mode="overwrite"
    )

    def read(windows: Sequence[Window]) -> Tensor:
        steps = WINDOW_S // GRID_S
        wanted = [first[n] + s // GRID_S + step for n, s in windows for step in range(steps)]
        column = dataset.take(wanted, columns=["signal"])["signal"].combine_chunks()
        flat = column.values.to_numpy().reshape(len(windows), steps, 19, 2560)
        return torch.from_numpy(
            flat.transpose(0, 2, 1, 3).reshape(len(windows), 19, -1) * np.float32(0.1)
        )

    return read
