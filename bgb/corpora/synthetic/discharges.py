"""Rhythmic discharges: seizures, which evolve, and their mimics, which do not, from one engine.

A seizure changes in frequency (a chirp with harmonics), in shape (sine to spike and wave), in
amplitude (it builds up) and in space (it moves and widens from its focus). A mimic has the same
power in the same bands at a constant frequency in a constant place. Band power cannot tell them
apart, evolution can: that is what a detector has to learn.
"""

# Shapes: C channels, T samples, P points of one cycle

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bgb.corpora.synthetic.noise import Floats, slow_noise
from bgb.corpora.synthetic.patient import Patient
from bgb.corpora.synthetic.scalp import POSITIONS, SITES_C2

Site = tuple[float, float]
Array = TypeVar("Array", Floats, NDArray[np.float64])
_BOUT_S = 75.0  # a longer seizure runs through its course again and again
_LAG_CYCLES = 0.08  # phase lag of propagation over one ear radius
_GRID_P = np.linspace(0, 1, 257)


@dataclass(frozen=True)
class Discharge:
    """A rhythmic discharge; pairs are (at onset, at the end)."""

    course_hz: tuple[float, float]
    sites: tuple[Site, Site]
    width: tuple[float, float]
    amplitude_uv: float  # peak, at the centre of the field
    build_up: float  # amplitude at onset, as a share of the later one
    spikes: tuple[float, float]  # 0 rounded .. 1 spike and wave


def seizure(rng: np.random.Generator, patient: Patient) -> Discharge:
    """Draw one seizure of a patient: like the others of that patient, not equal to them."""
    start_hz, stop_hz = (hz * rng.uniform(0.85, 1.15) for hz in patient.course_hz)
    right, front = POSITIONS[patient.focus]
    focus = (right + rng.normal(0, 0.12), front + rng.normal(0, 0.12))
    if patient.kind == "generalised":
        target, width = (focus[0], focus[1] - 0.4), (0.8, 1.0)
    else:
        target, width = (focus[0] * 0.5, focus[1] * 0.5), (0.4, 0.75)
    return Discharge(
        course_hz=(start_hz, stop_hz),
        sites=(focus, target),
        width=width,
        amplitude_uv=patient.seizure_uv * rng.uniform(0.8, 1.25) * 1.6,
        build_up=rng.uniform(0.3, 0.5),
        spikes=(0.25, rng.uniform(0.6, 0.95)),
    )


def mimic(
    rng: np.random.Generator, patient: Patient, site: Site, frequency_hz: float | None = None
) -> Discharge:
    """Draw a rhythm as strong as a seizure that keeps its frequency, its shape and its place."""
    frequency_hz = frequency_hz or float(np.exp(rng.uniform(np.log(1.8), np.log(11.0))))
    width = float(rng.uniform(0.3, 0.9))
    spikes = float(rng.uniform(0.0, 0.4))
    return Discharge(
        course_hz=(frequency_hz, frequency_hz),
        sites=(site, site),
        width=(width, width),
        amplitude_uv=patient.seizure_uv * rng.uniform(0.8, 1.25) * 1.6,
        build_up=1.0,
        spikes=(spikes, spikes),
    )


def draw_waveform(
    rng: np.random.Generator, discharge: Discharge, num_samples: int, rate_hz: int
) -> Floats:
    """Return the discharge in every electrode, (C, T) microvolts, with jitter in time and size."""
    time_T = np.arange(num_samples) / rate_hz
    progress_T = _progress(time_T, num_samples / rate_hz)
    phase_T = _phase(rng, discharge, progress_T, rate_hz)
    lag_C, weights_CT = _spread(discharge, progress_T.astype(np.float32))
    phase_CT = (phase_T - lag_C[:, None]) % 1.0
    spikes_T = _between(discharge.spikes, progress_T)
    wave_CT = (1 - spikes_T) * _lookup(_rounded_cycle(), phase_CT)
    wave_CT += spikes_T * _lookup(_spike_and_wave(), phase_CT)
    amplitude_T = discharge.amplitude_uv * _envelope(rng, discharge, progress_T, rate_hz)
    return (wave_CT * weights_CT * amplitude_T).astype(np.float32)


def _progress(time_T: NDArray[np.float64], duration_s: float) -> NDArray[np.float64]:
    """Return 0 at onset and 1 at the end; a long discharge returns to its start every bout."""
    bouts = max(1, round(duration_s / _BOUT_S))
    return time_T / duration_s * bouts % 1.0


def _phase(
    rng: np.random.Generator, discharge: Discharge, progress_T: NDArray[np.float64], rate_hz: int
) -> NDArray[np.float64]:
    """Integrate the chirp, geometric in progress, whose frequency wanders by 4 percent."""
    start_hz, stop_hz = discharge.course_hz
    jitter_T = slow_noise(rng, progress_T.size, rate_hz, every_s=0.5)
    frequency_T = start_hz * (stop_hz / start_hz) ** (progress_T**0.8) * np.exp(0.04 * jitter_T)
    return np.cumsum(frequency_T) / rate_hz + rng.uniform()


def _spread(discharge: Discharge, progress_T: Floats) -> tuple[Floats, Floats]:
    """Return the lag (C,) in cycles and the weight (C, T) as the field moves and widens."""
    start, stop = (np.array(site, np.float32) for site in discharge.sites)
    centre_2T = start[:, None] + (stop - start)[:, None] * progress_T
    width_T = _between(discharge.width, progress_T)
    distance_CT = (SITES_C2[:, :1] - centre_2T[0]) ** 2 + (SITES_C2[:, 1:] - centre_2T[1]) ** 2
    lag_C = _LAG_CYCLES * np.hypot(*(SITES_C2 - start).T)
    return lag_C, np.exp(-distance_CT / (2 * width_T**2)).astype(np.float32)


def _envelope(
    rng: np.random.Generator, discharge: Discharge, progress_T: NDArray[np.float64], rate_hz: int
) -> NDArray[np.float64]:
    """Return the amplitude over time: build-up over the first third, jitter, half-second edges."""
    build_up_T = np.clip(discharge.build_up + 3 * (1 - discharge.build_up) * progress_T, 0, 1)
    jitter_T = np.exp(0.2 * slow_noise(rng, progress_T.size, rate_hz, every_s=1.0))
    from_edge_T = np.minimum(np.arange(progress_T.size), np.arange(progress_T.size)[::-1])
    edges_T = np.clip(from_edge_T / (0.5 * rate_hz), 0, 1)
    result: NDArray[np.float64] = build_up_T * jitter_T * edges_T
    return result


def _between(pair: tuple[float, float], progress_T: Array) -> Array:
    start, stop = (progress_T.dtype.type(value) for value in pair)
    result: Array = start + (stop - start) * progress_T
    return result


def _lookup(cycle_P: NDArray[np.float64], phase_CT: NDArray[np.float64]) -> NDArray[np.float64]:
    wave_CT: NDArray[np.float64] = np.interp(phase_CT, _GRID_P, cycle_P)
    return wave_CT


def _rounded_cycle() -> NDArray[np.float64]:
    """Return one cycle of a sharpened sine: three harmonics."""
    angle_P = 2 * np.pi * _GRID_P
    return np.cos(angle_P) + 0.35 * np.cos(2 * angle_P + 0.6) + 0.15 * np.cos(3 * angle_P + 1.0)


def _spike_and_wave() -> NDArray[np.float64]:
    """Return one cycle of a narrow spike followed by a slow wave, zero on average."""
    spike_P = 2.2 * np.exp(-(((_GRID_P - 0.15) / 0.035) ** 2))
    wave_P = -1.1 * np.exp(-(((_GRID_P - 0.55) / 0.17) ** 2))
    cycle_P: NDArray[np.float64] = spike_P + wave_P
    cycle_P -= cycle_P.mean()
    return cycle_P
