"""From a plan to the microvolts of its electrodes: background, transients, mimics, seizures."""

# Shapes: C channels, T samples

import numpy as np

from bgb.config.data import SPLITS
from bgb.corpora.synthetic.artefacts import add_mimics, add_transients, slowing
from bgb.corpora.synthetic.background import (
    add_recording_chain,
    draw_background,
    draw_vigilance,
    refer,
)
from bgb.corpora.synthetic.discharges import draw_waveform, seizure
from bgb.corpora.synthetic.noise import Floats
from bgb.corpora.synthetic.plan import SEIZURE_SHARE, RecordingPlan
from bgb.corpora.synthetic.scalp import index

_MIMIC_SHARE = 1.6 * SEIZURE_SHARE  # of each recording, seizure or not
_SPIKE_SIGMAS = 120.0


def generator(seed: int, plan: RecordingPlan) -> np.random.Generator:
    """Return the generator of one recording: a function of its place in the plan alone."""
    patient = int.from_bytes(plan.patient.name.encode(), "big")
    return np.random.default_rng([seed, 303, SPLITS.index(plan.split), patient, plan.number])


def render(rng: np.random.Generator, plan: RecordingPlan) -> Floats:
    """Return the signals (C, T) of `scalp.ELECTRODE_NAMES` in microvolts against the reference."""
    rate_hz, patient = plan.rate_hz, plan.patient
    vigilance_NV = draw_vigilance(rng, patient, plan.duration_s)
    signals_CT = draw_background(rng, patient, vigilance_NV, rate_hz)
    add_transients(rng, patient, signals_CT, vigilance_NV, rate_hz)
    _add_seizures(rng, plan, signals_CT)
    busy = [(event.start_s, event.stop_s) for event in plan.seizures]
    total_s = rng.uniform(0.7, 1.3) * _MIMIC_SHARE * plan.duration_s
    add_mimics(rng, patient, signals_CT, rate_hz, busy=busy, total_s=total_s)
    add_recording_chain(rng, patient, signals_CT, rate_hz)
    refer(rng, signals_CT, rate_hz, linked_ears=plan.montage == "02_tcp_le")
    _add_oddity(rng, plan, signals_CT)
    return signals_CT


def _add_seizures(rng: np.random.Generator, plan: RecordingPlan, signals_CT: Floats) -> None:
    """Add every seizure up to the end of the file, and slowing after half of them."""
    for event in plan.seizures:
        start, stop = (round(time_s * plan.rate_hz) for time_s in (event.start_s, event.stop_s))
        stop = min(stop, signals_CT.shape[1])
        discharge = seizure(rng, plan.patient)
        signals_CT[:, start:stop] += draw_waveform(rng, discharge, stop - start, plan.rate_hz)
        after = min(int(rng.uniform(5, 15) * plan.rate_hz), signals_CT.shape[1] - stop)
        if rng.random() < 0.5 and after > plan.rate_hz:
            wave_CT = slowing(rng, plan.patient, after, plan.rate_hz)
            signals_CT[:, stop : stop + after] += wave_CT


def _add_oddity(rng: np.random.Generator, plan: RecordingPlan, signals_CT: Floats) -> None:
    """Spoil a channel where the plan asks for it: a flat one, or a spike of 120 sigma."""
    if plan.oddity == "flat_channel":
        signals_CT[index("C4")] = 0.0
    if plan.oddity == "huge_spike":
        channel_T = signals_CT[index("F3")]
        sample = int(rng.integers(10 * plan.rate_hz, 20 * plan.rate_hz))
        channel_T[sample] = _SPIKE_SIGMAS * channel_T.std()
