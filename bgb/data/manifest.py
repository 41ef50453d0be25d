"""The manifest: one JSON beside the splits that says what a cache holds, derived from it alone.

Rebuilding reads only the `meta` member of each file. An entry holds for exactly one size and mtime
of its file, and the manifest for exactly one folder and set of files, so a stale one cannot be
believed (lessons 19, 20, 28, 31). Everything a run must know before it reads a signal is in it.
"""

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bgb.config.data import SPLITS
from bgb.data.key import FORMAT_VERSION
from bgb.data.npz import read_meta
from bgb.data.source import FILES_AT_ONCE, Source
from bgb.eeg.events import Event, is_seizure, seizures
from bgb.eeg.signal import SignalSpec
from bgb.errors import CacheError
from bgb.files import write_text

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
        signals = [_spec_from_json(signal) for signal in values["signals"]]
        entries = [_entry_from_json(entry, signals) for entry in values["recordings"]]
    except (ValueError, KeyError, TypeError) as error:
        _LOG.warning("%s is damaged (%r); it is rebuilt", path, error)
        return None
    return {entry.path: entry for entry in entries}


def refresh_manifest(
    folder: Path, *, force: bool = False, known: Manifest | None = None
) -> Manifest:
    """Return a manifest that agrees with the files; read `meta` of new and changed files only.

    With `force` every `meta` is read; `known` is what `load_manifest` said. Nothing is written.
    """
    known = {} if force else known or load_manifest(folder) or {}
    files = scan_folder(folder)
    fresh = [path for path, status in files.items() if not _describes(known.get(path), status)]
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:  # a network volume takes 2 ms to answer
        read = pool.map(lambda path: _entry_from_meta(folder, path, files[path]), fresh)
        new = dict(zip(fresh, read))
    if new or len(files) != len(known):
        _LOG.debug("manifest of %s: %d recordings, %d read anew", folder, len(files), len(new))
    return {path: new.get(path) or known[path] for path in files}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json atomically: a line for each recording, signals listed once."""
    signals = {entry.spec: 0 for entry in manifest.values()}
    signals = {spec: number for number, spec in enumerate(signals)}
    head = {
        "format_version": FORMAT_VERSION,
        "key": folder.name,
        "signals": [asdict(spec) for spec in signals],
    }
    lines = (json.dumps(_entry_to_json(manifest[path], signals)) for path in sorted(manifest))
    text = f'{json.dumps(head)[:-1]}, "recordings": [\n' + ",\n".join(lines) + "\n]}\n"
    write_text(folder / MANIFEST, text)


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


def _describes(entry: Entry | None, status: os.stat_result) -> bool:
    return entry is not None and (entry.num_bytes, entry.stamp) == (
        status.st_size,
        status.st_mtime_ns,
    )


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
            meta["channel_set"],
            tuple(meta["channels"]),
            meta["rate_hz"],
            meta["quantum_uv"],
            meta["unit"],
        ),
        missing=tuple(meta["missing"]),
        events=tuple(Event(*event) for event in meta["events"]),
        edf=Source(**meta["edf"]),
        labels=meta["labels"] and Source(**meta["labels"]),
        clipped_samples=meta["clipped_samples"],
    )


def _entry_to_json(entry: Entry, signals: Mapping[SignalSpec, int]) -> dict[str, Any]:  # Any: JSON
    events = [[event.start_s, event.stop_s, event.label] for event in entry.events]
    labels = vars(entry.labels) if entry.labels else None
    sources = {"edf": vars(entry.edf), "labels": labels}
    return {**vars(entry), "spec": signals[entry.spec], "events": events, **sources}


def _entry_from_json(values: dict[str, Any], signals: Sequence[SignalSpec]) -> Entry:  # Any: JSON
    return Entry(
        **{
            **values,
            "spec": signals[values["spec"]],
            "missing": tuple(values["missing"]),
            "events": tuple(Event(*event) for event in values["events"]),
            "edf": Source(**values["edf"]),
            "labels": values["labels"] and Source(**values["labels"]),
        }
    )


def _spec_from_json(values: dict[str, Any]) -> SignalSpec:  # Any: JSON
    return SignalSpec(**{**values, "channels": tuple(values["channels"])})
