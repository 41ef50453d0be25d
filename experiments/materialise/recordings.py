"""EDF files for the measurements: TUSZ-like, made in pieces, so that a day fits in memory."""

from pathlib import Path

import edfio
import numpy as np

from bgb.eeg.annotations import write_events
from bgb.eeg.events import Event
from bgb.eeg.montage import ELECTRODES

NUM_CHANNELS = 31  # 19 electrodes, as TUSZ names them, and twelve that are not wanted
_PIECE_S = 60
_ROOM = edfio.EdfAnnotation(0, None, "room for the onset of any record")


def write_recording(path: Path, *, seconds: int, rate_hz: int, seed: int = 0) -> Path:
    """Write an EDF+ of pink-like noise of 25 uV rms with 10 uV of mains, and its csv_bi."""
    names = [f"EEG {name.upper()}-REF" for name in ELECTRODES]
    names += [f"EEG X{number}-REF" for number in range(NUM_CHANNELS - len(names))]
    one_record = [
        edfio.EdfSignal(
            np.zeros(rate_hz),
            rate_hz,
            label=name,
            physical_dimension="uV",
            physical_range=(-3276.7, 3276.7),
            digital_range=(-32767, 32767),
        )
        for name in names
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(one_record, data_record_duration=1, annotations=[_ROOM]).write(path)
    _fill(path, seconds, rate_hz, seed)
    write_events(
        path.with_suffix(".csv_bi"), [Event(1.0, 3.0)], duration_s=seconds, dialect="csv_bi"
    )
    return path


def _fill(path: Path, seconds: int, rate_hz: int, seed: int) -> None:
    """Repeat the only record as often as wanted, with signals and onsets of its own."""
    contents = bytearray(path.read_bytes())
    header_bytes = 256 * (NUM_CHANNELS + 2)
    contents[236:244] = str(seconds).encode().ljust(8)
    record = np.frombuffer(bytes(contents[header_bytes:]), "<i2")
    width = 2 * (len(record) - NUM_CHANNELS * rate_hz)
    generator = np.random.default_rng([seed, rate_hz])
    piece = _noise(generator, rate_hz)
    with path.open("wb") as file:
        file.write(contents[:header_bytes])
        for start in range(0, seconds, _PIECE_S):
            count = min(_PIECE_S, seconds - start)
            records = np.tile(record, (count, 1))
            turned = np.roll(piece, generator.integers(len(piece)), axis=0)
            signals = turned[:, : count * rate_hz].reshape(NUM_CHANNELS, count, rate_hz)
            records[:, : NUM_CHANNELS * rate_hz] = signals.transpose(1, 0, 2).reshape(count, -1)
            for row, second in zip(records, range(start, start + count), strict=True):
                text = f"+{second}".encode() + b"\x14\x14"
                row[NUM_CHANNELS * rate_hz :] = np.frombuffer(text.ljust(width, b"\0"), "<i2")
            file.write(records.tobytes())


def _noise(generator: np.random.Generator, rate_hz: int) -> np.ndarray:
    """Return a minute of digital values that joins its own beginning without a jump."""
    num_samples = _PIECE_S * rate_hz
    frequency_hz = np.fft.rfftfreq(num_samples, 1 / rate_hz)
    amplitude = 1 / np.maximum(frequency_hz, 0.3) ** 0.65
    spectrum = generator.normal(0, 1, (NUM_CHANNELS, len(frequency_hz), 2)) @ [1, 1j] * amplitude
    signals = np.fft.irfft(spectrum, num_samples)
    signals *= 25 / signals.std(axis=1, keepdims=True)
    signals += 10 * np.sin(2 * np.pi * 60 * np.arange(num_samples) / rate_hz)
    return np.rint(signals * 10).clip(-32767, 32767).astype("<i2")
