"""Preprocessing of a whole recording, in memory or as it is read; `bgb.eeg.filter_plan` says how.

Filtering happens once, before windows are cut (lessons 13 and 80: windows filtered one by one carry
a transient at every edge). `preprocess_reference` is the method in plain scipy and float64.
"""

# Shapes: C channels, G channels at once, T samples at the source's rate, R at the configured rate,
#         B samples of a block at the source's rate, F frequencies

from collections.abc import Callable, Iterator, Sequence
from math import gcd

import numpy as np
from numpy.typing import NDArray

from bgb.config.data import PreprocessConfig
from bgb.eeg.filter_plan import BAND_PASS_ORDER, NOTCH_QUALITY, FilterPlan, plan_filter, taper
from bgb.errors import EdfError

_CHANNELS_AT_ONCE = 4  # pocketfft transforms as many in one SIMD register, and a fifth alone

Read = Callable[[NDArray[np.float32]], object]  # fills (C, n) with the next n samples


def preprocess(
    signals_CT: NDArray[np.float32], rate_hz: float, config: PreprocessConfig
) -> NDArray[np.float32]:
    """Resample to `config.rate_hz`, band-pass and notch; return (C, R) microvolts, no time shift.

    R is `round(T / rate_hz * config.rate_hz)`.

    Raises
    ------
    EdfError : no samples, samples that are not finite, or a rate without a usable ratio to
        `config.rate_hz`.
    """
    check_finite(signals_CT)
    plan = plan_filter(signals_CT.shape[1], rate_hz, config)
    filtered_CR = np.empty((len(signals_CT), plan.length), np.float32)
    for start, first, piece_GR in filter_blocks(reader(signals_CT), len(signals_CT), plan):
        stop = start + piece_GR.shape[1]
        filtered_CR[first : first + len(piece_GR), start:stop] = piece_GR
    return filtered_CR


def preprocess_reference(
    signals_CT: NDArray[np.float32], rate_hz: float, config: PreprocessConfig
) -> NDArray[np.float64]:
    """Do the same in plain scipy, in float64 and all at once: the definition of `preprocess`."""
    from scipy.signal import butter, filtfilt, iirnotch, resample, sosfiltfilt

    plan = plan_filter(signals_CT.shape[1], rate_hz, config)
    down = plan.block_in // gcd(plan.block_in, plan.block_out)
    surplus = -(signals_CT.shape[1] + 2 * plan.overlap_in) % down  # to a whole number of samples
    widths = (0, 0), (plan.overlap_in, plan.overlap_in + surplus)
    signals_CR = np.pad(signals_CT.astype(np.float64), widths, "reflect", reflect_type="odd")
    signals_CR -= np.linspace(signals_CR[:, 0], signals_CR[:, -1], signals_CR.shape[1], axis=1)
    if plan.block_in != plan.block_out:
        length = signals_CR.shape[1] * plan.block_out // plan.block_in
        lower_hz = min(rate_hz, config.rate_hz)
        signals_CR = resample(
            signals_CR, length, axis=-1, window=lambda part: taper(abs(part) * rate_hz, lower_hz)
        )
    band_hz = (config.highpass_hz, config.lowpass_hz)
    sections = butter(BAND_PASS_ORDER, band_hz, "bandpass", fs=config.rate_hz, output="sos")
    signals_CR = sosfiltfilt(sections, signals_CR, padtype=None)
    if config.notch_hz is not None:
        numerator, denominator = iirnotch(config.notch_hz, NOTCH_QUALITY, config.rate_hz)
        signals_CR = filtfilt(numerator, denominator, signals_CR, padtype=None)
    return signals_CR[:, plan.overlap_out : plan.overlap_out + plan.length]


def check_finite(signals_CT: NDArray[np.float32]) -> None:
    """Refuse samples that are not finite."""
    if not np.isfinite(signals_CT).all():
        channels = np.flatnonzero(~np.isfinite(signals_CT).all(axis=1)).tolist()
        raise EdfError(
            f"channels {channels} (counted from 0) hold samples that are not finite; one of them "
            "would spread over the whole recording: repair or drop the channels"
        )


def reader(signals_CT: NDArray[np.float32], rows: Sequence[int] | None = None) -> Read:
    """Return a function that reads signals in memory, or some of them, from beginning to end."""
    chosen, position = range(len(signals_CT)) if rows is None else rows, 0

    def read(out_CT: NDArray[np.float32]) -> None:
        nonlocal position
        stop = position + out_CT.shape[1]
        for out_T, row in zip(out_CT, chosen, strict=True):
            out_T[:] = signals_CT[row, position:stop]
        position = stop

    return read


def filter_blocks(
    read: Read, num_channels: int, plan: FilterPlan
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Yield the filtered recording in pieces: block by block, and in a block some channels at once.

    `read` is asked for every sample once, from beginning to end.

    Yields
    ------
    start, first, piece_GR : the piece begins at sample `start` of channel `first`; it may be
        written to. Blocks but the last have `plan.hop_out` samples.
    """
    blocks = BlockFilter(num_channels, plan)
    while not blocks.is_done:
        yield from blocks.next(read)


class BlockFilter:
    """Filters a recording block by block, as its samples come.

    Attributes
    ----------
    plan : once it is known when the recording ends, that of as many samples with the same blocks.
    """

    def __init__(self, num_channels: int, plan: FilterPlan) -> None:
        self.plan = plan
        self._convolve = _Convolution(plan)
        self._block_CB = np.zeros((num_channels, plan.block_in), np.float32)
        self._number = 0  # of the next block
        self._num_read = 0

    @property
    def is_done(self) -> bool:
        return self._number * self.plan.hop_out >= self.plan.length

    @property
    def num_wanted(self) -> int:
        """Samples that the next block reads."""
        stop = self._start + self.plan.block_in
        return max(0, min(stop, self.plan.num_samples) - self._num_read)

    @property
    def _start(self) -> int:
        """First source sample of the next block, which lies in the overlap with the last."""
        return self._number * self.plan.hop_in - self.plan.overlap_in

    def next(self, read: Read) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
        """Yield the next block; see `filter_blocks`."""
        block_CB, start, plan = self._block_CB, self._start, self.plan
        if self._number:
            block_CB[:, : 2 * plan.overlap_in] = block_CB[:, -2 * plan.overlap_in :]
        if num_wanted := self.num_wanted:
            read(block_CB[:, self._num_read - start : self._num_read + num_wanted - start])
            self._num_read += num_wanted
        _extend(block_CB, start, plan)
        done = self._number * plan.hop_out
        self._number += 1
        for first in range(0, len(block_CB), _CHANNELS_AT_ONCE):
            piece_GR = self._convolve(block_CB[first : first + _CHANNELS_AT_ONCE])
            yield done, first, piece_GR[:, : plan.length - done]


def _extend(block_CB: NDArray[np.float32], start: int, plan: FilterPlan) -> None:
    """Extend a block by odd reflection where the recording begins or ends in it."""
    extension, stop = plan.overlap_in, plan.num_samples - start
    first = start == -extension  # later blocks carry the reflection on, if they reach into it
    if first and plan.num_samples <= extension:  # reflected more than once
        signal_CT = block_CB[:, extension:stop]
        # A line has no gain, but its reflections climb out of the digits of float32.
        signal_CT -= np.linspace(signal_CT[:, 0], signal_CT[:, -1], plan.num_samples, axis=1)
        widths = (0, 0), (extension, extension)
        block_CB[:, : stop + extension] = np.pad(signal_CT, widths, "reflect", reflect_type="odd")
        return
    if first:
        after_CB = block_CB[:, extension + 1 : 2 * extension + 1]
        np.subtract(2 * block_CB[:, extension, None], after_CB[:, ::-1], block_CB[:, :extension])
    surplus = min(plan.block_in - stop, extension)
    if surplus > 0:
        before_CB = block_CB[:, stop - 1 - surplus : stop - 1]
        last_C1 = block_CB[:, stop - 1, None]
        np.subtract(2 * last_C1, before_CB[:, ::-1], block_CB[:, stop : stop + surplus])
    block_CB[:, stop + surplus :] = block_CB[:, stop + surplus - 1, None]  # too far away to matter


class _Convolution:
    """Filters blocks, a few channels at a time, in memory that stays in the cache of the core."""

    def __init__(self, plan: FilterPlan) -> None:
        self._plan = plan
        self._gain_2F = np.repeat(plan.gain_F, 2)  # of real and of imaginary parts
        self._block_GB = np.zeros((_CHANNELS_AT_ONCE, plan.block_in), np.float32)
        self._spectrum_GF = np.zeros((_CHANNELS_AT_ONCE, plan.block_out // 2 + 1), np.complex64)

    def __call__(self, rows_GB: NDArray[np.float32]) -> NDArray[np.float32]:
        """Filter a few channels of a block and leave out its overlaps."""
        from scipy.fft import irfft, rfft  # 0.2 s to import

        plan, num_parts = self._plan, len(self._gain_2F)
        # DC has no gain, and costs no digits of float32 where it is left out.
        middle_G1 = (rows_GB[:, :1] + rows_GB[:, -1:]) / 2
        np.subtract(rows_GB, middle_G1, out=self._block_GB[: len(rows_GB)])
        source_G2F = rfft(self._block_GB).view(np.float32)[:, :num_parts]
        parts_G2F = self._spectrum_GF.view(np.float32)[:, :num_parts]
        np.multiply(source_G2F, self._gain_2F, out=parts_G2F)
        filtered_GB: NDArray[np.float32] = irfft(self._spectrum_GF, plan.block_out)
        inner = slice(plan.overlap_out, plan.overlap_out + plan.hop_out)
        return filtered_GB[: len(rows_GB), inner]
