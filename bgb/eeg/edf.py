"""EDF signals to a Recording in microvolts: which channels are kept, and how they are scaled.

Kept is every channel that is a voltage at the rate of the EEG, so that an EKG may be looked at too;
`bgb.eeg.channels` then finds the electrodes by name. Digital values are scaled to float32 in one
pass (five times as fast as edfio's float64 `.data`), exactly as stored, even where they leave the
digital range that the header declares (CHB-MIT does).
"""

# Shapes: C channels, T samples

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bgb.eeg.channels import ChannelName, parse_label
from bgb.eeg.edf_header import open_edf
from bgb.eeg.recording import Recording
from bgb.errors import EdfError

if TYPE_CHECKING:
    from edfio import EdfSignal

_log = logging.getLogger(__name__)

MICROVOLTS = {"nv": 1e-3, "uv": 1.0, "microv": 1.0, "v": 1e6}  # by lower-case dimension, but mV
_MICRO_SIGNS = str.maketrans({"\xb5": "u", "\u03bc": "u", "\xe6": "u"})  # latin-1, Greek, cp437


@dataclass(frozen=True)
class _Channel:
    """One signal of the file, with what its header means."""

    signal: "EdfSignal"
    label: str
    name: ChannelName | None
    rate_hz: Fraction
    dimension: str
    unit_uv: float | None  # microvolts in one unit, None where it is no voltage
    scale: tuple[float, float] | None  # microvolts a digital step and at digital 0

    def __str__(self) -> str:
        return f"{self.label!r}"


def read_edf(path: str | Path) -> Recording:
    """Read an EDF or EDF+ file, local or by fsspec URL, without its events.

    A channel that cannot be scaled (physical or digital minimum equal to maximum) is left out with
    a remark, so that it counts as missing; a repeat of an EEG channel with identical samples too.
    Channels at another rate than the EEG, or that are no voltage, are left out.

    Raises
    ------
    EdfError : the file cannot be read without guessing: no EDF, no complete record, a gap between
        records, EEG channels in an unknown unit or at several rates, nothing left to read.
    """
    file = open_edf(path)
    channels = [_channel(signal, file.record_s) for signal in file.edf.signals]
    kept, left_out = _select(path, channels)
    kept, repeats = _without_repeats(kept)
    signals_CT, outside = _scale(kept, file.num_records)
    remarks = (*file.remarks, *left_out, *repeats, *outside)
    for remark in remarks:
        _log.warning("%s: %s", path, remark)
    return Recording(
        signals_CT=signals_CT,
        rate_hz=float(kept[0].rate_hz),
        channels=tuple(channel.label for channel in kept),
        events=(),
        duration_s=float(file.num_records * file.record_s),
        start=file.start,
        remarks=remarks,
    )


def _channel(signal: "EdfSignal", record_s: Fraction) -> _Channel:
    dimension = _dimension(signal.physical_dimension)
    unit_uv = 1e3 if dimension == "mV" else MICROVOLTS.get(dimension.lower())
    return _Channel(
        signal=signal,
        label=signal.label.strip(),
        name=parse_label(signal.label),
        rate_hz=signal.samples_per_data_record / record_s,
        dimension=dimension,
        unit_uv=unit_uv,
        scale=None if unit_uv is None else _gain_and_offset(signal, unit_uv),
    )


def _dimension(text: str) -> str:
    """Spell a physical dimension with `u` for micro, whichever bytes the recorder wrote."""
    stored = text.strip().encode("latin-1")
    try:
        text = stored.decode("utf-8")
    except UnicodeDecodeError:
        text = stored.decode("latin-1")
    return text.translate(_MICRO_SIGNS)


def _gain_and_offset(signal: "EdfSignal", unit_uv: float) -> tuple[float, float] | None:
    try:
        physical = (signal.physical_min, signal.physical_max)
        digital = (signal.digital_min, signal.digital_max)
    except ValueError:  # not a number
        return None
    if digital[0] >= digital[1] or physical[0] == physical[1] or not all(map(isfinite, physical)):
        return None
    gain = (physical[1] - physical[0]) / (digital[1] - digital[0])
    return gain * unit_uv, (physical[0] - gain * digital[0]) * unit_uv


def _select(path: str | Path, channels: Sequence[_Channel]) -> tuple[list[_Channel], list[str]]:
    """Return the channels to read, and a remark for each reason to leave others out."""
    eeg = [channel for channel in channels if channel.name]
    unknown = [
        f"{channel} ({channel.dimension or 'empty'})" for channel in eeg if not channel.unit_uv
    ]
    if unknown:
        raise EdfError(
            f"{path}: EEG channels in an unknown unit: {', '.join(unknown)}; nV, uV, mV and V are "
            "understood: correct the physical dimension in the header"
        )
    voltages = [channel for channel in channels if channel.unit_uv]
    if not voltages:
        raise EdfError(
            f"{path}: no channel is a voltage (nV, uV, mV, V): "
            + ", ".join(f"{channel} ({channel.dimension or 'empty'})" for channel in channels)
        )
    rates_hz = {channel.rate_hz for channel in eeg or voltages}
    if len(rates_hz) != 1:
        raise EdfError(
            f"{path}: the {'EEG ' if eeg else ''}channels have {len(rates_hz)} rates: "
            f"{_with_rates(eeg or voltages)}; export those to be read at one rate"
        )
    at_rate = [channel for channel in voltages if channel.rate_hz in rates_hz]
    kept = [channel for channel in at_rate if channel.scale]
    if not kept:
        raise EdfError(f"{path}: no channel can be scaled: minimum and maximum are equal in all")
    other_rate = [channel for channel in channels if channel.rate_hz not in rates_hz]
    unscaled = [channel for channel in at_rate if not channel.scale]
    remarks = []
    if other_rate:
        remarks.append(f"left out, at another rate than the rest: {_with_rates(other_rate)}")
    if unscaled:
        remarks.append(
            "left out, without a usable range (minimum equal to maximum): "
            + ", ".join(map(str, unscaled))
        )
    return kept, remarks


def _with_rates(channels: Iterable[_Channel]) -> str:
    return ", ".join(f"{channel} {float(channel.rate_hz):g} Hz" for channel in channels)


def _without_repeats(channels: Sequence[_Channel]) -> tuple[list[_Channel], list[str]]:
    """Drop an EEG channel that repeats an earlier one sample by sample (T8-P8 in CHB-MIT).

    One that differs stays: `assign_channels` refuses it where it is needed.
    """
    kept: list[_Channel] = []
    remarks = []
    for channel in channels:
        if any(_repeats(channel, earlier) for earlier in kept):
            remarks.append(f"{channel} stands twice with identical samples: the first is used")
        else:
            kept.append(channel)
    return kept, remarks


def _repeats(channel: _Channel, earlier: _Channel) -> bool:
    return (
        channel.name is not None
        and channel.name == earlier.name
        and channel.scale == earlier.scale
        and np.array_equal(channel.signal.digital, earlier.signal.digital)
    )


def _scale(channels: Sequence[_Channel], num_records: int) -> tuple[NDArray[np.float32], list[str]]:
    """Return microvolts, and a remark on channels that leave their declared digital range."""
    num_samples = num_records * channels[0].signal.samples_per_data_record
    signals_CT = np.empty((len(channels), num_samples), np.float32)
    outside = []
    for channel, signal_T in zip(channels, signals_CT, strict=True):
        digital_T = channel.signal.digital[:num_samples]
        assert channel.scale is not None  # `_select` keeps no other
        gain_uv, offset_uv = channel.scale
        np.multiply(digital_T, np.float32(gain_uv), out=signal_T)
        signal_T += np.float32(offset_uv)
        low, high = channel.signal.digital_range
        if digital_T.min() < low or digital_T.max() > high:
            count = np.count_nonzero((digital_T < low) | (digital_T > high))
            outside.append(f"{channel} {count}")
    what = "samples outside the declared digital range, read as stored: "
    return signals_CT, [what + ", ".join(outside)] if outside else []
