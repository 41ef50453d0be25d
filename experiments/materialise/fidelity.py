"""What the preprocessing does to a signal: gain, time, mains, aliases, ends, and rounding."""

from pathlib import Path
from typing import Any

import numpy as np
from pipelines import CONFIG, recursive_filter
from scipy.signal import hilbert

from bgb.eeg.channels import assign_channels
from bgb.eeg.edf import read_edf
from bgb.eeg.filter_plan import gain
from bgb.eeg.filters import preprocess, preprocess_reference

_RATE_HZ = CONFIG.rate_hz


def filters() -> dict[str, Any]:  # Any: functions of signals and rate
    """Return the methods that are compared."""
    return {
        "bgb": lambda signals, rate: preprocess(signals.astype(np.float32), rate, CONFIG),
        "polyphase and IIR (before)": recursive_filter,
    }


def measure(method: Any) -> dict[str, float]:
    """Return one number for each property."""
    return {
        "shift at 10 s, samples": _shift(method, 10),
        "shift at 600 s, samples": _shift(method, 600),
        "shift at 1190 s, samples": _shift(method, 1190),
        "ripple 2-45 Hz from 250 Hz, dB": _ripple(method),
        "60 Hz from 250 Hz, dB": _tone(method, 60.0, 250),
        "59.5 Hz from 250 Hz, dB": _tone(method, 59.5, 250),
        "alias of 140 Hz from 512 Hz, dB": _tone(method, 140.0, 512),
        "alias of 200 Hz from 512 Hz, dB": _tone(method, 200.0, 512),
        "alias of 400 Hz from 1000 Hz, dB": _tone(method, 400.0, 1000),
        "image of 110 Hz from 250 Hz, dB": _image(method, 110.0),
        "ends: first second, % of rms": _ends(method, 0, 1),
        "ends: second 5 to 6, % of rms": _ends(method, 5, 6),
    }


def response(method: Any, rate_hz: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return frequencies, the gain in dB and the impulse response around its middle (1 s)."""
    impulse = np.zeros((1, 120 * rate_hz))
    impulse[0, 60 * rate_hz] = rate_hz / _RATE_HZ * 1000
    filtered = method(impulse, rate_hz)[0] / 1000
    gain_db = 20 * np.log10(np.abs(np.fft.rfft(filtered)) + 1e-9)
    middle = 60 * _RATE_HZ
    around = filtered[middle - _RATE_HZ // 2 : middle + _RATE_HZ // 2]
    return np.fft.rfftfreq(len(filtered), 1 / _RATE_HZ), gain_db, around


def against_reference(folder: Path) -> dict[str, float]:
    """Compare with the float64 reference on every real recording below a folder."""
    worst_uv, num_samples, num_apart, num_far, num_files = 0.0, 0, 0, 0, 0
    for path in sorted([*folder.glob("helsinki*/**/*.edf"), *folder.glob("chbmit*/**/*.edf")]):
        recording = read_edf(path)
        sources = assign_channels(recording.channels).sources
        signals = recording.signals_CT[[source[0] for source in sources if source]]
        filtered = preprocess(signals, recording.rate_hz, CONFIG)
        reference = preprocess_reference(signals, recording.rate_hz, CONFIG)
        worst_uv = max(worst_uv, float(np.abs(filtered - reference).max()))
        quanta = np.abs(np.rint(filtered * 10) - np.rint(reference * 10))
        num_samples += quanta.size
        num_apart += int((quanta > 0).sum())
        num_far += int((quanta > 1).sum())
        num_files += 1
    return {
        "recordings": num_files,
        "samples": num_samples,
        "largest difference, uV": worst_uv,
        "share of samples rounded to the next quantum": num_apart / num_samples,
        "samples further apart than one quantum": num_far,
    }


def _sine(frequency_hz: float, seconds: int, rate_hz: int) -> np.ndarray:
    return 100 * np.sin(2 * np.pi * frequency_hz * np.arange(seconds * rate_hz) / rate_hz)[None]


def _shift(method: Any, at_s: int) -> float:
    """Return by how many samples a 10 Hz tone at 250 Hz is late around a second."""
    filtered = method(_sine(10, 1200, 250), 250)[0]
    around = slice((at_s - 5) * _RATE_HZ, (at_s + 5) * _RATE_HZ)
    expected = _sine(10, 1200, _RATE_HZ)[0]
    turn = np.angle(np.vdot(hilbert(filtered[around]), hilbert(expected[around])))
    return float(turn / (2 * np.pi * 10) * _RATE_HZ)


def _ripple(method: Any) -> float:
    """Return the largest departure from the gain that the configuration declares."""
    frequency_hz, gain_db, _ = response(method, 250)
    band = (frequency_hz > 2) & (frequency_hz < 45)
    return float(np.abs(gain_db[band] - 20 * np.log10(gain(frequency_hz[band], CONFIG))).max())


def _tone(method: Any, frequency_hz: float, rate_hz: int) -> float:
    """Return what is left of a tone, whatever its frequency is then."""
    inner = method(_sine(frequency_hz, 120, rate_hz), rate_hz)[0, 30 * _RATE_HZ : -30 * _RATE_HZ]
    return float(20 * np.log10(np.sqrt(2 * np.mean(inner**2)) / 100 + 1e-9))


def _image(method: Any, frequency_hz: float) -> float:
    """Return what a tone leaves at all frequencies but its own."""
    filtered = method(_sine(frequency_hz, 120, 250), 250)[0, 30 * _RATE_HZ : -30 * _RATE_HZ]
    spectrum = np.abs(np.fft.rfft(filtered * np.hanning(len(filtered)))) / len(filtered) * 4 / 100
    own = np.abs(np.fft.rfftfreq(len(filtered), 1 / _RATE_HZ) - frequency_hz) < 0.5
    return float(20 * np.log10(spectrum[~own].max() + 1e-9))


def _ends(method: Any, start_s: int, stop_s: int) -> float:
    """Return how far the beginning of a piece is from the same seconds inside a recording."""
    generator = np.random.default_rng(0)
    whole = generator.normal(0, 2, (8, 300 * 250)).cumsum(axis=1)
    inside = method(whole, 250)[:, 100 * _RATE_HZ : 200 * _RATE_HZ]
    alone = method(whole[:, 100 * 250 : 200 * 250], 250)
    piece = slice(start_s * _RATE_HZ, stop_s * _RATE_HZ)
    apart = np.sqrt(((alone - inside)[:, piece] ** 2).mean())
    return float(100 * apart / inside.std())
