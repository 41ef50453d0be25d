"""Materialise one recording: read, tile, write its file. Runs in worker processes; no torch."""

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bgb.config.data import DataConfig
from bgb.corpora import load_recording
from bgb.corpora.base import CorpusRecording
from bgb.data.key import FORMAT_VERSION, cache_identity, corpus_name
from bgb.data.npz import meta_member, write_npz
from bgb.data.source import describe_source
from bgb.data.tiles import TiledRecording, tile_recording
from bgb.eeg.events import LABEL_VOCABULARY, Event
from bgb.locks import hold

CLAIMS = ".claims"  # folder of the lock files, below that of the cache


@dataclass(frozen=True)
class Outcome:
    """What became of one recording."""

    recording_id: str
    kind: Literal["built", "present", "busy"]
    remarks: tuple[str, ...] = ()


def materialise(
    folder: Path,
    recording: CorpusRecording,
    config: DataConfig,
    *,
    wait: bool,
    replace: os.stat_result | None = None,
) -> Outcome:
    """Build the file of one recording unless it is there, or another process is at it.

    `replace` is the status of a file to be built again: one that another process has replaced
    meanwhile is left alone.
    """
    path = folder / recording.split / f"{recording.recording_id}.npz"
    with hold(claim_path(folder, recording), wait=wait) as mine:
        if not mine:
            return Outcome(recording.recording_id, "busy")
        if path.exists() and not _is_same_file(path, replace):
            return Outcome(recording.recording_id, "present")
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{path.name}.*.partial"):
            leftover.unlink()  # of a builder that was killed: the claim is ours
        tiled = tile_recording(
            load_recording(recording),
            config.preprocess,
            max_missing=config.max_missing,
            recording_id=recording.recording_id,
        )
        write_npz(path, _members(tiled, _meta(tiled, recording, config, key=folder.name)))
    return Outcome(recording.recording_id, "built", tiled.remarks)


def claim_path(folder: Path, recording: CorpusRecording) -> Path:
    """Return the lock file of the process that builds a recording."""
    return folder / CLAIMS / recording.split / f"{recording.recording_id}.lock"


def _is_same_file(path: Path, status: os.stat_result | None) -> bool:
    now = path.stat()
    return status is not None and (now.st_ino, now.st_mtime_ns) == (
        status.st_ino,
        status.st_mtime_ns,
    )


def _members(
    tiled: TiledRecording, meta: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:  # Any: JSON
    """Return the members of the file; `signal` comes first, so that one read finds it."""
    return {
        "signal": tiled.tiles_SCR.astype("<i2", copy=False),
        "events": events_member(tiled.events),
        "meta": meta_member(meta),
    }


def events_member(events: tuple[Event, ...]) -> NDArray[np.void]:
    """Return the events as a structured array: start_s, stop_s (float64) and label."""
    width = max([len(event.label) for event in events], default=1)
    rows = [(event.start_s, event.stop_s, event.label) for event in events]
    return np.array(rows, [("start_s", "<f8"), ("stop_s", "<f8"), ("label", f"<U{width}")])


def _meta(
    tiled: TiledRecording, recording: CorpusRecording, config: DataConfig, *, key: str
) -> dict[str, Any]:  # Any: JSON
    """Return all that the file says of itself. Fields of the EDF header never get here."""
    identity = cache_identity(config)
    labels = recording.labels and describe_source(recording.labels, config.root).to_json()
    return {
        "format_version": FORMAT_VERSION,
        "key": key,
        "identity": identity,
        "corpus": corpus_name(config),
        "recording_id": recording.recording_id,
        "patient": recording.patient,
        "split": recording.split,
        "edf": describe_source(recording.edf, config.root).to_json(),
        "labels": labels,
        "duration_s": tiled.duration_s,
        "num_seconds": tiled.num_seconds,
        "channel_set": tiled.spec.channel_set,
        "channels": list(tiled.spec.channels),
        "rate_hz": tiled.spec.rate_hz,
        "quantum_uv": tiled.spec.quantum_uv,
        "unit": tiled.spec.unit,
        "missing": list(tiled.missing),
        "preprocess": identity["preprocess"],
        "vocabulary": LABEL_VOCABULARY,
        "events": [[event.start_s, event.stop_s, event.label] for event in tiled.events],
        "clipped_samples": tiled.clipped_samples,
        "statistics": list(tiled.statistics),
        "signal_crc32": zlib.crc32(tiled.tiles_SCR.data),
        "remarks": list(tiled.remarks),
    }
