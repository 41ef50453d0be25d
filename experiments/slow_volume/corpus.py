"""A cache of noise, complete enough to be opened, verified and staged."""

import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bgb.config.data import DataConfig, SamplingConfig, SyntheticCorpus
from bgb.data.key import FORMAT_VERSION, cache_folder
from bgb.data.manifest import refresh_manifest, write_manifest
from bgb.data.materialise import events_member
from bgb.data.npz import meta_member, write_npz
from bgb.eeg.events import Event
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import SignalSpec

SPEC = SignalSpec("electrodes", tuple(ELECTRODES), 256)


def configure(root: Path, *, windows_per_epoch: int, batch_size: int) -> DataConfig:
    """Return the configuration whose cache `write_cache` writes."""
    return DataConfig(
        corpus=SyntheticCorpus(),
        root=str(root / "none"),
        cache_root=str(root / "cache"),
        sampling=SamplingConfig(windows_per_epoch=windows_per_epoch, full=0.0),
        batch_size=batch_size,
        check_source=False,
    )


def write_cache(config: DataConfig, *, num_recordings: int, num_seconds: int) -> Path:
    """Write recordings of 25 uV noise with one seizure each; return the folder of the cache."""
    folder = cache_folder(config)
    source = {"path": "none.edf", "size": 0, "stamp": "", "sha256": ""}
    for number in range(num_recordings):
        generator = np.random.default_rng(number)
        shape = (num_seconds, SPEC.num_channels, SPEC.rate_hz)
        tiles_SCR = (250 * generator.standard_normal(shape, np.float32)).astype(np.int16)
        events = (Event(num_seconds / 3, num_seconds / 3 + 40.0, "seiz"),)
        meta = {
            **asdict(SPEC),
            **{"format_version": FORMAT_VERSION, "key": folder.name, "split": "train"},
            **{"recording_id": f"r{number:03d}", "patient": f"p{number // 4}", "missing": []},
            **{"num_seconds": num_seconds, "duration_s": float(num_seconds)},
            **{"events": [[e.start_s, e.stop_s, e.label] for e in events], "clipped_samples": 0},
            **{"edf": source, "labels": None, "signal_crc32": zlib.crc32(tiles_SCR.data)},
        }
        members = {"signal": tiles_SCR, "events": events_member(events), "meta": meta_member(meta)}
        path = folder / "train" / f"r{number:03d}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_npz(path, members)
    write_manifest(folder, refresh_manifest(folder))
    return folder
