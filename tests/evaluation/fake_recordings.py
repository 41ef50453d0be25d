"""Small recordings in memory, with the face of cached ones."""

# Shapes: S seconds, C channels, R samples a second

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bgb.data.tiles import count_seconds
from bgb.eeg.events import Event
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import SignalSpec

RATE_HZ = 64
SPEC = SignalSpec("electrodes", ELECTRODES, RATE_HZ)


@dataclass(frozen=True, eq=False)
class FakeRecording:
    """Seizures are an 8 Hz rhythm on noise; reads are counted by their length."""

    recording_id: str
    patient: str
    duration_s: float
    events: tuple[Event, ...]
    tiles_SCR: NDArray[np.int16]
    spec: SignalSpec = SPEC
    present_C: NDArray[np.bool_] = field(default_factory=lambda: np.ones(len(ELECTRODES), bool))

    @property
    def num_seconds(self) -> int:
        return len(self.tiles_SCR)

    def tiles(self, start_second: int, stop_second: int) -> NDArray[np.int16]:
        assert 0 <= start_second < stop_second <= self.num_seconds
        return self.tiles_SCR[start_second:stop_second]


@dataclass(frozen=True)
class FakeCache:
    splits: dict[str, tuple[FakeRecording, ...]]

    def split(self, name: str) -> tuple[FakeRecording, ...]:
        return self.splits.get(name, ())


MakeRecording = Callable[..., FakeRecording]


def make(
    recording_id: str = "aaa_s001_t000",
    *,
    patient: str = "aaa",
    duration_s: float = 60.0,
    seizures: Sequence[tuple[float, float]] = (),
    seed: int = 0,
) -> FakeRecording:
    generator = np.random.default_rng(seed)
    shape = (count_seconds(duration_s), len(ELECTRODES), RATE_HZ)
    signal_SCR = generator.normal(0, 200, shape)  # 20 microvolts
    rhythm_R = 600 * np.sin(2 * np.pi * 8 * np.arange(RATE_HZ) / RATE_HZ)
    # Electrodes in turn, so that the rhythm survives the bipolar montage.
    rhythm_CR = rhythm_R * np.where(np.arange(len(ELECTRODES)) % 2, 1.0, -1.0)[:, None]
    for start_s, stop_s in seizures:
        signal_SCR[round(start_s) : round(stop_s)] += rhythm_CR
    return FakeRecording(
        recording_id,
        patient,
        duration_s,
        tuple(Event(start_s, stop_s) for start_s, stop_s in seizures),
        np.rint(signal_SCR).astype(np.int16),
    )


def small() -> FakeCache:
    """Two patients in each split, four recordings each, half of them with a seizure."""
    splits = {}
    for number, split in enumerate(("train", "dev", "eval")):
        splits[split] = tuple(
            make(
                f"{split}{patient}_{index}",
                patient=f"{split}{patient}",
                duration_s=150.5,
                seizures=[(40.0 + 5 * index, 80.0 + 5 * index)] if index % 2 else [],
                seed=100 * number + 10 * patient + index,
            )
            for patient in range(2)
            for index in range(4)
        )
    return FakeCache(splits)
