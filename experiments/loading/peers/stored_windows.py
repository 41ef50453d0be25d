"""Peers that store samples, here every window of the grid: webdataset, MDS and torcheeg (LMDB).

Windows of 60 s every 10 s hold each second six times. They are stored as int16, half the bytes of
the float32 that users of these libraries commonly store.
"""

# Shapes: B windows, C channels, T samples

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from corpus import SPEC
from numpy.typing import NDArray
from readers import Window
from torch import Tensor

from bgb.data.cache import CachedRecording
from peers.rows import (
    BATCH_SIZE,
    NUM_SAMPLES,
    QUANTUM_UV,
    Row,
    grid,
    item_rows,
    samples,
    signal_of,
)

SHARDS = 4


def webdataset_rows(recordings: Sequence[CachedRecording], folder: Path) -> list[Row]:
    """Stream tar files: windows come in the order of the files, shuffled in a buffer."""
    import webdataset

    windows = grid(recordings)
    np.random.default_rng(0).shuffle(windows)
    signals = [signal_of(recording) for recording in recordings]
    paths = [str(folder / f"{shard:02d}.tar") for shard in range(SHARDS)]
    for shard, path in enumerate(paths):
        with webdataset.TarWriter(path) as tar:
            for number, start in windows[shard::SHARDS]:
                window_CT = np.ascontiguousarray(signals[number][:, samples(start)])
                tar.write({"__key__": f"{number}_{start}", "npy": window_CT})
    return [_stream(paths, "float32"), _stream(paths, "int16")]


def _stream(paths: Sequence[str], dtype: str) -> Row:
    import webdataset

    def convert(sample: tuple[str, NDArray[np.int16]]) -> tuple[str, NDArray[np.generic]]:
        key, window_CT = sample
        return key, window_CT * QUANTUM_UV if dtype == "float32" else window_CT

    dataset = webdataset.WebDataset(list(paths), shardshuffle=SHARDS, empty_check=False)
    stream = dataset.repeat().shuffle(BATCH_SIZE).decode().to_tuple("__key__", "npy")
    batched = stream.map(convert).batched(BATCH_SIZE, partial=False)
    batches: Iterator[tuple[list[str], Tensor]] = iter(
        webdataset.WebLoader(batched, batch_size=None, num_workers=0)
    )
    keys: list[str] = []

    def read(_: Sequence[Window]) -> Tensor:
        keys[:], batch_BCT = next(batches)
        return torch.as_tensor(batch_BCT)

    def served() -> list[Window]:
        return [(int(number), int(start)) for number, start in (key.split("_") for key in keys)]

    documented = dtype == "float32"
    return Row("tar in sequence", read, dtype=dtype, documented=documented, served=served)


def mds_rows(recordings: Sequence[CachedRecording], folder: Path) -> list[Row]:
    """Read samples of Mosaic data shards by their index."""
    from streaming import MDSWriter, StreamingDataset

    index = _numbers(recordings)
    columns = {"signal": f"ndarray:int16:{SPEC.num_channels},{NUM_SAMPLES}"}
    signals = [signal_of(recording) for recording in recordings]
    with MDSWriter(out=str(folder), columns=columns) as writer:
        for number, start in index:
            writer.write({"signal": np.ascontiguousarray(signals[number][:, samples(start)])})
    dataset = StreamingDataset(local=str(folder), batch_size=BATCH_SIZE, shuffle=False)
    return item_rows(lambda n, s: dataset[index[n, s]]["signal"], "DataLoader")


def torcheeg_rows(recordings: Sequence[CachedRecording], folder: Path) -> list[Row]:
    """Read pickled windows out of LMDB, one database a recording."""
    from torcheeg.io import EEGSignalIO

    stores = []
    for recording in recordings:
        signal_CT = signal_of(recording)
        store = EEGSignalIO(str(folder / recording.recording_id), io_size=1 << 30)
        for _, start in grid([recording]):
            store.write_eeg(np.ascontiguousarray(signal_CT[:, samples(start)]), str(start))
        stores.append(store)
    return item_rows(lambda n, s: stores[n].read_eeg(str(s)), "LMDB, DataLoader")


def _numbers(recordings: Sequence[CachedRecording]) -> dict[Window, int]:
    return {window: number for number, window in enumerate(grid(recordings))}
