"""What is not a seizure but moves the needle: eyes, muscles, electrodes, sleep, and the mimics.

Short transients are strewn over the recording; mimics are long (as long as seizures) and are put
where no seizure is. A mimic never evolves in frequency and space.
"""

# Shapes: C channels, T samples, N seconds, V states of vigilance

from collections.abc import Iterator, Sequence

import numpy as np

from bgb.corpora.synthetic.background import ASLEEP, AWAKE
from bgb.corpora.synthetic.discharges import draw_waveform, mimic
from bgb.corpora.synthetic.noise import Floats, around, between, coloured_noise
from bgb.corpora.synthetic.patient import Patient, draw_site
from bgb.corpora.synthetic.scalp import POSITIONS, field

MIMICS = ("steady", "theta", "alpha", "electrode", "chewing", "photic", "slowing")
_TRANSIENTS_PER_MINUTE = {"muscle": 2.0, "pop": 0.4, "spindle": 5.0, "sharp": 1.5}


def add_transients(
    rng: np.random.Generator,
    patient: Patient,
    signals_CT: Floats,
    vigilance_NV: Floats,
    rate_hz: int,
) -> None:
    """Strew blinks, muscle bursts, electrode pops, spindles and sharp waves, in place."""
    rates = {"blink": patient.blinks_per_minute, **_TRANSIENTS_PER_MINUTE}
    gains = {"blink": AWAKE, "muscle": AWAKE, "spindle": ASLEEP}
    makers = {"blink": _blink, "muscle": _muscle, "pop": _pop, "spindle": _spindle, "sharp": _sharp}
    for name, per_minute in rates.items():
        chance_N = vigilance_NV @ np.array(gains.get(name, (1, 1, 1, 1))) * per_minute / 60
        seconds = np.flatnonzero(rng.random(chance_N.size) < chance_N)
        for second in seconds:
            wave_CT = makers[name](rng, patient, rate_hz)
            _add(signals_CT, wave_CT, int((second + rng.random()) * rate_hz))


def add_mimics(
    rng: np.random.Generator,
    patient: Patient,
    signals_CT: Floats,
    rate_hz: int,
    *,
    busy: Sequence[tuple[float, float]],
    total_s: float,
) -> None:
    """Put mimics of 8 to 60 s, `total_s` in all as far as there is room, outside `busy` seconds."""
    duration_s = signals_CT.shape[1] / rate_hz
    for start_s, length_s in _free_places(rng, duration_s, list(busy), total_s):
        num_samples = int(length_s * rate_hz)
        wave_CT = draw_mimic(rng, patient, str(rng.choice(MIMICS)), num_samples, rate_hz)
        _add(signals_CT, wave_CT, int(start_s * rate_hz))


def draw_mimic(
    rng: np.random.Generator, patient: Patient, kind: str, num_samples: int, rate_hz: int
) -> Floats:
    """Return one mimic (C, T) in microvolts; `kind` is one of `MIMICS`."""
    match kind:
        case "electrode":
            return _electrode_movement(rng, patient, num_samples, rate_hz)
        case "chewing":
            return _chewing(rng, patient, num_samples, rate_hz)
        case "slowing":
            return slowing(rng, patient, num_samples, rate_hz)
        case "photic":
            return _photic(rng, patient, num_samples, rate_hz)
        case _:
            return _steady(rng, patient, kind, num_samples, rate_hz)


def slowing(rng: np.random.Generator, patient: Patient, num_samples: int, rate_hz: int) -> Floats:
    """Return irregular delta and theta with the power of a seizure (also seen after seizures)."""
    uv = patient.seizure_uv * rng.uniform(0.8, 1.3)
    spectrum = around(rng.uniform(1.5, 5.0), rng.uniform(0.6, 1.2))
    wave_1T = coloured_noise(rng, 1, num_samples, rate_hz, spectrum)
    wave_1T *= np.float32(uv) * _edges(num_samples, rate_hz)
    return field(draw_site(rng), rng.uniform(0.35, 0.9))[:, None] * wave_1T


def _steady(
    rng: np.random.Generator, patient: Patient, kind: str, num_samples: int, rate_hz: int
) -> Floats:
    """Return a rhythm without evolution: anywhere, temporal theta, or posterior alpha."""
    places = {"theta": ("T3", "T4"), "alpha": ("O1", "O2", "PZ")}.get(kind)
    site = POSITIONS[str(rng.choice(places))] if places else draw_site(rng)
    frequency_hz = {"theta": rng.uniform(4.5, 6.5), "alpha": patient.alpha_hz}.get(kind)
    discharge = mimic(rng, patient, site, frequency_hz)
    return draw_waveform(rng, discharge, num_samples, rate_hz)


def _photic(rng: np.random.Generator, patient: Patient, num_samples: int, rate_hz: int) -> Floats:
    """Return driving by a flash that is off for a while, then on at another constant rate."""
    wave_CT = np.zeros((len(field((0, 0), 1)), num_samples), np.float32)
    rates_hz = rng.permutation([3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0])
    for start, flash_hz in zip(range(0, num_samples, 10 * rate_hz), rates_hz):
        train = min(7 * rate_hz, num_samples - start)
        discharge = mimic(rng, patient, POSITIONS["PZ"], float(flash_hz))
        wave_CT[:, start : start + train] = draw_waveform(rng, discharge, train, rate_hz)
    return wave_CT


def _electrode_movement(
    rng: np.random.Generator, patient: Patient, num_samples: int, rate_hz: int
) -> Floats:
    """Return a rhythmic movement of a single electrode: no field at all around it."""
    channel = int(rng.integers(19))
    discharge = mimic(rng, patient, tuple(POSITIONS.values())[channel], rng.uniform(1.0, 3.0))
    wave_CT = draw_waveform(rng, discharge, num_samples, rate_hz)
    alone_CT = np.zeros_like(wave_CT)
    alone_CT[channel] = 1.6 * wave_CT[channel]
    return alone_CT


def _chewing(rng: np.random.Generator, patient: Patient, num_samples: int, rate_hz: int) -> Floats:
    """Return temporal muscle in bursts of 1 to 2 a second, with the slow sway of the jaw."""
    beat_T = np.arange(num_samples) / rate_hz * rng.uniform(1.0, 2.0)
    burst_T = np.clip(np.sin(2 * np.pi * beat_T), 0, 1) * _edges(num_samples, rate_hz)
    muscle_2T = coloured_noise(rng, 2, num_samples, rate_hz, between(18, 90)) * patient.muscle_uv
    sway_T = np.cos(2 * np.pi * beat_T + 0.5) * patient.seizure_uv * _edges(num_samples, rate_hz)
    sides = [field(POSITIONS[name], 0.4)[:, None] for name in ("T3", "T4")]
    left_CT, right_CT = (
        side * (1.5 * muscle_T * burst_T + sway_T) for side, muscle_T in zip(sides, muscle_2T)
    )
    wave_CT: Floats = (left_CT + right_CT).astype(np.float32)
    return wave_CT


def _blink(rng: np.random.Generator, patient: Patient, rate_hz: int) -> Floats:
    time_T = np.arange(int(0.4 * rate_hz)) / rate_hz
    wave_T = rng.uniform(60, 140) * np.sin(np.pi * time_T / 0.4) ** 2
    return (field((0.0, 1.15), 0.35)[:, None] * wave_T * 1.5).astype(np.float32)


def _muscle(rng: np.random.Generator, patient: Patient, rate_hz: int) -> Floats:
    num_samples = int(rng.uniform(0.4, 4.0) * rate_hz)
    side = POSITIONS[str(rng.choice(["T3", "T4", "F7", "F8", "FP1", "FP2"]))]
    wave_1T = patient.muscle_uv * coloured_noise(rng, 1, num_samples, rate_hz, between(18, 100))
    return field(side, rng.uniform(0.2, 0.6))[:, None] * (wave_1T * _edges(num_samples, rate_hz))


def _pop(rng: np.random.Generator, patient: Patient, rate_hz: int) -> Floats:
    time_T = np.arange(2 * rate_hz) / rate_hz
    wave_CT = np.zeros((len(POSITIONS), time_T.size), np.float32)
    height_uv = rng.uniform(80, 300) * rng.choice([-1, 1])
    wave_CT[rng.integers(19)] = height_uv * np.exp(-time_T / rng.uniform(0.1, 0.5))
    return wave_CT


def _spindle(rng: np.random.Generator, patient: Patient, rate_hz: int) -> Floats:
    num_samples = int(rng.uniform(0.6, 1.6) * rate_hz)
    wave_T = np.cos(2 * np.pi * rng.uniform(12, 14) * np.arange(num_samples) / rate_hz)
    wave_T *= np.hanning(num_samples) * rng.uniform(15, 40)
    return (field(POSITIONS["CZ"], 0.5)[:, None] * wave_T).astype(np.float32)


def _sharp(rng: np.random.Generator, patient: Patient, rate_hz: int) -> Floats:
    """Return one interictal spike and slow wave at the focus of the patient."""
    time_T = np.arange(int(0.6 * rate_hz)) / rate_hz
    wave_T = np.exp(-(((time_T - 0.1) / 0.025) ** 2)) - 0.5 * np.exp(-(((time_T - 0.3) / 0.1) ** 2))
    width = rng.uniform(0.2, 0.4)
    uv = rng.uniform(40, 110)
    return (field(POSITIONS[patient.focus], width)[:, None] * wave_T * uv).astype(np.float32)


def _edges(num_samples: int, rate_hz: int) -> Floats:
    """Return 1 with a rise and a fall of at most half a second."""
    from_edge_T = np.minimum(np.arange(num_samples), np.arange(num_samples)[::-1])
    return np.clip(from_edge_T / min(0.5 * rate_hz, num_samples / 4), 0, 1).astype(np.float32)


def _add(signals_CT: Floats, wave_CT: Floats, start: int) -> None:
    room = signals_CT.shape[1] - start
    signals_CT[:, start : start + wave_CT.shape[1]] += wave_CT[:, :room]


def _free_places(
    rng: np.random.Generator,
    duration_s: float,
    busy: list[tuple[float, float]],
    total_s: float,
) -> Iterator[tuple[float, float]]:
    """Draw (start, length) in seconds that stay 3 s clear of `busy` and of each other."""
    for _ in range(200):
        length_s = float(np.clip(rng.lognormal(np.log(25), 0.6), 8, 60))
        if total_s < 8 or length_s > duration_s - 2:
            return
        start_s = float(rng.uniform(0, duration_s - length_s))
        if all(start_s > stop + 3 or start_s + length_s < start - 3 for start, stop in busy):
            busy.append((start_s, start_s + length_s))
            total_s -= length_s
            yield start_s, length_s
