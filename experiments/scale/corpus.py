"""A cache of very many recordings without their bulk: real files whose signal is a hole.

Each file has the members and meta that a build gives it, but its samples are zero and take no room
on the disk, so 100,000 recordings fit in five gigabytes.
"""

import os
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bgb.config.data import DataConfig, SamplingConfig, TuszCorpus
from bgb.data import npz
from bgb.data.key import FORMAT_VERSION, cache_folder, cache_identity
from bgb.data.materialise import events_member
from bgb.eeg.events import LABEL_VOCABULARY, Event
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import QUANTUM_UV

RATE_HZ = 256
SECONDS = (30, 45, 60, 75, 90)
RECORDINGS_A_PATIENT = 12
SPLITS = ("train", "train", "train", "dev", "eval")  # in turn, patient after patient


def config_for(root: Path) -> DataConfig:
    """Return the configuration of the simulated cache."""
    return DataConfig(
        corpus=TuszCorpus(),
        root=str(root / "edf"),
        cache_root=str(root),
        sampling=SamplingConfig(windows_per_epoch=10_000),
        window_s=20,
        batch_size=64,
        check_source=False,
    )


def grow(config: DataConfig, first: int, stop: int) -> Path:
    """Write recordings number `first` to `stop` of the corpus; return the folder of the cache."""
    folder, identity = cache_folder(config), cache_identity(config)
    for split in set(SPLITS):
        (folder / split).mkdir(parents=True, exist_ok=True)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a disk would sync each file
    with TemporaryDirectory(dir=memory) as scratch:
        for number in range(first, stop):
            _write(folder, number, identity, Path(scratch) / "x.npz")
    return folder


def recording_of(number: int) -> tuple[str, str, str]:
    """Return split, patient and recording id."""
    patient = number // RECORDINGS_A_PATIENT
    letters = "".join(chr(ord("a") + patient // 26**place % 26) for place in (3, 2, 1, 0))
    name = f"aaaa{letters}_s{number % 4:03}_t{number % RECORDINGS_A_PATIENT:03}"
    return SPLITS[patient % len(SPLITS)], f"aaaa{letters}", name


def _write(folder: Path, number: int, identity: dict[str, Any], scratch: Path) -> None:
    split, _, name = recording_of(number)
    seconds = SECONDS[number % len(SECONDS)]
    events = _events(np.random.default_rng(number), seconds)
    signal_SCR = np.zeros((seconds, len(ELECTRODES), RATE_HZ), np.int16)
    meta = _meta(number, seconds, events, zlib.crc32(signal_SCR.data))
    members = {
        "signal": signal_SCR,
        "events": events_member(events),
        "meta": npz.meta_member({**meta, "identity": identity, "key": folder.name}),
    }
    npz.write_npz(scratch, members)
    content = memoryview(scratch.read_bytes())
    with (folder / split / f"{name}.npz").open("wb") as file:
        file.write(content[: npz.ALIGNMENT])
        file.seek(signal_SCR.nbytes, os.SEEK_CUR)  # the hole
        file.write(content[npz.ALIGNMENT + signal_SCR.nbytes :])


def _events(generator: np.random.Generator, seconds: int) -> tuple[Event, ...]:
    """One recording in six has a seizure, as in TUSZ."""
    if generator.random() > 1 / 6:
        return ()
    start_s = float(generator.uniform(0, seconds - 10))
    return (Event(start_s, float(generator.uniform(start_s + 2, seconds))),)


def _meta(number: int, seconds: int, events: tuple[Event, ...], crc: int) -> dict[str, Any]:
    split, patient, name = recording_of(number)
    source = {"size": 1_000_000 + number, "stamp": f"mtime:{number}.5", "sha256": f"{number:064x}"}
    statistics = {"rms_uv": 12.345, "min_uv": -123.4, "max_uv": 123.4, "clipped": 0}
    return {
        "format_version": FORMAT_VERSION,
        "corpus": "tusz",
        "recording_id": name,
        "patient": patient,
        "split": split,
        "edf": {"path": f"edf/{split}/{patient}/s000_2010/01_tcp_ar/{name}.edf", **source},
        "labels": {"path": f"edf/{split}/{patient}/s000_2010/01_tcp_ar/{name}.csv_bi", **source},
        "duration_s": float(seconds),
        "num_seconds": seconds,
        "channel_set": "electrodes",
        "channels": list(ELECTRODES),
        "rate_hz": RATE_HZ,
        "quantum_uv": QUANTUM_UV,
        "unit": "uV",
        "missing": ["Fz", "Pz"] if number % 30 == 0 else [],
        "preprocess": {"rate_hz": 256, "highpass_hz": 0.5, "lowpass_hz": 100.0, "notch_hz": 60.0},
        "vocabulary": LABEL_VOCABULARY,
        "events": [[event.start_s, event.stop_s, event.label] for event in events],
        "clipped_samples": 0,
        "statistics": [{"channel": channel, **statistics} for channel in ELECTRODES],
        "signal_crc32": crc,
        "remarks": [],
    }
