"""Import one recording of the predecessor: read its windows, write its file. Runs in processes."""

# Shapes: S seconds, R samples a second, T samples

import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgb.config.data import DataConfig
from bgb.corpora.base import CorpusRecording
from bgb.data.key import FORMAT_VERSION, cache_identity, corpus_name
from bgb.data.legacy import PREPROCESSING, LegacyRecording, read_legacy
from bgb.data.materialise import Outcome, claim_path, events_member
from bgb.data.npz import meta_member, write_npz
from bgb.data.source import describe_source
from bgb.eeg.events import LABEL_VOCABULARY
from bgb.eeg.signal import ZSCORE_SPEC
from bgb.errors import CacheError
from bgb.locks import hold


def import_recording(
    folder: Path,
    recording: CorpusRecording,
    config: DataConfig,
    *,
    wait: bool,
    replace: os.stat_result | None = None,
) -> Outcome:
    """Do for an old file what `materialise` does for an EDF: under a claim, once, atomically."""
    path = folder / recording.split / f"{recording.recording_id}.npz"
    with hold(claim_path(folder, recording), wait=wait) as mine:
        if not mine:
            return Outcome(recording.recording_id, "busy")
        if path.exists() and not (replace and os.path.samestat(path.stat(), replace)):
            return Outcome(recording.recording_id, "present")
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{path.name}.*.partial"):
            leftover.unlink()  # of an import that was killed: the claim is ours
        legacy = read_legacy(Path(recording.edf))
        _refuse_missing(legacy, recording, config.max_missing)
        remarks = _remarks(legacy)
        meta = _meta(legacy, recording, config, remarks, key=folder.name)
        members = {
            "signal": legacy.tiles_SCR.astype("<i2", copy=False),
            "events": events_member(legacy.events),
            "meta": meta_member(meta),
        }
        write_npz(path, members)
    return Outcome(recording.recording_id, "built", remarks)


def _refuse_missing(legacy: LegacyRecording, recording: CorpusRecording, max_missing: int) -> None:
    if len(legacy.missing) > max_missing:
        raise CacheError(
            f"{recording.recording_id} lacks {len(legacy.missing)} electrodes "
            f"({', '.join(legacy.missing)}), more than data.max_missing={max_missing}; raise "
            "data.max_missing or list the recording in data.exclude"
        )


def _remarks(legacy: LegacyRecording) -> tuple[str, ...]:
    remarks = []
    if legacy.missing:
        remarks.append(f"{', '.join(legacy.missing)}: zero throughout, taken as missing (lesson 9)")
    if legacy.events and legacy.events[-1].stop_s == len(legacy.tiles_SCR):
        remarks.append("the last seizure reaches the end and may go on in the seconds not kept")
    return tuple(remarks)


def _meta(
    legacy: LegacyRecording,
    recording: CorpusRecording,
    config: DataConfig,
    remarks: Sequence[str],
    *,
    key: str,
) -> dict[str, Any]:  # Any: JSON
    """Return what the file says of itself: as a built one does, but `origin` and `unit`."""
    labels = recording.labels and describe_source(recording.labels, config.root).to_json()
    spec = legacy.spec
    return {
        "format_version": FORMAT_VERSION,
        "key": key,
        "identity": cache_identity(config),
        "origin": config.origin,
        "corpus": corpus_name(config),
        "recording_id": recording.recording_id,
        "patient": recording.patient,
        "split": recording.split,
        "edf": describe_source(recording.edf, config.root).to_json(),
        "labels": labels,
        "duration_s": float(len(legacy.tiles_SCR)),
        "num_seconds": len(legacy.tiles_SCR),
        "channel_set": spec.channel_set,
        "channels": list(spec.channels),
        "rate_hz": spec.rate_hz,
        "quantum_uv": spec.quantum_uv,
        "unit": spec.unit,
        "missing": list(legacy.missing),
        "preprocess": PREPROCESSING,
        "vocabulary": LABEL_VOCABULARY,
        "events": [[event.start_s, event.stop_s, event.label] for event in legacy.events],
        "clipped_samples": int(legacy.clipped_C.sum()),
        "statistics": [
            _statistics(name, legacy.tiles_SCR[:, channel], int(legacy.clipped_C[channel]))
            for channel, name in enumerate(spec.channels)
        ],
        "signal_crc32": zlib.crc32(legacy.tiles_SCR.data),
        "remarks": list(remarks),
    }


def _statistics(
    name: str, steps_SR: NDArray[np.int16], num_clipped: int
) -> dict[str, Any]:  # Any: JSON
    exact_T, quantum = steps_SR.astype(np.float64).ravel(), ZSCORE_SPEC.quantum_uv
    return {
        "channel": name,
        "rms_z": round(math.sqrt(exact_T @ exact_T / len(exact_T)) * quantum, 3),
        "min_z": round(float(exact_T.min()) * quantum, 3),
        "max_z": round(float(exact_T.max()) * quantum, 3),
        "clipped": num_clipped,
    }
