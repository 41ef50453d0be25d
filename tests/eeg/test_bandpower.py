"""Band powers: the right power in the right band, for every second."""

# Shapes: C channels, T samples, N segments, B bands

import numpy as np
import pytest

from bgb.eeg.bandpower import BANDS_HZ, band_power

RATE_HZ = 256
BANDS = tuple(BANDS_HZ)


def _sine(frequency_hz: float, amplitude_uv: float, duration_s: float) -> np.ndarray:
    time_T = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    return amplitude_uv * np.sin(2 * np.pi * frequency_hz * time_T)[None]


def _by_band(signals_CT: np.ndarray, **options: int) -> np.ndarray:
    features_NF = band_power(signals_CT, RATE_HZ, **options)
    return features_NF.reshape(len(features_NF), len(signals_CT), len(BANDS))


@pytest.mark.parametrize(
    ("band", "frequency_hz"),
    [("delta", 2.0), ("theta", 6.0), ("alpha", 10.0), ("beta", 20.0), ("gamma", 40.0)],
)
def test_power_of_a_sine_is_in_its_band_alone(band: str, frequency_hz: float) -> None:
    power_NCB = 10 ** _by_band(_sine(frequency_hz, 20.0, 8))
    place = BANDS.index(band)
    np.testing.assert_allclose(power_NCB[:, 0, place], 20.0**2 / 2, rtol=1e-3)
    assert np.delete(power_NCB, place, axis=2).max() < 0.02


def test_powers_add_up_to_the_variance_of_noise_below_the_last_band() -> None:
    spectrum_CF = np.fft.rfft(np.random.default_rng(0).normal(0, 30, (3, 120 * RATE_HZ)))
    spectrum_CF[:, : 120 * 1] = spectrum_CF[:, 120 * 50 :] = 0  # leaves 1 to 50 Hz
    noise_CT = np.fft.irfft(spectrum_CF)
    power_NCB = 10 ** _by_band(noise_CT)
    np.testing.assert_allclose(power_NCB.sum(axis=2).mean(axis=0), noise_CT.var(axis=1), rtol=0.04)


def test_features_are_ordered_by_channel_then_band() -> None:
    signals_CT = np.concatenate([_sine(2.0, 10.0, 4), _sine(20.0, 10.0, 4)])
    features_NF = band_power(signals_CT, RATE_HZ)
    assert features_NF.shape == (2, 10)
    assert features_NF.dtype == np.float32
    assert features_NF[0].argsort()[-2:].tolist() in ([0, 8], [8, 0])


@pytest.mark.parametrize(
    ("duration_s", "segments"), [(4, 2), (5, 3), (4.5, 3), (1, 1), (0.25, 1), (0.004, 1)]
)
def test_every_second_has_a_segment(duration_s: float, segments: int) -> None:
    features_NF = band_power(_sine(10.0, 20.0, duration_s), RATE_HZ)
    assert features_NF.shape == (segments, len(BANDS))
    assert np.isfinite(features_NF).all()


def test_tail_is_reflected_so_that_its_power_is_that_of_the_signal() -> None:
    rng = np.random.default_rng(0)
    whole_NF = band_power(rng.normal(0, 20, (1, 5 * RATE_HZ)), RATE_HZ)
    assert np.abs(whole_NF[-1] - whole_NF[0]).max() < 0.7  # zeros would halve it, silence end it


def test_offset_of_the_amplifier_does_not_reach_delta() -> None:
    signals_CT = _sine(10.0, 20.0, 4)
    np.testing.assert_allclose(
        band_power(signals_CT + 3000.0, RATE_HZ), band_power(signals_CT, RATE_HZ), atol=1e-2
    )


def test_flat_channel_is_finite_and_below_any_signal() -> None:
    flat_NF = band_power(np.zeros((1, 4 * RATE_HZ)), RATE_HZ)
    np.testing.assert_allclose(flat_NF, -2.0, atol=1e-6)


def test_length_of_a_segment_can_be_chosen() -> None:
    assert len(band_power(_sine(10.0, 1.0, 12), RATE_HZ, segment_s=4)) == 3
