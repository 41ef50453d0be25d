"""Look after caches: read every byte again, list what lies under a root, show one recording.

Functions return data; `*_table` draws it. Nothing here deletes or repairs: it names the command.
"""

import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from bgb.config.data import SPLITS
from bgb.data.cache import CachedRecording
from bgb.data.manifest import MANIFEST, load_manifest, refresh_manifest, scan_folder
from bgb.data.materialise import events_member
from bgb.data.npz import ALIGNMENT, open_signal, read_meta
from bgb.eeg.events import Event
from bgb.errors import CacheError


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


def verify_cache(folder: str | Path) -> tuple[VerifiedFile, ...]:
    """Read every file of a cache and compare meta, shapes, events and the CRC of the signal."""
    folder = Path(folder)
    if not folder.is_dir():
        raise CacheError(
            f"no cache at {folder}; build it: `python -m bgb.cache action=build data=...`"
        )
    return tuple(
        VerifiedFile(path, status.st_size, _problem(folder, path))
        for path, status in scan_folder(folder).items()
    )


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
    """Return every cache below a root, by corpus and key."""
    root = Path(cache_root).expanduser()
    folders = sorted(path for path in root.glob("*/*") if path.is_dir() and _looks_like_cache(path))
    return tuple(_listing(folder) for folder in folders)


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
    for column in ("channel", "rms uV", "min uV", "max uV", "clipped"):
        table.add_column(column, justify="left" if column == "channel" else "right")
    for row in meta["statistics"]:
        missing = " (missing)" if row["channel"] in meta["missing"] else ""
        numbers = [str(row[name]) for name in ("rms_uv", "min_uv", "max_uv", "clipped")]
        table.add_row(row["channel"] + missing, *numbers)
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
        meta = read_meta(folder / path)
        if meta["key"] != folder.name:
            return f"belongs to cache {meta['key']}"
        if f"{meta['split']}/{meta['recording_id']}.npz" != path:
            return f"is {meta['split']}/{meta['recording_id']}, renamed or moved"
        shape = (meta["num_seconds"], len(meta["channels"]), meta["rate_hz"])
        with (folder / path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            signal_SCR, events = archive["signal"], archive["events"]
        if signal_SCR.shape != shape or signal_SCR.dtype != np.int16:
            return f"signal is {signal_SCR.dtype} {signal_SCR.shape}, meta says int16 {shape}"
        if zlib.crc32(signal_SCR.data) != meta["signal_crc32"]:
            return "the signal differs from its CRC"
        if events.tolist() != events_member(tuple(Event(*row) for row in meta["events"])).tolist():
            return "events differ from those in meta"
        handle = open_signal(folder / path, (folder / path).stat().st_mtime_ns)
        if handle.offset % ALIGNMENT:
            return f"signal is not aligned to {ALIGNMENT} bytes"
    except (CacheError, OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        return str(error)
    return None


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


def _manifest_state(folder: Path) -> str:
    known = load_manifest(folder)
    if known is None:
        return "missing"
    try:
        return "current" if known == refresh_manifest(folder) else "stale"
    except CacheError:
        return "damaged files: verify"
