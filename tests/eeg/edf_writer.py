"""Write tiny EDF files, and spoil their headers, for the tests of the reader."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import edfio
import numpy as np
from numpy.typing import NDArray

FIELDS = {  # fixed part of the header: first byte and length
    "version": (0, 8),
    "patient": (8, 80),
    "recording": (88, 80),
    "start": (168, 16),
    "header_bytes": (184, 8),
    "reserved": (192, 44),
    "num_records": (236, 8),
    "record_s": (244, 8),
    "num_signals": (252, 4),
}
SIGNAL_FIELDS = {  # one per signal: bytes before it for each signal, and length
    "label": (0, 16),
    "dimension": (96, 8),
    "physical_min": (104, 8),
    "physical_max": (112, 8),
    "digital_min": (120, 8),
    "digital_max": (128, 8),
    "samples": (216, 8),
}


def write_edf(
    path: Path,
    signals: Mapping[str, NDArray[np.float64]] | Sequence[tuple[str, NDArray[np.float64]]],
    *,
    rate_hz: float = 256,
    dimension: str = "uV",
    range_uv: float = 3276.7,
) -> Path:
    """Write signals as plain EDF with records of one second."""
    pairs = signals.items() if isinstance(signals, Mapping) else signals
    edfio.Edf(
        [
            edfio.EdfSignal(
                data,
                rate_hz,
                label=label,
                physical_dimension=dimension,
                physical_range=(-range_uv, range_uv),
                digital_range=(-32767, 32767),
            )
            for label, data in pairs
        ]
    ).write(path)
    return path


def noise(seconds: float = 3, rate_hz: float = 256, seed: int = 0) -> NDArray[np.float64]:
    """White noise of 50 uV, rounded to the quantum so that an EDF holds it exactly."""
    samples = np.random.default_rng(seed).normal(0, 50, round(seconds * rate_hz))
    return np.round(samples, 1)


def patch(path: Path, field: str, value: str | bytes, *, signal: int | None = None) -> Path:
    """Overwrite a field of the header, of one signal where its index is given."""
    contents = bytearray(path.read_bytes())
    if signal is None:
        start, length = FIELDS[field]
    else:
        num_signals = int(contents[252:256])
        before, length = SIGNAL_FIELDS[field]
        start = 256 + before * num_signals + signal * length
    raw = value.encode("ascii") if isinstance(value, str) else value
    contents[start : start + length] = raw.ljust(length)
    path.write_bytes(contents)
    return path
