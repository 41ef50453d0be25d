"""The odd files that TUSZ is known to hold (reference: TUSZ facts, recipe 4.5), one plan each.

Every one can be read. They belong to ordinary patients, so that they do not change the counts of
patients. Two more that cannot be used (no label file, malformed line) are written by `write_broken`
and are never part of a corpus.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bgb.config.data import SyntheticCorpus
from bgb.corpora.synthetic.patient import Patient
from bgb.corpora.synthetic.plan import Mark, RecordingPlan, split_patients
from bgb.eeg.events import Event

_FIRST_NUMBER = 1000  # above the numbers of ordinary recordings: the signal of each is its own
_FIRST_SESSION = 20  # sessions of odd files start here, so that they never meet ordinary ones


# Two types on two sets of channels, each channel with bounds of its own (file `two_types`).
_TWO_TYPES = (
    Mark("FP1-F7", 60.25, 110.5, "fnsz"),
    Mark("F7-T3", 60.25, 118.0, "fnsz"),
    Mark("T3-T5", 66.5, 118.0, "fnsz"),
    Mark("F8-T4", 180.0, 225.5, "cpsz"),
    Mark("T4-T6", 186.125, 231.75, "cpsz"),
)


@dataclass(frozen=True)
class Oddity:
    """One odd case: where it goes, how long it is, where its seizures lie."""

    name: str
    split: str
    duration_s: int
    seizures: tuple[tuple[float, float], ...] = ()
    montage: str = "01_tcp_ar"
    rate_hz: int = 250
    tiling: bool = False
    token: int = 0  # above 0: goes on where the odd file before it ended


ODDITIES: tuple[Oddity, ...] = (
    Oddity("ten_seconds", "train", 10),
    Oddity("missing_fz_pz", "train", 120, ((40.5, 75.25),), montage="03_tcp_ar_a"),
    Oddity("extra_channels", "train", 120, ((50.0, 82.5),), rate_hz=256),
    Oddity("past_end", "train", 61, ((30.0, 68.5),)),
    Oddity("very_long_seizure", "train", 900, ((120.0, 765.5),), rate_hz=256),
    Oddity("chain_first", "train", 60, tiling=True),
    Oddity("chain_second", "train", 60, ((12.0, 34.0),), tiling=True, token=1),
    Oddity("seizure_free", "dev", 45),
    Oddity("two_types", "dev", 301, ((60.25, 118.0), (180.0, 231.75)), tiling=True),
    Oddity("flat_channel", "dev", 120, ((33.0, 61.5),), montage="02_tcp_le", rate_hz=400),
    Oddity("touching_ends", "eval", 61, ((0.0, 17.5), (44.25, 61.0))),
    Oddity("close_pair", "eval", 120, ((30.0, 55.0), (56.2, 80.0)), tiling=True),
    Oddity("huge_spike", "eval", 120, ((70.0, 98.0),), rate_hz=512),
    Oddity("missing_fz_pz", "eval", 120, ((22.0, 58.0),)),
    Oddity("colon_date", "eval", 90),
)


def plan_oddities(config: SyntheticCorpus) -> tuple[RecordingPlan, ...]:
    """Plan the odd files, spread over the patients of their splits."""
    patients = split_patients(config)
    return tuple(
        _plan(oddity, patients[oddity.split], place) for place, oddity in enumerate(ODDITIES)
    )


def _plan(oddity: Oddity, patients: Sequence[Patient], place: int) -> RecordingPlan:
    owner = place - oddity.token
    patient = patients[owner % len(patients)]
    label = "gnsz" if patient.kind == "generalised" else "fnsz"
    return RecordingPlan(
        split=oddity.split,
        patient=patient,
        number=_FIRST_NUMBER + place,
        session=_FIRST_SESSION + owner,
        token=oddity.token,
        year=2015,
        montage=oddity.montage,
        rate_hz=oddity.rate_hz,
        duration_s=oddity.duration_s,
        seizures=tuple(Event(start, stop, label) for start, stop in oddity.seizures),
        marks=_TWO_TYPES if oddity.name == "two_types" else (),
        tiling=oddity.tiling,
        oddity=oddity.name,
    )
