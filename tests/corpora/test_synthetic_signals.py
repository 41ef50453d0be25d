"""What a detector has to learn: seizures evolve, mimics of the same power do not."""

# Shapes: C channels, T samples

import numpy as np
import pytest

from bgb.corpora.synthetic.artefacts import MIMICS, draw_mimic
from bgb.corpora.synthetic.discharges import draw_waveform, mimic, seizure
from bgb.corpora.synthetic.noise import between, coloured_noise
from bgb.corpora.synthetic.patient import draw_patient
from bgb.corpora.synthetic.scalp import ELECTRODE_NAMES, SITES_C2

RATE_HZ = 250
NUM_SAMPLES = 40 * RATE_HZ
PATIENTS = [draw_patient(0, 0, number) for number in range(8)]


def _frequency_hz(signals_CT: np.ndarray) -> float:
    """Return the frequency of the strongest rhythm, over all channels."""
    power_F = (np.abs(np.fft.rfft(signals_CT, axis=1)) ** 2).sum(axis=0)
    return float(np.fft.rfftfreq(signals_CT.shape[1], 1 / RATE_HZ)[power_F.argmax()])


def _centre(signals_CT: np.ndarray) -> np.ndarray:
    power_C = signals_CT.var(axis=1)
    return power_C @ SITES_C2 / power_C.sum()


def _ends(signals_CT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    eighth = signals_CT.shape[1] // 8
    return signals_CT[:, eighth : 2 * eighth], signals_CT[:, -2 * eighth :]


@pytest.mark.parametrize("number", range(8))
def test_seizure_slows_builds_up_and_spreads(number: int) -> None:
    rng = np.random.default_rng(number)
    discharge = seizure(rng, PATIENTS[number])
    first_CT, last_CT = _ends(draw_waveform(rng, discharge, NUM_SAMPLES, RATE_HZ))
    assert _frequency_hz(first_CT) > 1.3 * _frequency_hz(last_CT)
    reached = [(s.std(axis=1) > 0.25 * s.std(axis=1).max()).sum() for s in (first_CT, last_CT)]
    assert reached[1] >= reached[0]
    assert first_CT.std() < last_CT.std()


@pytest.mark.parametrize("number", range(8))
def test_mimic_stays_at_its_frequency_and_place(number: int) -> None:
    rng = np.random.default_rng(number)
    discharge = mimic(rng, PATIENTS[number], (0.4, 0.2))
    first_CT, last_CT = _ends(draw_waveform(rng, discharge, NUM_SAMPLES, RATE_HZ))
    assert _frequency_hz(first_CT) == pytest.approx(_frequency_hz(last_CT), rel=0.1)
    np.testing.assert_allclose(_centre(first_CT), _centre(last_CT), atol=0.02)


def test_mimics_are_as_strong_as_seizures() -> None:
    rng = np.random.default_rng(0)
    strength: dict[str, list[float]] = {"seizure": [], "mimic": []}
    for patient in PATIENTS * 3:
        for name, discharge in (
            ("seizure", seizure(rng, patient)),
            ("mimic", mimic(rng, patient, (0.4, 0.2))),
        ):
            wave_CT = draw_waveform(rng, discharge, NUM_SAMPLES, RATE_HZ)
            strength[name].append(wave_CT.std(axis=1).max())
    assert np.median(strength["mimic"]) == pytest.approx(np.median(strength["seizure"]), rel=0.35)


@pytest.mark.parametrize("kind", MIMICS)
def test_every_mimic_is_finite_and_of_the_length_asked_for(kind: str) -> None:
    wave_CT = draw_mimic(np.random.default_rng(0), PATIENTS[0], kind, 8 * RATE_HZ, RATE_HZ)
    assert wave_CT.shape == (len(ELECTRODE_NAMES), 8 * RATE_HZ)
    assert wave_CT.dtype == np.float32
    assert np.isfinite(wave_CT).all()
    assert 1 < np.abs(wave_CT).max() < 1000


def test_long_seizure_runs_through_its_course_again() -> None:
    rng = np.random.default_rng(0)
    wave_CT = draw_waveform(rng, seizure(rng, PATIENTS[0]), 150 * RATE_HZ, RATE_HZ)
    bout = 75 * RATE_HZ
    first, again = (_frequency_hz(wave_CT[:, a : a + 10 * RATE_HZ]) for a in (0, bout))
    assert first == pytest.approx(again, rel=0.2)


def test_coloured_noise_has_unit_variance_in_its_band_alone() -> None:
    noise_ST = coloured_noise(np.random.default_rng(0), 3, 60_007, RATE_HZ, between(8, 13))
    np.testing.assert_allclose(noise_ST.std(axis=1), 1, atol=0.1)
    power_F = (np.abs(np.fft.rfft(noise_ST, axis=1)) ** 2).sum(axis=0)
    frequencies_F = np.fft.rfftfreq(60_007, 1 / RATE_HZ)
    assert power_F[(frequencies_F > 7.5) & (frequencies_F < 13.5)].sum() > 0.99 * power_F.sum()
