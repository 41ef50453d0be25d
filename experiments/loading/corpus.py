"""Simulated caches for the benchmark of loading: real cache files, no EDF behind them."""

# Shapes: S seconds, C channels, R samples a second

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bgb.data.cache import CachedRecording
from bgb.data.manifest import Entry, write_manifest
from bgb.data.npz import meta_member, write_npz
from bgb.data.source import Source
from bgb.eeg.events import Event
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import SignalSpec

SPEC = SignalSpec("electrodes", tuple(ELECTRODES), 256)
NOWHERE = Source(path="none.edf", size=0, stamp="", sha256="")


def write_recordings(folder: Path, count: int, num_seconds: int) -> list[CachedRecording]:
    """Write recordings of noise with one seizure each; those that are there already are kept."""
    (folder / "train").mkdir(parents=True, exist_ok=True)
    recordings = []
    for number in range(count):
        path = folder / "train" / f"r{number:05d}.npz"
        if not path.exists():
            signal_SCR = noise(number, num_seconds)
            meta = meta_member({"signal_crc32": zlib.crc32(signal_SCR.data)})
            write_npz(path, {"signal": signal_SCR, "meta": meta})
        recordings.append(CachedRecording(path, entry(path, number, num_seconds)))
    return recordings


def write_sparse(folder: Path, count: int, mean_seconds: int) -> None:
    """Write a manifest and files with the right header and size, but holes instead of signals."""
    (folder / "train").mkdir(parents=True, exist_ok=True)
    generator, entries = np.random.default_rng(0), {}
    for number in range(count):
        num_seconds = int(generator.integers(mean_seconds // 4, 2 * mean_seconds))
        path = folder / "train" / f"r{number:05d}.npz"
        shape = (num_seconds, SPEC.num_channels, SPEC.rate_hz)
        write_npz(path, {"signal": np.empty((0, *shape[1:]), np.int16)})
        with path.open("r+b") as file:
            head = file.read().replace(b"(0, 19, 256), }", f"({num_seconds}, 19, 256), }}".encode())
            file.seek(0)
            file.write(head[: head.index(b"}") + 1].ljust(4095) + b"\n")
            file.truncate(4096 + 2 * num_seconds * SPEC.num_channels * SPEC.rate_hz)
        seizures = number % 7 == 0  # as in TUSZ, most recordings have none
        entries[f"train/{path.name}"] = entry(path, number, num_seconds, seizures=seizures)
    write_manifest(folder, entries)


def entry(path: Path, number: int, num_seconds: int, *, seizures: bool = True) -> Entry:
    """Describe a file as the manifest does."""
    status = path.stat()
    first = num_seconds // 3
    return Entry(
        recording_id=path.stem,
        patient=f"p{number // 8}",
        split="train",
        num_bytes=status.st_size,
        stamp=status.st_mtime_ns,
        num_seconds=num_seconds,
        duration_s=float(num_seconds),
        spec=SPEC,
        missing=(),
        events=(Event(first, first + 40.0),) if seizures else (),
        edf=NOWHERE,
        labels=None,
        clipped_samples=0,
    )


def noise(seed: int, num_seconds: int) -> NDArray[np.int16]:
    """Return int16 tiles (S, C, R) of 25 uV rms."""
    generator = np.random.default_rng(seed)
    shape = (num_seconds, SPEC.num_channels, SPEC.rate_hz)
    return (250 * generator.standard_normal(shape, np.float32)).astype(np.int16)
