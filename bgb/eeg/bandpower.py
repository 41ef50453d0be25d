"""Log band powers of short segments: the features of the baseline that a detector must beat.

Plain on purpose: a Hann window and one real FFT a segment. Every second belongs to a segment; the
last one, where the recording ends within it, is filled up by reflection.
"""

# Shapes: C channels, T samples, N segments, L samples of a segment, F frequencies, B bands

import numpy as np
from numpy.typing import NDArray

BANDS_HZ: dict[str, tuple[float, float]] = {
    "delta": (0.5, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 55.0),  # below the mains at 60 Hz
}
_FLOOR_UV2 = 1e-2  # square of the 0.1 microvolt step of the cache: a flat channel stays finite


def band_power(
    signals_CT: NDArray[np.floating], rate_hz: int, *, segment_s: int = 2
) -> NDArray[np.float32]:
    """Return log10 of the power in each of `BANDS_HZ` (microvolts squared), per segment.

    Segment n covers the seconds [n * segment_s, (n + 1) * segment_s).

    Returns
    -------
    float32 (N, C * B), channel by channel, bands in the order of `BANDS_HZ`;
    N = ceil(T / (rate_hz * segment_s)).
    """
    segments_NCL = _segments(signals_CT, rate_hz * segment_s)
    length = segments_NCL.shape[2]
    window_L = np.hanning(length + 1)[:-1].astype(np.float32)
    centred_NCL = segments_NCL - segments_NCL.mean(axis=2, keepdims=True)
    spectrum_NCF = np.fft.rfft(centred_NCL * window_L, axis=2)
    # One-sided; divided so that the sum over all frequencies is the variance (Welch 1967).
    power_NCF = np.abs(spectrum_NCF) ** 2 * (2 / (length * np.sum(window_L**2)))
    power_NCB = power_NCF @ _band_members(length, rate_hz)
    features_NCB: NDArray[np.float32] = np.log10(power_NCB + _FLOOR_UV2).astype(np.float32)
    return features_NCB.reshape(len(features_NCB), -1)


def _segments(signals_CT: NDArray[np.floating], length: int) -> NDArray[np.float32]:
    """Cut the signals into whole segments (N, C, L), reflecting the end."""
    num_channels, num_samples = signals_CT.shape
    num_segments = -(-num_samples // length)
    lacking = num_segments * length - num_samples
    padded_CT = np.pad(signals_CT, ((0, 0), (0, lacking)), mode="reflect")
    segments_CNL = padded_CT.reshape(num_channels, num_segments, length)
    return segments_CNL.transpose(1, 0, 2).astype(np.float32)


def _band_members(length: int, rate_hz: int) -> NDArray[np.float32]:
    """Return 1 where a frequency belongs to a band (F, B); bands are half-open."""
    frequencies_F = np.fft.rfftfreq(length, 1 / rate_hz)
    inside = [(low <= frequencies_F) & (frequencies_F < high) for low, high in BANDS_HZ.values()]
    return np.stack(inside, axis=1).astype(np.float32)
