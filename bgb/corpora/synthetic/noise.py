"""Coloured noise by shaping a random spectrum, and the slow gains that make it wax and wane."""

# Shapes: S sources, T samples, F frequencies, N knots

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Floats64 = NDArray[np.float64]
Spectrum = Callable[[Floats64], Floats64]


def one_over_f(exponent: float, *, corner_hz: float = 0.5) -> Spectrum:
    """Return the amplitude spectrum of noise whose power falls as f**-exponent above the corner."""

    def spectrum(frequencies_F: Floats64) -> Floats64:
        amplitude_F: Floats64 = (frequencies_F**2 + corner_hz**2) ** (-exponent / 4)
        return amplitude_F

    return spectrum


def around(centre_hz: float, bandwidth_hz: float) -> Spectrum:
    """Return the amplitude spectrum of a rhythm: a Gaussian around its frequency."""

    def spectrum(frequencies_F: Floats64) -> Floats64:
        amplitude_F: Floats64 = np.exp(-(((frequencies_F - centre_hz) / bandwidth_hz) ** 2) / 2)
        return amplitude_F

    return spectrum


def between(low_hz: float, high_hz: float) -> Spectrum:
    """Return a flat amplitude spectrum between two frequencies."""

    def spectrum(frequencies_F: Floats64) -> Floats64:
        return ((frequencies_F >= low_hz) & (frequencies_F <= high_hz)).astype(np.float64)

    return spectrum


def coloured_noise(
    rng: np.random.Generator, num_sources: int, num_samples: int, rate_hz: int, spectrum: Spectrum
) -> Floats:
    """Draw independent Gaussian noise (S, T) of unit variance with the given amplitude spectrum."""
    from scipy import fft

    length = fft.next_fast_len(num_samples, real=True)
    amplitude_F = spectrum(np.fft.rfftfreq(length, 1 / rate_hz).astype(np.float64))
    amplitude_F[0] = 0.0
    amplitude_F *= length / (2 * np.sqrt(np.sum(amplitude_F**2)))
    parts = rng.standard_normal((num_sources, amplitude_F.size, 2), dtype=np.float32)
    spectrum_SF = parts.view(np.complex64)[..., 0] * amplitude_F.astype(np.float32)
    noise: Floats = fft.irfft(spectrum_SF, length, axis=1)[:, :num_samples]
    return noise


def slow_noise(
    rng: np.random.Generator, num_samples: int, rate_hz: int, *, every_s: float
) -> Floats:
    """Draw a unit normal at knots `every_s` apart and join them by straight lines: (T,)."""
    num_knots = int(num_samples / rate_hz / every_s) + 2
    return stretch(rng.standard_normal(num_knots), num_samples, rate_hz, every_s=every_s)


def stretch(
    values_N: NDArray[np.float64], num_samples: int, rate_hz: int, *, every_s: float = 1.0
) -> Floats:
    """Interpolate values known every `every_s` seconds to every sample."""
    knots = np.arange(values_N.size) * (every_s * rate_hz)
    return np.interp(np.arange(num_samples), knots, values_N).astype(np.float32)
