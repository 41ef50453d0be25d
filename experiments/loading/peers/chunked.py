"""Peers that store recordings as chunked arrays or rows of 10 s: h5py, zarr, tensorstore, lance."""

# Shapes: B windows, S seconds, C channels, R samples a second, T samples

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from corpus import SPEC
from numpy.typing import NDArray
from readers import GRID_S, WINDOW_S, Window
from torch import Tensor

from bgb.data.cache import CachedRecording
from peers.rows import QUANTUM_UV, Row, into_rows, item_rows, samples, signal_of

CHUNK = (SPEC.num_channels, GRID_S * SPEC.rate_hz)  # the windows begin and end on chunks


def h5py_rows(recordings: Sequence[CachedRecording], folder: Path) -> list[Row]:
    """Read slices of a dataset of HDF5, one file a recording."""
    import h5py

    signals = []
    for recording in recordings:
        path = folder / f"{recording.recording_id}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("signal", data=signal_of(recording), chunks=CHUNK)
        signals.append(h5py.File(path, "r")["signal"])

    def fill(number: int, start: int, window_CT: NDArray[np.int16]) -> None:
        signals[number].read_direct(window_CT, np.s_[:, samples(start)])

    return [
        *item_rows(lambda n, s: signals[n][:, samples(s)], "DataLoader"),
        *into_rows(fill, "read_direct"),
    ]


def zarr_rows(recordings: Sequence[CachedRecording], folder: Path) -> list[Row]:
    """Read slices of an uncompressed zarr array (format 3), one store a recording."""
    import zarr

    arrays = []
    for recording in recordings:
        array = zarr.create_array(
            str(folder / f"{recording.recording_id}.zarr"),
            data=signal_of(recording),
            chunks=CHUNK,
            compressors=None,
        )
        arrays.append(array)
    return item_rows(lambda n, s: arrays[n][:, samples(s)], "DataLoader")


def tensorstore_rows(recordings: Sequence[CachedRecording], folder: Path) -> list[Row]:
    """Read slices of zarr arrays, one after the other and a whole batch at once."""
    import tensorstore as ts

    stores = []
    for recording in recordings:
        signal_CT = signal_of(recording)
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(folder / recording.recording_id)},
        }
        store = ts.open(
            spec,
            create=True,
            dtype=ts.int16,
            shape=signal_CT.shape,
            chunk_layout=ts.ChunkLayout(chunk_shape=CHUNK),
        ).result()
        store[...] = signal_CT
        stores.append(store)

    def stack(windows: Sequence[Window]) -> NDArray[np.int16]:
        with ts.Batch() as batch:
            reading = [stores[n][:, samples(s)].read(batch=batch) for n, s in windows]
        return np.stack([future.result() for future in reading])

    def fill(number: int, start: int, window_CT: NDArray[np.int16]) -> None:
        source = stores[number][:, samples(start)][ts.d[:].translate_to[0]]
        ts.array(window_CT, copy=False, write=True).write(source).result()

    return [
        *item_rows(lambda n, s: stores[n][:, samples(s)].read().result(), "DataLoader"),
        Row("Batch", lambda windows: torch.from_numpy(stack(windows) * QUANTUM_UV)),
        Row("Batch", lambda windows: torch.from_numpy(stack(windows)), dtype="int16"),
        *into_rows(fill, "write"),
    ]


def lance_rows(recordings: Sequence[CachedRecording], folder: Path) -> list[Row]:
    """Take rows of 10 s, all of a batch at once: the random access that Lance documents."""
    import lance
    import pyarrow

    first, pieces = [], []
    for recording in recordings:
        first.append(len(pieces))
        tiles_SCR = recording.tiles(0, recording.num_seconds)
        for start in range(0, len(tiles_SCR) // GRID_S * GRID_S, GRID_S):
            pieces.append(tiles_SCR[start : start + GRID_S].transpose(1, 0, 2).reshape(-1))
    values = pyarrow.FixedSizeListArray.from_arrays(np.concatenate(pieces), len(pieces[0]))
    dataset = lance.write_dataset(pyarrow.table({"signal": values}), str(folder / "signal.lance"))
    steps = WINDOW_S // GRID_S

    def take(windows: Sequence[Window]) -> NDArray[np.int16]:
        wanted = [first[n] + s // GRID_S + step for n, s in windows for step in range(steps)]
        column = dataset.take(wanted, columns=["signal"])["signal"].combine_chunks()
        quanta = column.values.to_numpy().reshape(len(windows), steps, *CHUNK)
        return quanta.transpose(0, 2, 1, 3)

    def read(windows: Sequence[Window]) -> Tensor:
        scaled = np.multiply(take(windows), QUANTUM_UV, order="C")
        return torch.from_numpy(scaled.reshape(len(windows), SPEC.num_channels, -1))

    def read_int16(windows: Sequence[Window]) -> Tensor:
        quanta_BCT = take(windows).reshape(len(windows), SPEC.num_channels, -1)
        return torch.from_numpy(quanta_BCT)

    return [Row("take", read, documented=True), Row("take", read_int16, dtype="int16")]
