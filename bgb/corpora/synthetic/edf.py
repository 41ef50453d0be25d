"""Write one recording as TUSZ does: EDF+C, int16, one-second records, anonymous header.

edfio writes it: it takes digital samples as they are, puts no date of its own into the file, so
that the bytes are reproducible.
"""

# Shapes: C channels, T samples

from collections.abc import Iterator
from datetime import date, time
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from bgb.corpora.synthetic.noise import Floats
from bgb.corpora.synthetic.plan import RecordingPlan
from bgb.corpora.synthetic.scalp import ELECTRODE_NAMES, index

_DIGITAL_MAX = 32767
_PHYSICAL_MAX_UV = 4999.75  # about that of TUSZ; a binary fraction, so that zero stays zero
_PHOTIC_RATE_HZ = 50
_BAD_DATE = b"01:01:85"  # as in eval/aaaaaaaq/s007_2014 of TUSZ
_DATE_OFFSET = 168  # EDF header: 8 version + 80 patient + 80 recording

if TYPE_CHECKING:
    from edfio import EdfSignal


def edf_bytes(rng: np.random.Generator, plan: RecordingPlan, signals_CT: Floats) -> bytes:
    """Return the EDF file of a plan and its electrode signals in microvolts."""
    from edfio import Edf, EdfAnnotation, Patient, Recording

    marked = plan.oddity == "extra_channels"
    notes = [EdfAnnotation(5.0, None, "EYES OPEN"), EdfAnnotation(50.0, 32.5, "SZ")]
    edf = Edf(
        list(_signals(rng, plan, signals_CT)),
        patient=Patient(),  # X X X X: nothing of a person in any header
        recording=Recording(startdate=date(plan.year, 1 + plan.session % 12, 1)),
        starttime=time(8 + plan.token % 12, plan.number % 60, 0),
        data_record_duration=1,
        annotations=notes if marked else [],
    )
    buffer = BytesIO()
    edf.write(buffer)
    content = buffer.getvalue()
    if plan.oddity == "colon_date":
        return content[:_DATE_OFFSET] + _BAD_DATE + content[_DATE_OFFSET + len(_BAD_DATE) :]
    return content


def _signals(
    rng: np.random.Generator, plan: RecordingPlan, signals_CT: Floats
) -> Iterator["EdfSignal"]:
    """Yield the signals in the order of the header: electrodes, then the extras."""
    suffix = "LE" if plan.montage == "02_tcp_le" else "REF"
    for name in _recorded(plan):
        yield _signal(f"EEG {name}-{suffix}", signals_CT[index(name)], plan.rate_hz)
    num_samples = signals_CT.shape[1]
    yield _signal(f"EEG EKG1-{suffix}", _ekg(rng, num_samples, plan.rate_hz), plan.rate_hz)
    if plan.oddity == "extra_channels":
        noise_T: Floats = rng.standard_normal((num_samples,), np.float32)
        yield _signal(f"EEG 26-{suffix}", noise_T, plan.rate_hz)
        yield _signal("PHOTIC PH", _flashes(plan.duration_s), _PHOTIC_RATE_HZ, dimension="mm")


def _recorded(plan: RecordingPlan) -> list[str]:
    """List the electrodes of a file; some patients have an order of their own."""
    absent = {"A1", "A2"} if plan.montage == "03_tcp_ar_a" else set()
    if plan.oddity == "missing_fz_pz":
        absent |= {"FZ", "PZ"}
    names = [name for name in ELECTRODE_NAMES if name not in absent]
    if plan.patient.order:
        order = np.random.default_rng(plan.patient.order)
        return [str(name) for name in order.permutation(names)]
    return names


def _signal(label: str, signal_T: Floats, rate_hz: int, *, dimension: str = "uV") -> "EdfSignal":
    from edfio import EdfSignal

    scaled_T = np.clip(signal_T * (_DIGITAL_MAX / _PHYSICAL_MAX_UV), -_DIGITAL_MAX, _DIGITAL_MAX)
    return EdfSignal.from_digital(
        np.rint(scaled_T).astype(np.int16),
        rate_hz,
        label=label,
        physical_dimension=dimension,
        physical_range=(-_PHYSICAL_MAX_UV, _PHYSICAL_MAX_UV),
        digital_range=(-_DIGITAL_MAX, _DIGITAL_MAX),
        prefiltering="HP:0.000 Hz LP:0.0 Hz N:0.0",
    )


def _ekg(rng: np.random.Generator, num_samples: int, rate_hz: int) -> Floats:
    """Return an electrocardiogram: a narrow peak at every beat."""
    beats = np.arange(num_samples) / rate_hz * rng.uniform(0.9, 1.6)
    return (600 * np.exp(-(((beats % 1.0 - 0.5) / 0.02) ** 2))).astype(np.float32)


def _flashes(duration_s: int) -> Floats:
    """Return the marker of the flash lamp: a pulse every 200 ms in the first ten seconds."""
    marker_T = np.zeros(duration_s * _PHOTIC_RATE_HZ, np.float32)
    marker_T[: 10 * _PHOTIC_RATE_HZ : _PHOTIC_RATE_HZ // 5] = 100.0
    return marker_T
