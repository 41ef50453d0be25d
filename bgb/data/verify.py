"""Look after caches: read every byte again, list what lies under a root, show one recording.

Functions return data; `*_table` draws it. Nothing here deletes or repairs: it names the command.
"""

import zipfile
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.table import Table

from bgb.config.data import SPLITS
from bgb.data.cache import CachedRecording
from bgb.data.legacy import holds_legacy, legacy_files
from bgb.data.manifest import MANIFEST, load_manifest, refresh_manifest, scan_folder
from bgb.data.materialise import events_member
from bgb.data.npz import ALIGNMENT, SignalHandle, open_signal, read_meta_and_events
from bgb.data.progress import ByteProgress
from bgb.eeg.events import Event
from bgb.errors import CacheError

_READERS = 8  # files at once: a disk wants several requests, and a checksum lets others run
_PIECE_BYTES = 2 << 20


@dataclass(frozen=True)
class VerifiedFile:
    """One cached file and what is wrong with it; None where it is sound."""

    path: str
    num_bytes: int
    problem: str | None


@dataclass(frozen=True)
class CacheListing:
    """One cache below a root: what its manifest says, and whether that still agrees."""

    corpus: str
    key: str
    folder: Path
    num_recordings: dict[str, int]
    num_bytes: int
    num_unfinished: int
    manifest: str


def verify_cache(folder: str | Path, *, progress: bool = False) -> tuple[VerifiedFile, ...]:
    """Read every file of a cache and compare meta, shapes, events and the CRC of the signal.

    Several files at once and a piece at a time: as fast as the disk reads, in little memory.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CacheError(
            f"no cache at {folder}; build it: `python -m bgb.cache action=build data=...`"
        )
    files = {path: status.st_size for path, status in scan_folder(folder).items()}
    verified = []
    with (
        ByteProgress("verify", sum(files.values()), len(files), bar=progress) as bar,
        ThreadPoolExecutor(_READERS) as pool,
    ):
        for path, problem in zip(files, pool.map(partial(_problem, folder), files)):
            verified.append(VerifiedFile(path, files[path], problem))
            bar.advance(files[path], path)
    return tuple(verified)


def verify_table(files: Iterable[VerifiedFile]) -> Table:
    """Return the damaged files and how to mend them, or one line that all is well."""
    files = list(files)
    damaged = [file for file in files if file.problem]
    total = sum(file.num_bytes for file in files) / 1e9
    table = Table(title=f"{len(files)} files, {total:.2f} GB: {len(damaged)} damaged")
    table.add_column("file")
    table.add_column("problem")
    for file in damaged:
        table.add_row(file.path, file.problem)
    if damaged:
        table.caption = "remove these files, then `python -m bgb.cache action=build data=...`"
    return table


def list_caches(cache_root: str | Path) -> tuple[CacheListing, ...]:
    """Return every cache below a root, by corpus and key, and those of the predecessor."""
    root = Path(cache_root).expanduser()
    legacy = [path for path in (*root.glob("*"), *root.glob("*/*")) if holds_legacy(path)]
    ours = [
        path
        for path in root.glob("*/*")
        if path.is_dir() and _looks_like_cache(path) and not {path, path.parent} & set(legacy)
    ]  # a split of the predecessor's has a manifest.json, too
    listings = [*map(_listing, sorted(ours)), *map(_legacy_listing, sorted(legacy))]
    return tuple(listings)


def list_table(caches: Iterable[CacheListing]) -> Table:
    """Return caches as a table: recordings of each split, size, state."""
    table = Table(title="caches")
    for column in ("corpus", "key", *SPLITS, "GB", "unfinished", "manifest"):
        table.add_column(column, justify="left" if column in ("corpus", "key") else "right")
    for cache in caches:
        counts = [f"{cache.num_recordings.get(split, 0):,}" for split in SPLITS]
        size = f"{cache.num_bytes / 1e9:.2f}"
        table.add_row(
            cache.corpus, cache.key, *counts, size, str(cache.num_unfinished), cache.manifest
        )
    return table


def inspect_table(recording: CachedRecording) -> Table:
    """Return what the file of one recording says, and the statistics of each channel."""
    meta = recording.meta
    table = Table(title=f"{recording.split}/{recording.recording_id}", title_justify="left")
    unit = meta["unit"]  # a name of a statistic ends in it
    for column in ("channel", f"rms {unit}", f"min {unit}", f"max {unit}", "clipped"):
        table.add_column(column, justify="left" if column == "channel" else "right")
    for row in meta["statistics"]:
        missing = " (missing)" if row["channel"] in meta["missing"] else ""
        names = [f"{name}_{unit.lower()}" for name in ("rms", "min", "max")]
        table.add_row(row["channel"] + missing, *[str(row[name]) for name in (*names, "clipped")])
    events = [
        f"{event.label} [{event.start_s:g}, {event.stop_s:g}) s" for event in recording.events
    ]
    table.caption = "\n".join(
        [
            f"patient {recording.patient}, {recording.duration_s:g} s, {meta['channel_set']} at "
            f"{meta['rate_hz']} Hz, from {meta['edf']['path']}",
            f"events: {', '.join(events) or 'none'}",
            *(f"remark: {remark}" for remark in meta["remarks"]),
        ]
    )
    table.caption_justify = "left"
    return table


def _problem(folder: Path, path: str) -> str | None:
    try:
        meta, events = read_meta_and_events(folder / path)
        if meta["key"] != folder.name:
            return f"belongs to cache {meta['key']}"
        if f"{meta['split']}/{meta['recording_id']}.npz" != path:
            return f"is {meta['split']}/{meta['recording_id']}, renamed or moved"
        shape = (meta["num_seconds"], len(meta["channels"]), meta["rate_hz"])
        handle = open_signal(folder / path, (folder / path).stat().st_mtime_ns)
        if handle.shape != shape:
            return f"signal is {handle.shape}, meta says {shape}"
        if _signal_crc(handle) != meta["signal_crc32"]:
            return "the signal differs from its CRC"
        assert events is not None
        if events.tolist() != events_member(tuple(Event(*row) for row in meta["events"])).tolist():
            return "events differ from those in meta"
        if handle.offset % ALIGNMENT:
            return f"signal is not aligned to {ALIGNMENT} bytes"
    except (CacheError, OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        return str(error)
    return None


def _signal_crc(handle: SignalHandle) -> int:
    num_seconds, num_channels, rate_hz = handle.shape
    at_once = max(1, _PIECE_BYTES // (2 * num_channels * rate_hz))
    piece_SCR = np.empty((min(at_once, num_seconds), num_channels, rate_hz), np.int16)
    crc = 0
    for second in range(0, num_seconds, at_once):
        part_SCR = piece_SCR[: num_seconds - second]
        handle.read_into(part_SCR, second)
        crc = zlib.crc32(part_SCR.data, crc)
    return crc


def _looks_like_cache(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or any((folder / split).is_dir() for split in SPLITS)


def _listing(folder: Path) -> CacheListing:
    files = scan_folder(folder)
    counts = {split: sum(path.startswith(f"{split}/") for path in files) for split in SPLITS}
    return CacheListing(
        corpus=folder.parent.name,
        key=folder.name,
        folder=folder,
        num_recordings=counts,
        num_bytes=sum(status.st_size for status in files.values()),
        num_unfinished=sum(1 for _ in folder.glob("*/.*.partial")),
        manifest=_manifest_state(folder),
    )


def _legacy_listing(folder: Path) -> CacheListing:
    files = {split: legacy_files(folder, split) for split in SPLITS}
    return CacheListing(
        corpus=folder.parent.name,
        key=folder.name,
        folder=folder,
        num_recordings={split: len(paths) for split, paths in files.items()},
        num_bytes=sum(path.stat().st_size for paths in files.values() for path in paths),
        num_unfinished=0,
        manifest="predecessor's: import",
    )


def _manifest_state(folder: Path) -> str:
    known = load_manifest(folder)
    if known is None:
        return "missing"
    try:
        return "current" if known == refresh_manifest(folder) else "stale"
    except CacheError:
        return "damaged files: verify"
