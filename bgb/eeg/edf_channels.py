"""The signals of an EDF file: which are kept as channels, and how they are scaled to microvolts.

Kept is every channel that is a voltage at the rate of the EEG, so that an EKG may be looked at too;
`bgb.eeg.channels` then finds the electrodes by name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from bgb.eeg.channels import ChannelName, parse_label
from bgb.eeg.edf_header import EdfHeader
from bgb.errors import EdfError

if TYPE_CHECKING:
    from edfio import EdfSignal

MICROVOLTS = {"nv": 1e-3, "uv": 1.0, "microv": 1.0, "v": 1e6}  # by lower-case dimension, but mV
_MICRO_SIGNS = str.maketrans({"\xb5": "u", "\u03bc": "u", "\xe6": "u"})  # latin-1, Greek, cp437


@dataclass(frozen=True)
class Scale:
    """Microvolts of a digital step and of digital 0, and the digital range that is declared."""

    gain_uv: float
    offset_uv: float
    lowest: int
    highest: int


@dataclass(frozen=True)
class EdfChannel:
    """What the header says of one signal; `index` counts all signals of the file."""

    index: int
    label: str
    name: ChannelName | None
    rate_hz: Fraction
    dimension: str
    unit_uv: float | None  # microvolts in one unit, None where it is no voltage
    scale: Scale | None

    def __str__(self) -> str:
        return f"{self.label!r}"


def select_channels(
    path: str | Path, header: EdfHeader
) -> tuple[tuple[EdfChannel, ...], tuple[str, ...]]:
    """Return the channels to read, and a remark for each reason to leave others out.

    Raises
    ------
    EdfError : EEG channels in an unknown unit or at several rates, or nothing left to read.
    """
    channels = [
        _channel(index, signal, header.record_s)
        for index, signal in enumerate(header.signals)
        if not signal._is_annotation_signal
    ]
    voltages = _voltages(path, channels)
    eeg = [channel for channel in channels if channel.name]
    rates_hz = {channel.rate_hz for channel in eeg or voltages}
    if len(rates_hz) != 1:
        raise EdfError(
            f"{path}: the {'EEG ' if eeg else ''}channels have {len(rates_hz)} rates: "
            f"{_with_rates(eeg or voltages)}; export those to be read at one rate"
        )
    at_rate = [channel for channel in voltages if channel.rate_hz in rates_hz]
    kept = tuple(channel for channel in at_rate if channel.scale)
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
    return kept, tuple(remarks)


def _voltages(path: str | Path, channels: Sequence[EdfChannel]) -> list[EdfChannel]:
    """Return the channels that are voltages; EEG must be."""
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
    return voltages


def _channel(index: int, signal: "EdfSignal", record_s: Fraction) -> EdfChannel:
    dimension = _dimension(signal.physical_dimension)
    unit_uv = 1e3 if dimension == "mV" else MICROVOLTS.get(dimension.lower())
    return EdfChannel(
        index=index,
        label=signal.label.strip(),
        name=parse_label(signal.label),
        rate_hz=signal.samples_per_data_record / record_s,
        dimension=dimension,
        unit_uv=unit_uv,
        scale=None if unit_uv is None else _scale(signal, unit_uv),
    )


def _dimension(text: str) -> str:
    """Spell a physical dimension with `u` for micro, whichever bytes the recorder wrote."""
    stored = text.strip().encode("latin-1")
    try:
        text = stored.decode("utf-8")
    except UnicodeDecodeError:
        text = stored.decode("latin-1")
    return text.translate(_MICRO_SIGNS)


def _scale(signal: "EdfSignal", unit_uv: float) -> Scale | None:
    try:
        physical = (signal.physical_min, signal.physical_max)
        digital = (signal.digital_min, signal.digital_max)
    except ValueError:  # not a number
        return None
    if digital[0] >= digital[1] or physical[0] == physical[1] or not all(map(isfinite, physical)):
        return None
    gain = (physical[1] - physical[0]) / (digital[1] - digital[0])
    return Scale(gain * unit_uv, (physical[0] - gain * digital[0]) * unit_uv, *digital)


def _with_rates(channels: Iterable[EdfChannel]) -> str:
    return ", ".join(f"{channel} {float(channel.rate_hz):g} Hz" for channel in channels)
