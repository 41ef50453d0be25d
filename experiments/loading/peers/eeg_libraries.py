"""Peers made for EEG: braindecode and MNE, which read FIF files of float32.

Microvolts are stored where MNE expects volts, so that nobody has to scale them: in their favour.
"""

# Shapes: C channels, T samples

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from corpus import SPEC
from numpy.typing import NDArray
from readers import GRID_S, WINDOW_S

from bgb.data.cache import CachedRecording
from peers.rows import NUM_SAMPLES, QUANTUM_UV, Get, Row, by_item, samples, signal_of


def mne_rows(recordings: Sequence[CachedRecording], folder: Path) -> list[Row]:
    """Read pieces of a Raw that stays on disk, and epochs of it by their number."""
    import mne

    raws = _raws(recordings, folder)
    epochs = [
        mne.make_fixed_length_epochs(
            raw, WINDOW_S, overlap=WINDOW_S - GRID_S, preload=False, verbose="error"
        )
        for raw in raws
    ]

    def piece(number: int, start: int) -> NDArray[np.float32]:
        where = samples(start)
        window_CT = raws[number].get_data(start=where.start, stop=where.stop, verbose="error")
        return window_CT.astype(np.float32)

    def epoch(number: int, start: int) -> NDArray[np.float32]:
        (window_CT,) = epochs[number][start // GRID_S].get_data(verbose="error")
        return window_CT.astype(np.float32)

    return [
        Row("Raw.get_data, DataLoader", by_item(piece), documented=True),
        Row("Epochs, DataLoader", by_item(epoch), documented=True),
    ]


def braindecode_rows(recordings: Sequence[CachedRecording], folder: Path) -> list[Row]:
    """Read windows of fixed length of recordings in memory and on disk."""
    raws = _raws(recordings, folder)
    in_memory = [raw.copy().load_data(verbose="error") for raw in raws]
    return [
        Row("in memory, DataLoader", by_item(_windows(in_memory)), documented=True),
        Row("on disk, DataLoader", by_item(_windows(raws)), documented=True),
    ]


def _windows(raws: Sequence[Any]) -> Get:  # Any: mne has no types here
    from braindecode.datasets import BaseConcatDataset, RawDataset
    from braindecode.preprocessing import create_fixed_length_windows

    windows = create_fixed_length_windows(
        BaseConcatDataset([RawDataset(raw) for raw in raws]),
        window_size_samples=NUM_SAMPLES,
        window_stride_samples=GRID_S * SPEC.rate_hz,
        drop_last_window=True,
    )
    first = [0, *windows.cumulative_sizes]
    return lambda n, s: windows[first[n] + s // GRID_S][0]


def _raws(recordings: Sequence[CachedRecording], folder: Path) -> list[Any]:  # Any: as above
    import mne

    info = mne.create_info(list(SPEC.channels), SPEC.rate_hz, "eeg", verbose="error")
    raws = []
    for recording in recordings:
        path = folder / f"{recording.recording_id}_raw.fif"
        raw = mne.io.RawArray(signal_of(recording) * QUANTUM_UV, info, verbose="error")
        raw.save(path, fmt="single", verbose="error")
        raws.append(mne.io.read_raw_fif(path, preload=False, verbose="error"))
    return raws
