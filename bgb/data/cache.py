"""Read a cache: `open_cache` -> `Cache` -> `CachedRecording`; signals in microvolts or as tiles.

Reading never builds (lesson 22): what is missing, foreign or damaged is an error that names the
command which mends it. Recordings are picklable and hold no open file.
"""

# Shapes: S seconds, C channels, R samples a second, T samples

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgb.config.data import SPLITS
from bgb.data.manifest import MANIFEST, Entry, load_manifest, refresh_manifest, write_manifest
from bgb.data.npz import SignalHandle, open_signal, read_meta
from bgb.eeg.events import Event
from bgb.eeg.signal import SignalSpec
from bgb.errors import CacheError

BUILD_COMMAND = "`python -m bgb.cache action=build data=...`"


@dataclass(frozen=True)
class CachedRecording:
    """One recording of a cache; reads from its file on demand."""

    path: Path
    entry: Entry

    @property
    def recording_id(self) -> str:
        return self.entry.recording_id

    @property
    def patient(self) -> str:
        return self.entry.patient

    @property
    def split(self) -> str:
        return self.entry.split

    @property
    def duration_s(self) -> float:
        return self.entry.duration_s

    @property
    def num_seconds(self) -> int:
        return self.entry.num_seconds

    @property
    def events(self) -> tuple[Event, ...]:
        return self.entry.events

    @property
    def spec(self) -> SignalSpec:
        return self.entry.spec

    @property
    def signal_bytes(self) -> int:
        """Return the size of the tiles in memory."""
        return 2 * self.num_seconds * self.spec.num_channels * self.spec.rate_hz

    @cached_property
    def present_C(self) -> NDArray[np.bool_]:
        present_C = np.array([name not in self.entry.missing for name in self.spec.channels])
        present_C.flags.writeable = False  # every window is described by this one array
        return present_C

    @cached_property
    def meta(self) -> dict[str, Any]:  # Any: JSON
        """Return everything the file says of itself (DESIGN 4)."""
        return read_meta(self.path)

    def tiles(self, start_second: int, stop_second: int) -> NDArray[np.int16]:
        """Return the int16 tiles (S, C, R) of [start_second, stop_second), freshly read."""
        spec = self.spec
        tiles_SCR = np.empty(
            (max(0, stop_second - start_second), spec.num_channels, spec.rate_hz), np.int16
        )
        self.read_into(tiles_SCR, start_second)
        return tiles_SCR

    def read_into(
        self, tiles_SCR: NDArray[np.int16], start_second: int, *, wait: bool = True
    ) -> bool:
        """Fill contiguous tiles with those from `start_second` on: one read.

        Without `wait` only what the system holds in memory: False where there is more to read.
        """
        handle = self._open(start_second, start_second + len(tiles_SCR))
        if not wait:
            return handle.read_cached(tiles_SCR, start_second)
        handle.read_into(tiles_SCR, start_second)
        return True

    def announce(self, start_second: int, stop_second: int) -> None:
        """Let the system fetch the tiles of [start_second, stop_second) while others are read."""
        self._open(start_second, stop_second).announce(start_second, stop_second)

    def _open(self, start_second: int, stop_second: int) -> SignalHandle:
        if not 0 <= start_second < stop_second <= self.num_seconds:
            raise CacheError(
                f"{self.recording_id}: seconds [{start_second}, {stop_second}) are not in "
                f"[0, {self.num_seconds})"
            )
        return open_signal(self.path, self.entry.stamp)

    def signal_CT(self, start_s: float = 0.0, stop_s: float | None = None) -> NDArray[np.float32]:
        """Return microvolts of [start_s, stop_s), to the sample; without arguments all of it."""
        stop_s = self.duration_s if stop_s is None else stop_s
        if not 0 <= start_s < stop_s <= self.duration_s:
            raise CacheError(
                f"{self.recording_id}: [{start_s}, {stop_s}) s is not in [0, {self.duration_s}) s"
            )
        rate_hz = self.spec.rate_hz
        first, last = round(start_s * rate_hz), round(stop_s * rate_hz)
        start_second, stop_second = first // rate_hz, -(-last // rate_hz)
        tiles_SCR = self.tiles(start_second, max(stop_second, start_second + 1))
        steps_CT = tiles_SCR.transpose(1, 0, 2).reshape(self.spec.num_channels, -1)
        offset = start_second * rate_hz
        return steps_CT[:, first - offset : last - offset] * np.float32(self.spec.quantum_uv)


@dataclass(frozen=True)
class Cache:
    """The recordings of a cache, sorted by split and name, of one `SignalSpec`."""

    folder: Path
    recordings: tuple[CachedRecording, ...]

    def __len__(self) -> int:
        return len(self.recordings)

    def __iter__(self) -> Iterator[CachedRecording]:
        return iter(self.recordings)

    def __getitem__(self, recording_id: str) -> CachedRecording:
        if recording_id in self._by_id:
            return self._by_id[recording_id]
        some = ", ".join(list(self._by_id)[:20]) + (", ..." if len(self) > 20 else "")
        raise CacheError(f"no recording {recording_id!r} in {self.folder}; possible are {some}")

    def split(self, name: str) -> tuple[CachedRecording, ...]:
        """Return the recordings of train, dev or eval."""
        return tuple(recording for recording in self.recordings if recording.split == name)

    @property
    def spec(self) -> SignalSpec:
        return self.recordings[0].spec

    @cached_property
    def _by_id(self) -> dict[str, CachedRecording]:
        return {recording.recording_id: recording for recording in self.recordings}


def open_cache(
    folder: str | Path,
    *,
    recordings: Iterable[tuple[str, str]] | None = None,
    force_manifest: bool = False,
) -> Cache:
    """Open a cache for reading.

    Parameters
    ----------
    folder : <cache_root>/<corpus>/<key>.
    recordings : (split, recording id) of those wanted; None for all in the folder.
    force_manifest : read the `meta` of every file and write manifest.json anew.

    Raises
    ------
    CacheError : folder, manifest or a wanted recording is missing, or they mix channel sets.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CacheError(f"no cache at {folder}; build it: {BUILD_COMMAND}")
    known = None if force_manifest else load_manifest(folder)
    if known is None and not force_manifest:
        raise CacheError(f"no valid {MANIFEST} in {folder}; (re)build it: {BUILD_COMMAND}")
    manifest = refresh_manifest(folder, force=force_manifest, known=known)
    if force_manifest:
        write_manifest(folder, manifest)
    paths = list(manifest) if recordings is None else _wanted(recordings)
    lacking = [path for path in paths if path not in manifest]
    if lacking or not paths:
        raise CacheError(
            f"{folder} is incomplete: {len(lacking)} of {len(paths)} recordings are missing "
            f"({', '.join(lacking[:5])}); build them: {BUILD_COMMAND}"
        )
    cache = Cache(folder, tuple(CachedRecording(folder / path, manifest[path]) for path in paths))
    _check_one_signal(cache)
    _check_one_split(cache)
    return cache


def _wanted(recordings: Iterable[tuple[str, str]]) -> list[str]:
    order = sorted(recordings, key=lambda wanted: (SPLITS.index(wanted[0]), wanted[1]))
    return [f"{split}/{recording_id}.npz" for split, recording_id in order]


def _check_one_signal(cache: Cache) -> None:
    """A batch has one shape: electrodes and bipolar derivations do not mix in one run."""
    for recording in cache:
        if recording.spec != cache.spec:
            raise CacheError(
                f"{cache.folder} mixes signals: {cache.recordings[0].recording_id} is "
                f"{cache.spec.channel_set} in {cache.spec.unit} at {cache.spec.rate_hz} Hz, "
                f"{recording.recording_id} is {recording.spec.channel_set} in "
                f"{recording.spec.unit} at {recording.spec.rate_hz} Hz; "
                "list one kind in data.exclude"
            )


def _check_one_split(cache: Cache) -> None:
    """A changed set of files can move a patient to another split within one key (lesson 10)."""
    seen: dict[str, str] = {}
    for recording in cache:
        other = seen.setdefault(recording.recording_id, recording.split)
        if other != recording.split:
            raise CacheError(
                f"{recording.recording_id} is cached in {other} and in {recording.split} of "
                f"{cache.folder}: the draw of splits changed; say which recordings you mean "
                "(open_cache(..., recordings=...)) or move the outdated file away"
            )
