"""What preprocessing does: one zero-phase filter, which resamples, passes a band and notches.

The method: a recording is extended at both ends by odd reflection and convolved with one even
kernel. Its gain is that of a Butterworth band-pass of order 4 and of a notch, both run forwards and
backwards; where the rate changes, it ends below half the lower rate. `bgb.eeg.filters` does so by
FFT in blocks that overlap (overlap-save), which leaves no seams, because the kernel has died away
after `_PERIODS` of its slowest part, and lets 24 hours take no more memory than a few minutes.
"""

# Shapes: F frequencies

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, lcm

import numpy as np
from numpy.typing import NDArray

from bgb.config.data import PreprocessConfig
from bgb.errors import EdfError

BAND_PASS_ORDER = 4  # of the Butterworth prototype: 4 sections, run forwards and backwards
NOTCH_QUALITY = 30.0  # notch width at -3 dB: notch_hz / 30, that is 2 Hz at 60 Hz
TAPER = 0.1  # of half the lower rate: a change of rate fades out over the last tenth (Hann)
# Overlap of blocks and extension of ends, in periods of the slowest part of the kernel (12 s at
# 0.5 Hz). What lies beyond is 5e-7 of the kernel: 0.0005 uV of a drift by 1 mV.
_PERIODS = 6
_BLOCK_SAMPLES = 3 << 14  # at the configured rate (192 s): four channels fit the cache of a core
_LARGEST_OVERLAP = 0.1  # of a block: blocks are longer where the kernel is
_LARGEST_FACTOR = 10_000  # of a resampling ratio


@dataclass(frozen=True, eq=False)
class FilterPlan:
    """How a recording of a certain length is filtered.

    Attributes
    ----------
    num_samples, length : samples before and after.
    block_in, block_out : samples of a block, before and after; their ratio is that of the rates.
    overlap_in, overlap_out : how much of each end of a block is discarded.
    gain_F : at the frequencies of a block up to half the lower rate, times block_out / block_in.
    """

    num_samples: int
    length: int
    block_in: int
    block_out: int
    overlap_in: int
    overlap_out: int
    gain_F: NDArray[np.float32]

    @property
    def hop_in(self) -> int:
        return self.block_in - 2 * self.overlap_in

    @property
    def hop_out(self) -> int:
        """Samples that a block yields: whole seconds."""
        return self.block_out - 2 * self.overlap_out


def plan_filter(
    num_samples: int,
    rate_hz: float,
    config: PreprocessConfig,
    *,
    unit_uv: float = 1.0,
    live: bool = False,
) -> FilterPlan:
    """Divide a recording into blocks of equal length, each about as long as a core's cache holds.

    Parameters
    ----------
    unit_uv : of what comes out, in microvolts.
    live : blocks yield as little as they can (a second at whole rates), to be done soon.

    Raises
    ------
    EdfError : no samples, or a rate without a usable ratio to `config.rate_hz`.
    """
    length, up, down = _resampling(num_samples, rate_hz, config.rate_hz)
    lower_hz = min(rate_hz, config.rate_hz)
    step = lcm(up, config.rate_hz)  # a whole second, and a whole number of source samples
    overlap = step * ceil(_PERIODS / _slowest_hz(config, lower_hz) * config.rate_hz / step)
    longest = max(_BLOCK_SAMPLES, round(overlap / _LARGEST_OVERLAP))
    exact_length = Fraction(num_samples * up, down)
    num_blocks = ceil(exact_length / (longest - 2 * overlap))
    block = step * _fast_length(ceil((exact_length / num_blocks + 2 * overlap) / step))
    if live:
        block = step + 2 * overlap
    block_in, overlap_in = block // up * down, overlap // up * down
    gain_F = _block_gain(block, block_in, config) / np.float32(unit_uv)
    return FilterPlan(num_samples, length, block_in, block, overlap_in, overlap, gain_F)


@lru_cache(maxsize=32)  # lengths of recordings differ, but few lengths of blocks are fast
def _block_gain(block: int, block_in: int, config: PreprocessConfig) -> NDArray[np.float32]:
    """Return the gain at the frequencies of a block, and the ratio of its lengths in it."""
    frequency_hz = np.arange(min(block, block_in) // 2 + 1, dtype=np.float64)
    frequency_hz *= config.rate_hz / block
    gain_F = gain(frequency_hz, config) * (block / block_in)
    if block != block_in:
        gain_F *= taper(frequency_hz, config.rate_hz * min(1, block_in / block))
    return gain_F.astype(np.float32)


def gain(frequency_hz: NDArray[np.float64], config: PreprocessConfig) -> NDArray[np.float64]:
    """Return the gain of band-pass and notch, both run twice: the bilinear transform, squared.

    Oppenheim and Schafer, Discrete-Time Signal Processing, 7.2 (bilinear Butterworth); the notch
    is scipy's iirnotch.
    """
    high, low = np.tan(np.pi * np.array([config.highpass_hz, config.lowpass_hz]) / config.rate_hz)
    angle_F = 2 * np.pi * frequency_hz / config.rate_hz
    with np.errstate(divide="ignore"):  # no gain at 0 Hz, where this is infinite
        warped_F = np.tan(angle_F / 2)
        distance_F = (warped_F**2 - high * low) / ((low - high) * warped_F)
    gain_F: NDArray[np.float64] = 1 / (1 + distance_F ** (2 * BAND_PASS_ORDER))
    if config.notch_hz is not None:
        notch = 2 * np.pi * config.notch_hz / config.rate_hz
        zero_F = (np.cos(angle_F) - np.cos(notch)) ** 2
        gain_F *= zero_F / (zero_F + (np.tan(notch / NOTCH_QUALITY / 2) * np.sin(angle_F)) ** 2)
    return gain_F


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


def _slowest_hz(config: PreprocessConfig, lower_hz: float) -> float:
    """Return the width of the narrowest edge of the gain, by which its kernel dies away."""
    edges_hz = [config.highpass_hz, (config.lowpass_hz - config.highpass_hz) / 2]
    if config.notch_hz is not None:
        edges_hz.append(config.notch_hz / NOTCH_QUALITY)
    return min(*edges_hz, TAPER * lower_hz / 2)


def taper(frequency_hz: NDArray[np.floating], lower_hz: float) -> NDArray[np.float64]:
    """Return 1 up to the last tenth below half the lower rate, then half a Hann window, then 0."""
    part_F = (1 - frequency_hz / (lower_hz / 2)) / TAPER
    faded_F: NDArray[np.float64] = np.sin(np.pi / 2 * np.clip(part_F, 0, 1)) ** 2
    return faded_F


def _fast_length(number: int) -> int:
    """Return the next number that has no prime factor above 5."""
    while True:
        rest = number
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return number
        number += 1
