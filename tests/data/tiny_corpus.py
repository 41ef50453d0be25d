"""A corpus of five tiny EDF files in TUSZ layout, for the tests of caching and loading."""

from pathlib import Path

import numpy as np
from edfio import Edf, EdfSignal

from bgb.config.data import DataConfig, PreprocessConfig, SamplingConfig, TuszCorpus
from bgb.eeg.annotations import write_events
from bgb.eeg.events import Event
from bgb.eeg.montage import ELECTRODES

RATE_HZ = 64
# name: split, seconds, seizures, electrodes that the file lacks
RECORDINGS = {
    "aaaaaaaa_s001_t000": ("train", 40.0, [(10.0, 25.0)], ()),
    "aaaaaaaa_s001_t001": ("train", 12.5, [], ("Fz", "Pz")),
    "aaaaaaab_s001_t000": ("train", 30.0, [(5.25, 9.0)], ()),
    "aaaaaaac_s001_t000": ("dev", 20.5, [(4.0, 12.0)], ()),
    "aaaaaaad_s001_t000": ("eval", 25.0, [(6.0, 16.0)], ()),
}


def write_corpus(root: Path, names: list[str] | None = None) -> None:
    """Write the EDF and csv_bi files of the recordings named, or of all."""
    for name in names or RECORDINGS:
        split, duration_s, spans, missing = RECORDINGS[name]
        (root / split).mkdir(parents=True, exist_ok=True)
        write_edf(root / split / f"{name}.edf", duration_s, missing=missing, seed=len(name))
        write_events(
            root / split / f"{name}.csv_bi",
            [Event(start, stop) for start, stop in spans],
            duration_s=duration_s,
            dialect="csv_bi",
        )


def write_edf(path: Path, duration_s: float, *, missing=(), seed: int = 0, scale_uv=40.0) -> None:
    """Write noise on all electrodes but the missing ones, records of half a second."""
    generator = np.random.default_rng([seed, round(2 * duration_s)])
    num_samples = round(duration_s * RATE_HZ)
    signals = [
        EdfSignal(
            np.clip(scale_uv * generator.standard_normal(num_samples), -9000, 9000),
            RATE_HZ,
            label=f"EEG {name.upper()}-REF",
            physical_dimension="uV",
            physical_range=(-9000, 9000),
        )
        for name in ELECTRODES
        if name not in missing
    ]
    Edf(signals, data_record_duration=0.5).write(path)


def config_for(root: Path, cache_root: Path, **changes) -> DataConfig:
    """Return a configuration that caches the corpus at 64 Hz in this process."""
    values = {
        "corpus": TuszCorpus(),
        "root": str(root),
        "cache_root": str(cache_root),
        "preprocess": PreprocessConfig(
            rate_hz=RATE_HZ, highpass_hz=0.5, lowpass_hz=25.0, notch_hz=None
        ),
        "sampling": SamplingConfig(windows_per_epoch=24),
        "window_s": 8,
        "batch_size": 4,
        "workers": 1,
    }
    return DataConfig(**{**values, **changes})
