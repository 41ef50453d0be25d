"""Patients: the traits that make two recordings of one person alike and of two persons differ.

Every trait is drawn from (corpus seed, split, patient number) alone, so adding a patient changes
no other. Seizures of one patient resemble each other (kind, focus, course), as in the clinic.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bgb.corpora.synthetic.scalp import ELECTRODE_NAMES, POSITIONS

SeizureKind = Literal["focal", "fast", "generalised"]
# Temporal and frontal mostly; occipital seizures are rare and would need more patients to learn.
_FOCI = ("F7", "F8", "T3", "T4", "T5", "T6", "F3", "F4", "C3", "C4", "P3", "P4")
_KINDS: tuple[SeizureKind, ...] = ("focal", "fast", "generalised")
_COURSES_HZ: dict[SeizureKind, tuple[tuple[float, float], tuple[float, float]]] = {
    "focal": ((5.0, 8.5), (1.8, 3.0)),
    "fast": ((10.0, 14.0), (3.5, 5.5)),
    "generalised": ((3.6, 4.6), (1.8, 2.4)),
}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Patient:
    """One synthetic person. Frequencies in Hz, amplitudes in microvolts (standard deviation)."""

    name: str
    background_uv: float
    exponent: float  # of the 1/f power spectrum
    blur: float  # width of a cortical source on the scalp, ear radius = 1
    alpha_hz: float
    alpha_uv: float
    beta_uv: float
    slowing_uv: float  # polymorphic theta and delta
    muscle_uv: float
    mains_uv: float
    blinks_per_minute: float
    sleepiness: float  # 0 awake .. 1 asleep most of the time
    kind: SeizureKind
    focus: str
    seizure_uv: float
    course_hz: tuple[float, float]  # frequency at onset and at the end of a seizure
    order: int  # of the channels in the header: 0 as usual, else the seed of another one


def draw_patient(seed: int, split: int, number: int) -> Patient:
    """Draw the patient `number` of a split; a pure function of its arguments."""
    rng = np.random.default_rng([seed, 101, split, number])
    kind = _KINDS[number % len(_KINDS)]
    start, stop = _COURSES_HZ[kind]
    background_uv = rng.uniform(13, 22)
    return Patient(
        name=_name(seed, split, number),
        background_uv=background_uv,
        exponent=rng.uniform(1.3, 2.0),
        blur=rng.uniform(0.35, 0.55),
        alpha_hz=rng.uniform(8.2, 11.5),
        alpha_uv=rng.uniform(6, 26),
        beta_uv=rng.uniform(1.5, 6),
        slowing_uv=rng.uniform(6, 18),
        muscle_uv=rng.uniform(8, 30),
        mains_uv=rng.exponential(3.0),
        blinks_per_minute=rng.uniform(4, 18),
        sleepiness=rng.uniform(0, 0.8),
        kind=kind,
        focus=_focus(seed, split, number) if kind != "generalised" else "FZ",
        seizure_uv=background_uv * rng.uniform(2.0, 2.7),
        course_hz=(rng.uniform(*start), rng.uniform(*stop)),
        order=int(rng.integers(1, 2**31)) * int(rng.random() < 0.4),
    )


def draw_site(rng: np.random.Generator) -> tuple[float, float]:
    """Draw a place on the scalp: an electrode, moved a little."""
    right, front = POSITIONS[str(rng.choice(ELECTRODE_NAMES[:19]))]
    return right + rng.normal(0, 0.1), front + rng.normal(0, 0.1)


def _focus(seed: int, split: int, number: int) -> str:
    """Return a focus such that the first patients of a split cover the scalp."""
    order = np.random.default_rng([seed, 102, split]).permutation(_FOCI)
    return str(order[number % len(_FOCI)])


def _name(seed: int, split: int, number: int) -> str:
    """Return eight lower-case letters starting `aaaaa`, unique for 5000 patients a split."""
    code = (2000 + seed % 500 + split * 5000 + number) % 26**3
    return "aaaaa" + _LETTERS[code // 676] + _LETTERS[code // 26 % 26] + _LETTERS[code % 26]
