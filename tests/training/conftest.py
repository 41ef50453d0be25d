"""Eight patients whose seizures are a loud 5 Hz rhythm, as a BIDS tree, and small runs on them."""

# Shapes: C channels, T samples

from collections.abc import Callable
from functools import partial
from pathlib import Path

import edfio
import numpy as np
import pytest
from run_once import small_words, train

from bgb.config.compose import compose
from bgb.config.schema import TrainConfig
from bgb.eeg.montage import ELECTRODES
from bgb.training.run_folder import RunFolder

_RATE_HZ = 128
_DURATION_S = 48
SEIZURE_S = (20, 36)
SPLITS = {"train": 4, "dev": 2, "eval": 2}

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture(scope="session")
def eeg_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the EDF files; the cache lies beside it and is built by the first run."""
    root = tmp_path_factory.mktemp("eeg")
    rows = ["participant_id\tsplit"]
    for split, count in SPLITS.items():
        for number in range(count):
            patient = f"sub-{split}{number}"
            rows.append(f"{patient}\t{split}")
            _write_patient(root / "bids" / patient / "eeg", patient, seed=len(rows))
    (root / "bids" / "participants.tsv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def make_config(eeg_folder: Path, tmp_path: Path) -> MakeConfig:
    """Return a function from overrides to a small run under this test's own results folder."""
    return partial(_small_run, eeg_folder, tmp_path)


@pytest.fixture(scope="session")
def straight(eeg_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return the small run without overrides, trained in one go; not to be changed."""
    return train(_small_run(eeg_folder, tmp_path_factory.mktemp("straight")))


def _small_run(eeg_folder: Path, results: Path, *overrides: str) -> TrainConfig:
    config = compose("train", [*small_words(eeg_folder, results), *overrides])
    assert isinstance(config, TrainConfig)
    return config


def _write_patient(folder: Path, patient: str, *, seed: int) -> None:
    generator = np.random.default_rng(seed)
    signals_CT = 30 * generator.standard_normal((19, _DURATION_S * _RATE_HZ))
    time_T = np.arange(signals_CT.shape[1]) / _RATE_HZ
    start_s, stop_s = SEIZURE_S
    gain_C1 = generator.uniform(50, 150, (19, 1))
    inside_T = (time_T >= start_s) & (time_T < stop_s)
    signals_CT += gain_C1 * np.sin(2 * np.pi * 5 * time_T) * inside_T
    signals = [
        edfio.EdfSignal(
            row,
            _RATE_HZ,
            label=f"EEG {name}-REF",
            physical_dimension="uV",
            physical_range=(-3200, 3200),
        )
        for name, row in zip(ELECTRODES, np.clip(signals_CT, -3200, 3200), strict=True)
    ]
    folder.mkdir(parents=True)
    edfio.Edf(signals).write(folder / f"{patient}_task-rest_eeg.edf")
    (folder / f"{patient}_task-rest_events.tsv").write_text(
        f"onset\tduration\teventType\n{start_s}\t{stop_s - start_s}\tsz\n"
    )
