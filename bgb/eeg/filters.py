"""Preprocessing of a whole recording: resample, Butterworth band-pass and notch, all zero phase.

Filtering happens once, before windows are cut (lessons 13 and 80: windows filtered one by one carry
a transient at every edge). Band-pass and notch run as one cascade in float64, channel by channel;
`preprocess_reference` is the plain form with which the tests prove it equal.
"""

# Shapes: C channels, T samples at the source's rate, R samples at the configured rate

from fractions import Fraction
from typing import cast

import numpy as np
from numpy.typing import NDArray

from bgb.config.data import PreprocessConfig
from bgb.errors import EdfError

BAND_PASS_ORDER = 4  # of the Butterworth prototype: 4 sections, run forwards and backwards
NOTCH_QUALITY = 30.0  # notch width at -3 dB: notch_hz / 30, that is 2 Hz at 60 Hz
# Each end is extended by odd reflection over this many periods of the high-pass edge (10 s at
# 0.5 Hz): both filters have settled there, so a cascade and two separate passes agree to 1e-4 uV.
# With the 27 samples that scipy extends by, they differ by 16 uV at the ends of a real recording.
_EXTENSION_PERIODS = 5
_LARGEST_FACTOR = 10_000  # of a resampling ratio; its filter has 20 taps a factor


def preprocess(
    signals_CT: NDArray[np.float32], rate_hz: float, config: PreprocessConfig
) -> NDArray[np.float32]:
    """Resample to `config.rate_hz`, band-pass and notch; return (C, R) microvolts, no time shift.

    R is `round(T / rate_hz * config.rate_hz)`. The filters work at the configured rate, whatever
    the source's: a source sampled below twice `lowpass_hz` has nothing up there, before or after.

    Raises
    ------
    EdfError : no samples, samples that are not finite, or a rate without a usable ratio to
        `config.rate_hz`.
    """
    from scipy.signal import sosfiltfilt  # 0.8 s to import

    _check_finite(signals_CT)
    length, up, down = _resampling(signals_CT.shape[1], rate_hz, config.rate_hz)
    band_pass, notch = _sections(config)
    cascade = np.concatenate([band_pass, notch])
    extension = _extension(config)
    filtered_CR = np.empty((len(signals_CT), length), np.float32)
    for signal_T, filtered_R in zip(signals_CT, filtered_CR, strict=True):
        signal_R = _resample(signal_T, up, down)[:length].astype(np.float64)
        extended = _extend(signal_R, extension)
        filtered_R[:] = sosfiltfilt(cascade, extended, padtype=None)[extension:-extension]
    return filtered_CR


def preprocess_reference(
    signals_CT: NDArray[np.float32], rate_hz: float, config: PreprocessConfig
) -> NDArray[np.float64]:
    """Do the same as `preprocess` in plain scipy and float64: the definition, for the tests."""
    from scipy.signal import filtfilt, iirnotch, resample_poly, sosfiltfilt

    length, up, down = _resampling(signals_CT.shape[1], rate_hz, config.rate_hz)
    signals_CR = signals_CT.astype(np.float64)
    if up != down:
        signals_CR -= signals_CR.mean(axis=-1, keepdims=True)
        signals_CR = resample_poly(signals_CR, up, down, axis=-1, padtype="line")[:, :length]
    extension = _extension(config)
    signals_CR = _extend(signals_CR, extension)
    signals_CR = sosfiltfilt(_sections(config)[0], signals_CR, padtype=None)
    if config.notch_hz is not None:
        numerator, denominator = iirnotch(config.notch_hz, NOTCH_QUALITY, config.rate_hz)
        signals_CR = filtfilt(numerator, denominator, signals_CR, padtype=None)
    return signals_CR[:, extension:-extension]


def _check_finite(signals_CT: NDArray[np.float32]) -> None:
    if not np.isfinite(signals_CT).all():
        channels = np.flatnonzero(~np.isfinite(signals_CT).all(axis=1)).tolist()
        raise EdfError(
            f"channels {channels} (counted from 0) hold samples that are not finite; one of them "
            "would spread over the whole recording: repair or drop the channels"
        )


def _resampling(num_samples: int, rate_hz: float, target_hz: int) -> tuple[int, int, int]:
    """Return the number of samples afterwards and the ratio up / down in lowest terms.

    A fractional rate is taken as the nearest fraction of small terms (249.9 Hz = 2499/10) as long
    as that moves no sample by more than a tenth of a sample.
    """
    if num_samples == 0 or not 0 < rate_hz < np.inf:
        raise EdfError(f"{num_samples} samples at {rate_hz} Hz are no signal to filter")
    length = round(num_samples / rate_hz * target_hz)
    if length == 0:
        raise EdfError(f"{num_samples} samples at {rate_hz} Hz do not fill one at {target_hz} Hz")
    ratio = target_hz / Fraction(rate_hz).limit_denominator(1000)
    drift = abs(float(ratio) * rate_hz / target_hz - 1) * length
    if drift > 0.1 or max(ratio.numerator, ratio.denominator) > _LARGEST_FACTOR:
        raise EdfError(
            f"{rate_hz} Hz has no usable ratio to {target_hz} Hz (nearest {ratio}, off by "
            f"{drift:.2f} samples at the end); set data.preprocess.rate_hz to a rate that has one, "
            "or export the recording at a whole rate"
        )
    return length, ratio.numerator, ratio.denominator


def _resample(signal_T: NDArray[np.float32], up: int, down: int) -> NDArray[np.float32]:
    """Resample by a polyphase filter, without the mean, which the band-pass removes anyway.

    The filter lets 0.07 % of an offset through as a tone (6 Hz from 250 to 256 Hz): 4 uV of 5 mV.
    """
    from scipy.signal import resample_poly

    if up == down:
        return signal_T
    centred_T = signal_T - signal_T.mean(dtype=np.float64).astype(np.float32)
    return cast(NDArray[np.float32], resample_poly(centred_T, up, down, padtype="line"))


def _sections(config: PreprocessConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the second-order sections of band-pass and notch (none without a notch)."""
    from scipy.signal import butter, iirnotch, tf2sos

    band_hz = (config.highpass_hz, config.lowpass_hz)
    band_pass = butter(BAND_PASS_ORDER, band_hz, "bandpass", fs=config.rate_hz, output="sos")
    if config.notch_hz is None:
        return band_pass, np.empty((0, 6))
    return band_pass, tf2sos(*iirnotch(config.notch_hz, NOTCH_QUALITY, config.rate_hz))


def _extension(config: PreprocessConfig) -> int:
    return int(np.ceil(_EXTENSION_PERIODS / config.highpass_hz * config.rate_hz))


def _extend(signals: NDArray[np.float64], extension: int) -> NDArray[np.float64]:
    """Extend the last axis at both ends by odd reflection, as often as a short signal needs."""
    widths = [(0, 0)] * (signals.ndim - 1) + [(extension, extension)]
    return np.pad(signals, widths, mode="reflect", reflect_type="odd")
