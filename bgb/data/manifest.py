"""The manifest: one JSON beside the splits that says what a cache holds, derived from it alone.

Rebuilding reads only the `meta` member of each file. An entry holds for exactly one size and mtime
of its file, and the manifest for exactly one folder and set of files, so a stale one cannot be
believed (lessons 19, 20, 28, 31). Everything a run must know before it reads a signal is in it.
"""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bgb.config.data import SPLITS
from bgb.data.key import FORMAT_VERSION
from bgb.data.npz import read_meta
from bgb.data.source import Source
from bgb.eeg.events import Event, is_seizure, seizures
from bgb.eeg.signal import SignalSpec
from bgb.errors import CacheError
from bgb.files import write_json

_LOG = logging.getLogger(__name__)
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """What the manifest knows of one cached recording.

    Attributes
    ----------
    num_bytes, stamp : size and mtime (ns) of the cached file that this entry describes.
    num_seconds : tiles; `duration_s` is the exact length of the recording.
    missing : channels that the file lacks.
    edf, labels : the files the recording was made of.
    """

    recording_id: str
    patient: str
    split: str
    num_bytes: int
    stamp: int
    num_seconds: int
    duration_s: float
    spec: SignalSpec
    missing: tuple[str, ...]
    events: tuple[Event, ...]
    edf: Source
    labels: Source | None
    clipped_samples: int

    @property
    def num_seizures(self) -> int:
        return sum(is_seizure(event.label) for event in self.events)

    @property
    def seizure_s(self) -> float:
        return sum(event.duration_s for event in seizures(self.events))

    @property
    def path(self) -> str:
        return f"{self.split}/{self.recording_id}.npz"


Manifest = Mapping[str, Entry]  # by path below the folder


def load_manifest(folder: Path) -> Manifest | None:
    """Return what manifest.json says, or None where there is none or it is of another folder."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text())
        if values["format_version"] != FORMAT_VERSION or values["key"] != folder.name:
            _LOG.info("%s was written for %s; it is rebuilt", path, values["key"])
            return None
        entries = [_entry_from_json(entry) for entry in values["recordings"]]
    except (ValueError, KeyError, TypeError) as error:
        _LOG.warning("%s is damaged (%r); it is rebuilt", path, error)
        return None
    return {entry.path: entry for entry in entries}


def refresh_manifest(folder: Path, *, force: bool = False) -> Manifest:
    """Return a manifest that agrees with the files; read `meta` of new and changed files only.

    With `force` every `meta` is read. Nothing is written.
    """
    known = {} if force else load_manifest(folder) or {}
    entries, read = {}, 0
    for path, status in scan_folder(folder).items():
        entry = known.get(path)
        if entry is None or (entry.num_bytes, entry.stamp) != (status.st_size, status.st_mtime_ns):
            entry, read = _entry_from_meta(folder, path, status), read + 1
        entries[path] = entry
    if read or len(entries) != len(known):
        _LOG.debug("manifest of %s: %d recordings, %d read anew", folder, len(entries), read)
    return entries


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json atomically."""
    values = {
        "format_version": FORMAT_VERSION,
        "key": folder.name,
        "recordings": [_entry_to_json(manifest[path]) for path in sorted(manifest)],
    }
    write_json(folder / MANIFEST, values)


def scan_folder(folder: Path) -> dict[str, os.stat_result]:
    """Return the cached recordings below a cache folder; others are left alone, with a remark."""
    found, unknown = {}, []
    for split in SPLITS:
        if not (folder / split).is_dir():
            continue
        for item in sorted(os.scandir(folder / split), key=lambda item: item.name):
            if item.name.endswith(".npz") and not item.name.startswith("."):
                found[f"{split}/{item.name}"] = item.stat()
            elif not item.name.endswith(".partial"):
                unknown.append(f"{split}/{item.name}")
    if unknown:
        _LOG.warning("%s: %d unknown files ignored: %s", folder, len(unknown), _first(unknown))
    return found


def _first(names: Iterable[str], count: int = 5) -> str:
    names = list(names)
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _entry_from_meta(folder: Path, path: str, status: os.stat_result) -> Entry:
    meta = read_meta(folder / path)
    if meta.get("format_version") != FORMAT_VERSION or meta.get("key") != folder.name:
        raise CacheError(
            f"{folder / path} belongs to cache {meta.get('key')} (format "
            f"{meta.get('format_version')}), not to {folder.name} (format {FORMAT_VERSION}); "
            "move it out of this folder"
        )
    if f"{meta['split']}/{meta['recording_id']}.npz" != path:
        raise CacheError(
            f"{folder / path} is recording {meta['recording_id']} of split {meta['split']}; "
            "it was renamed or moved: move it out of this folder"
        )
    return Entry(
        recording_id=meta["recording_id"],
        patient=meta["patient"],
        split=meta["split"],
        num_bytes=status.st_size,
        stamp=status.st_mtime_ns,
        num_seconds=meta["num_seconds"],
        duration_s=meta["duration_s"],
        spec=SignalSpec(
            meta["channel_set"], tuple(meta["channels"]), meta["rate_hz"], meta["quantum_uv"]
        ),
        missing=tuple(meta["missing"]),
        events=tuple(Event(*event) for event in meta["events"]),
        edf=Source(**meta["edf"]),
        labels=meta["labels"] and Source(**meta["labels"]),
        clipped_samples=meta["clipped_samples"],
    )


def _entry_to_json(entry: Entry) -> dict[str, Any]:  # Any: JSON
    events = [[event.start_s, event.stop_s, event.label] for event in entry.events]
    return {**asdict(entry), "events": events}


def _entry_from_json(values: dict[str, Any]) -> Entry:  # Any: JSON
    spec = {**values["spec"], "channels": tuple(values["spec"]["channels"])}
    return Entry(
        **{
            **values,
            "spec": SignalSpec(**spec),
            "missing": tuple(values["missing"]),
            "events": tuple(Event(*event) for event in values["events"]),
            "edf": Source(**values["edf"]),
            "labels": values["labels"] and Source(**values["labels"]),
        }
    )
