"""The EEG between seizures: cortical noise, rhythms that follow vigilance, and the recording chain.

Sources have a place and reach all electrodes through volume conduction. Gains move between four
states (eyes open, eyes closed, drowsy, asleep), so that power alone says little at any second.
"""

# Shapes: C channels, S sources, T samples, N seconds, V states of vigilance

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bgb.corpora.synthetic.noise import (
    Floats,
    Spectrum,
    around,
    coloured_noise,
    one_over_f,
    slow_noise,
    stretch,
)
from bgb.corpora.synthetic.patient import Patient, draw_site
from bgb.corpora.synthetic.scalp import ELECTRODE_NAMES, POSITIONS, field, mix

_NUM_CORTICAL = 12
_MAINS_HZ = 60.0
# Gain of each rhythm in the states: eyes open, eyes closed, drowsy, asleep.
_GAINS = {
    "alpha": (0.25, 1.0, 0.5, 0.1),
    "beta": (1.0, 0.8, 0.9, 0.4),
    "theta": (0.3, 0.4, 1.1, 0.7),
    "delta": (0.2, 0.2, 0.5, 1.4),
}
AWAKE = (1.0, 0.6, 0.15, 0.0)  # gain of blinks and muscle in the same states
ASLEEP = (0.0, 0.0, 0.1, 1.0)


def draw_vigilance(rng: np.random.Generator, patient: Patient, duration_s: int) -> Floats:
    """Draw the share of each state in every second, (N, V); states last 20 s to 2 min."""
    sleepy = patient.sleepiness
    chances = np.array([1 - sleepy, 1 - sleepy, sleepy, sleepy]) / 2
    states: list[int] = []
    while len(states) < duration_s + 4:
        states += [int(rng.choice(4, p=chances))] * int(rng.integers(20, 120))
    hard_NV = np.eye(4)[states[: duration_s + 4]]
    smooth_NV = np.stack([np.convolve(hard_V, np.ones(5) / 5, "valid") for hard_V in hard_NV.T])
    return smooth_NV.T.astype(np.float32)


def draw_background(
    rng: np.random.Generator, patient: Patient, vigilance_NV: Floats, rate_hz: int
) -> Floats:
    """Return the ongoing activity of every electrode (C, T) in microvolts."""
    num_samples = vigilance_NV.shape[0] * rate_hz
    signals_CT = _cortex(rng, patient, num_samples, rate_hz)
    for name, spectrum, uv, places in _rhythms(rng, patient):
        gain_T = stretch(vigilance_NV @ np.array(_GAINS[name]), num_samples, rate_hz)
        sources_ST = coloured_noise(rng, len(places), num_samples, rate_hz, spectrum)
        for source_T in sources_ST:
            source_T *= uv * gain_T * _waxing(rng, num_samples, rate_hz, depth=0.5)
        signals_CT += mix(np.stack([field(place, patient.blur) for place in places]), sources_ST)
    return signals_CT


def add_recording_chain(
    rng: np.random.Generator, patient: Patient, signals_CT: Floats, rate_hz: int
) -> None:
    """Add, in place, what electrodes and amplifier add: own noise, slow drift, mains."""
    num_channels, num_samples = signals_CT.shape
    noise_CT: Floats = rng.standard_normal((num_channels, num_samples), np.float32)
    noise_CT *= rng.uniform(1.5, 3.0)
    signals_CT += noise_CT
    time_T = np.arange(num_samples) / rate_hz
    mains_T = np.sin(2 * np.pi * _MAINS_HZ * time_T + rng.uniform(0, 6.28)).astype(np.float32)
    mains_T *= _waxing(rng, num_samples, rate_hz, depth=0.3)
    for signal_T in signals_CT:
        coupling_uv = np.float32(min(rng.exponential(patient.mains_uv), 25.0))
        drift_T = slow_noise(rng, num_samples, rate_hz, every_s=5)
        signal_T += coupling_uv * mains_T + np.float32(rng.uniform(2, 9)) * drift_T


def refer(rng: np.random.Generator, signals_CT: Floats, rate_hz: int, *, linked_ears: bool) -> None:
    """Subtract the reference, in place: both ears (LE) or an electrode near the vertex (REF)."""
    if linked_ears:
        ears = [ELECTRODE_NAMES.index("A1"), ELECTRODE_NAMES.index("A2")]
        signals_CT -= signals_CT[ears].mean(axis=0)
    else:
        spectrum = one_over_f(1.5)
        signals_CT -= 5 * coloured_noise(rng, 1, signals_CT.shape[1], rate_hz, spectrum)


def _cortex(rng: np.random.Generator, patient: Patient, num_samples: int, rate_hz: int) -> Floats:
    """Return spatially correlated 1/f noise whose sources wax and wane apart."""
    sources_ST = coloured_noise(
        rng, _NUM_CORTICAL, num_samples, rate_hz, one_over_f(patient.exponent)
    )
    for source_T in sources_ST:
        source_T *= _waxing(rng, num_samples, rate_hz, depth=0.35)
    fields_SC = np.stack([field(draw_site(rng), patient.blur) for _ in range(_NUM_CORTICAL)])
    fields_SC /= np.sqrt(np.mean(np.sum(fields_SC**2, axis=0)))
    return mix(fields_SC, sources_ST * np.float32(patient.background_uv))


def _rhythms(
    rng: np.random.Generator, patient: Patient
) -> Sequence[tuple[str, Spectrum, float, list[tuple[float, float]]]]:
    """List (name, spectrum, microvolts, places) of the rhythms of a patient."""
    posterior = [POSITIONS[name] for name in ("O1", "O2", "PZ")]
    frontal = [POSITIONS[name] for name in ("F3", "F4")]
    anywhere = [draw_site(rng) for _ in range(3)]
    return (
        ("alpha", around(patient.alpha_hz, 0.6), patient.alpha_uv, posterior),
        ("beta", around(20.0, 4.0), patient.beta_uv, frontal),
        ("theta", around(5.5, 1.2), patient.slowing_uv, anywhere),
        ("delta", around(1.5, 1.0), 1.4 * patient.slowing_uv, frontal + anywhere[:1]),
    )


def _waxing(
    rng: np.random.Generator, num_samples: int, rate_hz: int, *, depth: float
) -> NDArray[np.float32]:
    """Return a log-normal gain that changes within seconds, near 1 on average."""
    wave_T = slow_noise(rng, num_samples, rate_hz, every_s=2.5)
    gain_T: NDArray[np.float32] = np.exp(np.float32(depth) * wave_T - np.float32(depth**2 / 2))
    return gain_T
