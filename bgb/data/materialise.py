"""Materialise one recording: read its EDF once, tile it on the way, write its file.

Runs in worker processes; no torch. Memory does not grow with the length of a recording.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bgb.config.data import DataConfig
from bgb.corpora import compare_start, load_labels
from bgb.corpora.base import CorpusRecording
from bgb.data.key import FORMAT_VERSION, cache_identity, corpus_name
from bgb.data.npz import BlockedArray, Member, meta_member, write_npz
from bgb.data.source import Source, describe_source, file_stamp, relative_path
from bgb.data.tiling import SignalFacts, Tiling
from bgb.eeg.annotations import fit
from bgb.eeg.channels import assign_channels
from bgb.eeg.edf import EdfStream
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
        remarks: list[str] = []
        write_npz(path, _members(recording, config, key=folder.name, remarks=remarks))
    return Outcome(recording.recording_id, "built", tuple(remarks))


def claim_path(folder: Path, recording: CorpusRecording) -> Path:
    """Return the lock file of the process that builds a recording."""
    return folder / CLAIMS / recording.split / f"{recording.recording_id}.lock"


def _is_same_file(path: Path, status: os.stat_result | None) -> bool:
    now = path.stat()
    return status is not None and (now.st_ino, now.st_mtime_ns) == (
        status.st_ino,
        status.st_mtime_ns,
    )


def events_member(events: tuple[Event, ...]) -> NDArray[np.void]:
    """Return the events as a structured array: start_s, stop_s (float64) and label."""
    width = max([len(event.label) for event in events], default=1)
    rows = [(event.start_s, event.stop_s, event.label) for event in events]
    return np.array(rows, [("start_s", "<f8"), ("stop_s", "<f8"), ("label", f"<U{width}")])


def _members(
    recording: CorpusRecording, config: DataConfig, *, key: str, remarks: list[str]
) -> Iterator[tuple[str, Member]]:
    """Yield the members of the file; `signal` comes first, so that one read finds it.

    The EDF is read once, in pieces, while `signal` is written; what only its end tells (its hash,
    gaps, repeated channels) is in `meta`, the last member. Remarks are added to `remarks`.
    """
    stamp = file_stamp(recording.edf)
    labels = load_labels(recording)
    with EdfStream(recording.edf, hashed=True) as stream:
        events, clipped = fit(labels, stream.duration_s)
        rows = [row for row in range(len(stream.channels)) if row not in stream.repeats]
        tiling = Tiling(
            SignalFacts(
                recording.recording_id,
                channels=tuple(stream.channels[row] for row in rows),
                rate_hz=stream.rate_hz,
                num_samples=stream.num_samples,
                duration_s=stream.duration_s,
                events=events,
            ),
            config.preprocess,
            max_missing=config.max_missing,
        )
        wanted = [rows[row] for row in tiling.rows]
        blocks = tiling.blocks(lambda out_CT: stream.read(out_CT, wanted))
        signal = BlockedArray(tiling.shape, np.dtype("<i2"), blocks)
        yield "signal", signal
        facts = stream.finish()
    if len(facts.rows) != len(rows):  # a channel of the same name proved to be another
        assign_channels([stream.channels[row] for row in facts.rows])
    remarks += (*facts.remarks, *clipped, *compare_start(labels, facts.start), *tiling.remarks)
    edf = Source(relative_path(recording.edf, config.root), *stamp, facts.sha256)
    yield "events", events_member(events)
    meta = _identification(recording, config, key=key)
    meta |= _description(tiling, events, stream.duration_s)
    meta |= {"edf": edf.to_json(), "signal_crc32": signal.crc32, "remarks": remarks}
    yield "meta", meta_member(meta)


def _identification(
    recording: CorpusRecording, config: DataConfig, *, key: str
) -> dict[str, Any]:  # Any: JSON
    """Return which recording the file holds. Fields of the EDF header never get here."""
    identity = cache_identity(config)
    return {
        "format_version": FORMAT_VERSION,
        "key": key,
        "identity": identity,
        "corpus": corpus_name(config),
        "recording_id": recording.recording_id,
        "patient": recording.patient,
        "split": recording.split,
        "labels": recording.labels and describe_source(recording.labels, config.root).to_json(),
        "preprocess": identity["preprocess"],
        "vocabulary": LABEL_VOCABULARY,
    }


def _description(
    tiling: Tiling, events: tuple[Event, ...], duration_s: float
) -> dict[str, Any]:  # Any: JSON
    """Return what the tiles are."""
    statistics = tiling.statistics
    return {
        "duration_s": duration_s,
        "num_seconds": tiling.shape[0],
        "channel_set": tiling.spec.channel_set,
        "channels": list(tiling.spec.channels),
        "rate_hz": tiling.spec.rate_hz,
        "quantum_uv": tiling.spec.quantum_uv,
        "unit": tiling.spec.unit,
        "missing": list(tiling.missing),
        "events": [[event.start_s, event.stop_s, event.label] for event in events],
        "clipped_samples": sum(channel["clipped"] for channel in statistics),
        "statistics": list(statistics),
    }
