"""Caches of the predecessor (Brain-Go-Brr v2 to v4): how to know them, and the recording in a file.

It cut each recording into windows of 60 s, one each 10 s, and kept them all: `<stem>_windows.npz`
with `windows` (n, 19, 15360) float32 and `labels` (n, 15360), or later the same two arrays as
`<stem>_data.npy` and `<stem>_labels.npy`. The windows are slices of one signal at 256 Hz, so the
signal can be put together again, but for the last seconds (fewer than 10), which it dropped. Each
channel was z-scored over the whole recording: the microvolts are lost. O1 and O2 stand elsewhere
in its order of electrodes than in ours, and an electrode that it could not interpolate is zero
(lesson 9). Files are only read, window by window.
"""

# Shapes: S seconds, C channels, R samples a second, T samples of a window, N samples of a recording

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bgb.config.data import SPLITS
from bgb.data.npz import is_window_cache
from bgb.eeg.events import Event
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import ZSCORE_SPEC, SignalSpec
from bgb.errors import CacheError

WINDOW_S, STRIDE_S = 60, 10
# Its constants.CHANNEL_NAMES_10_20, "the exact channel order".
ORDER = tuple("Fp1 F3 C3 P3 F7 T3 T5 O1 Fz Cz Pz Fp2 F4 C4 P4 F8 T4 T6 O2".split())
PREPROCESSING = (
    "predecessor: resampled to 256 Hz, causal Butterworth band-pass 0.5 to 120 Hz, notch 60 Hz, "
    "z-scored per channel over the whole recording, in some versions clipped to +-10"
)
_SUFFIXES = ("_windows.npz", "_data.npy")
_LARGEST = 32767
_FAULTS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class LegacyRecording:
    """One recording, put together again.

    Attributes
    ----------
    tiles_SCR : z-scores in steps of `spec.quantum_uv`.
    missing : electrodes that are zero throughout.
    events : seizures, to the sample; their types are lost.
    clipped_C : samples of each channel that saturated.
    """

    tiles_SCR: NDArray[np.int16]
    spec: SignalSpec
    missing: tuple[str, ...]
    events: tuple[Event, ...]
    clipped_C: NDArray[np.int64]


def recording_name(path: Path) -> str | None:
    """Return the recording whose windows a file holds by its name; None for any other file."""
    for suffix in _SUFFIXES:
        if path.name.endswith(suffix) and not path.name.startswith("."):
            return path.name.removesuffix(suffix)
    return None


def legacy_files(root: Path, split: str) -> list[Path]:
    """Return the files of one split that hold windows by their names."""
    return sorted(path for path in (root / split).glob("*.np[yz]") if recording_name(path))


def holds_legacy(folder: Path) -> bool:
    """Tell whether a folder is a cache of the predecessor, with its splits below it."""
    return any(legacy_files(folder, split) for split in SPLITS)


def labels_file(path: Path) -> Path | None:
    """Return the file that holds the labels; None where it is the same."""
    if path.suffix == ".npz":
        return None
    return path.with_name(path.name.removesuffix(_SUFFIXES[1]) + "_labels.npy")


def count_windows(path: Path) -> int:
    """Return how many windows a file holds; reads its header only."""
    with _open_arrays(path) as (windows, _):
        return windows.shape[0]


def read_legacy(path: Path) -> LegacyRecording:
    """Put a recording together from its windows.

    Raises
    ------
    CacheError : the file is damaged, has other shapes or no labels, or its windows disagree where
        they overlap.
    """
    spec = ZSCORE_SPEC
    with _open_arrays(path) as (windows, labels):
        if windows.shape[0] == 0:
            raise CacheError(f"{path} holds no window: the recording is shorter than {WINDOW_S} s")
        num_seconds = WINDOW_S + STRIDE_S * (windows.shape[0] - 1)
        tiles_SCR = np.empty((num_seconds, spec.num_channels, spec.rate_hz), np.int16)
        used_C = np.zeros(spec.num_channels, bool)
        clipped_C = np.zeros(spec.num_channels, np.int64)
        second = 0
        for new_CN in _new_samples(path, windows, "windows"):
            stop = second + new_CN.shape[1] // spec.rate_hz
            tiles_SCR[second:stop], clipped = _quantise(path, new_CN)
            clipped_C += clipped
            used_C |= new_CN[_PLACES].any(axis=1)
            second = stop
        label_N = np.concatenate(
            [_flags(path, new) for new in _new_samples(path, labels, "labels")]
        )
    return LegacyRecording(
        tiles_SCR=tiles_SCR,
        spec=spec,
        missing=tuple(name for name, used in zip(spec.channels, used_C) if not used),
        events=_events(label_N, spec.rate_hz),
        clipped_C=clipped_C,
    )


_PLACES = [ORDER.index(name) for name in ELECTRODES]
_SAMPLES = WINDOW_S * ZSCORE_SPEC.rate_hz
_STRIDE = STRIDE_S * ZSCORE_SPEC.rate_hz


@dataclass(frozen=True, eq=False)
class _ArrayStream:
    """An array that is read row by row from an open file."""

    file: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # Any: float32 windows, labels of any number type

    def rows(self) -> Iterator[NDArray[Any]]:  # Any: as above
        size = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        for row in range(self.shape[0]):
            data = self.file.read(size)
            if len(data) != size:
                raise ValueError(f"row {row} of {self.shape[0]} ends too early")
            yield np.frombuffer(data, self.dtype).reshape(self.shape[1:])
        if self.file.read(1):  # at the end of a deflated member its CRC is compared
            raise ValueError(f"there is more after row {self.shape[0]}")


@contextmanager
def _open_arrays(path: Path) -> Iterator[tuple[_ArrayStream, _ArrayStream]]:
    """Open windows and labels; every fault of the file becomes a `CacheError` that names it."""
    try:
        if (twin := labels_file(path)) is not None:
            with path.open("rb") as windows, twin.open("rb") as labels:
                yield _checked(_stream(windows), _stream(labels))
            return
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if not is_window_cache(names):  # without labels, too: lesson 8
                raise ValueError(f"it holds {names}, not windows and labels; see data.exclude")
            with archive.open("windows.npy") as windows, archive.open("labels.npy") as labels:
                yield _checked(_stream(windows), _stream(labels))
    except _FAULTS as error:
        raise CacheError(f"{path} cannot be imported: {error}") from error


def _stream(file: IO[bytes]) -> _ArrayStream:
    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran_order, dtype = read(file)
    if fortran_order or not shape:
        raise ValueError(f"an array of shape {shape} in column order is none of the predecessor's")
    return _ArrayStream(file, shape, dtype)


def _checked(windows: _ArrayStream, labels: _ArrayStream) -> tuple[_ArrayStream, _ArrayStream]:
    if windows.shape[1:] != (len(ORDER), _SAMPLES) or windows.dtype != np.float32:
        raise ValueError(
            f"windows are {windows.dtype} {windows.shape}, not float32 (n, {len(ORDER)}, "
            f"{_SAMPLES})"
        )
    if labels.shape != (windows.shape[0], _SAMPLES) or labels.dtype.kind not in "fiub":
        raise ValueError(
            f"labels are {labels.dtype} {labels.shape}, not numbers {(windows.shape[0], _SAMPLES)}"
        )
    return windows, labels


def _new_samples(path: Path, stream: _ArrayStream, name: str) -> Iterator[NDArray[Any]]:  # Any: row
    """Yield what each row adds to the one before, once they agree where they overlap."""
    before: NDArray[Any] | None = None  # Any: as above
    for number, row in enumerate(stream.rows()):
        if before is None:
            yield row
        else:
            here, there = row[..., :-_STRIDE], before[..., _STRIDE:]
            if not np.array_equal(here, there):
                apart = np.abs(here.astype(np.float64) - there.astype(np.float64)).max()
                raise CacheError(
                    f"{path}: {name} {number - 1} and {number} differ by up to {apart:g} where "
                    "they overlap: they were not cut of one signal, or the file is damaged; leave "
                    "the recording out with data.exclude"
                )
            yield row[..., -_STRIDE:]
        before = row


def _quantise(
    path: Path, new_CN: NDArray[np.float32]
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return tiles in our order of electrodes, and how many samples of each saturated."""
    spec = ZSCORE_SPEC
    if not np.isfinite(new_CN).all():
        raise CacheError(f"{path}: a window holds NaN or infinity; leave it out with data.exclude")
    steps_CN = np.rint(new_CN[_PLACES] * np.float32(1 / spec.quantum_uv))
    clipped_C = (np.abs(steps_CN) > _LARGEST).sum(axis=1)
    steps_CN = np.clip(steps_CN, -_LARGEST, _LARGEST, out=steps_CN).astype(np.int16)
    tiles_SCR = steps_CN.reshape(spec.num_channels, -1, spec.rate_hz).transpose(1, 0, 2)
    return tiles_SCR, clipped_C


def _flags(path: Path, label_N: NDArray[Any]) -> NDArray[np.int8]:  # Any: numbers
    if not np.isin(label_N, (0, 1)).all():
        raise CacheError(f"{path}: labels other than 0 and 1; leave it out with data.exclude")
    return label_N.astype(np.int8)


def _events(label_N: NDArray[np.int8], rate_hz: int) -> tuple[Event, ...]:
    """Return the runs of 1 as events."""
    edges = np.flatnonzero(np.diff(label_N, prepend=0, append=0)) / rate_hz
    return tuple(Event(float(start), float(stop)) for start, stop in edges.reshape(-1, 2))
