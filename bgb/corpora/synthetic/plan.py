"""The plan of the corpus: every file, how long it is and where its seizures lie, before any signal.

A pure function of the configuration. The hours are shared out to the splits, then evenly to their
patients in recordings of about five minutes; seizures fill `SEIZURE_SHARE` of each split; some
recordings of every split have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bgb.config.data import SPLITS, SyntheticCorpus
from bgb.corpora.synthetic.patient import Patient, draw_patient
from bgb.eeg.events import Event

MONTAGES = ("01_tcp_ar", "02_tcp_le", "03_tcp_ar_a")
SEIZURE_SHARE = 0.11  # of the ordinary recordings; TUSZ has 0.05, the demo is 300 times smaller
HOURS_SHARE = {"train": 0.55, "dev": 0.17, "eval": 0.28}
_TYPICAL_S = 290
_LABELS = {"focal": ("fnsz", "cpsz"), "fast": ("tcsz", "tnsz"), "generalised": ("gnsz", "absz")}


@dataclass(frozen=True)
class Mark:
    """One row of a csv file: a seizure of some type on one channel of the montage, in seconds."""

    channel: str
    start_s: float
    stop_s: float
    label: str


@dataclass(frozen=True)
class RecordingPlan:
    """One file of the corpus.

    Attributes
    ----------
    patient, number : traits, and the number of the recording within the patient (seeds the signal).
    session, token, year, montage : its place in the official layout.
    seizures : where the signal holds seizures; labels are TUSZ types.
    marks : rows of the csv file; empty = every seizure on all the channels near its focus.
    tiling : csv_bi lists background rows too, not seizures alone.
    oddity : which odd case of `ODDITIES` the file is; empty for an ordinary one.
    """

    split: str
    patient: Patient
    number: int
    session: int
    token: int
    year: int
    montage: str
    rate_hz: int
    duration_s: int
    seizures: tuple[Event, ...] = ()
    marks: tuple[Mark, ...] = ()
    tiling: bool = False
    oddity: str = ""

    @property
    def stem(self) -> str:
        return f"{self.patient.name}_s{self.session:03d}_t{self.token:03d}"

    @property
    def folder(self) -> str:
        """Folder below `edf/`, with forward slashes."""
        session = f"s{self.session:03d}_{self.year}"
        return f"{self.split}/{self.patient.name}/{session}/{self.montage}"


def plan_ordinary(config: SyntheticCorpus) -> tuple[RecordingPlan, ...]:
    """Plan all recordings but the odd ones."""
    plans: list[RecordingPlan] = []
    for split, patients in split_patients(config).items():
        rng = np.random.default_rng([config.seed, 202, SPLITS.index(split)])
        total_s = config.hours * 3600 * HOURS_SHARE[split]
        empty = _plan_files(rng, split, patients, total_s)
        plans += _with_seizures(rng, empty)
    return tuple(plans)


def split_patients(config: SyntheticCorpus) -> dict[str, tuple[Patient, ...]]:
    """Draw the patients of every split; no patient is in two."""
    counts = (config.train_patients, config.dev_patients, config.eval_patients)
    return {
        split: tuple(draw_patient(config.seed, place, number) for number in range(count))
        for place, (split, count) in enumerate(zip(SPLITS, counts, strict=True))
    }


def draw_rate(rng: np.random.Generator) -> int:
    """Draw a sampling rate in about the proportions of TUSZ."""
    return int(rng.choice([250, 256, 400, 512], p=[0.7, 0.16, 0.08, 0.06]))


def _plan_files(
    rng: np.random.Generator, split: str, patients: Sequence[Patient], total_s: float
) -> list[RecordingPlan]:
    """Share the seconds out to patients in recordings that differ by up to a third in length."""
    num_files = max(2, len(patients), round(total_s / _TYPICAL_S))
    shares = rng.uniform(0.75, 1.3, num_files)
    durations_s = np.maximum(30, np.round(total_s * shares / shares.sum())).astype(int)
    plans: list[RecordingPlan] = []
    for file, duration_s in enumerate(durations_s):
        number, place = divmod(file, len(patients))
        montage = MONTAGES[(0, 0, 1, 0, 2)[(file + place) % 5]]
        plan = RecordingPlan(
            split=split,
            patient=patients[place],
            number=number,
            session=1 + number // 2,
            token=number % 2,
            year=2003 + (place * 3 + number // 2) % 12,
            montage=montage,
            rate_hz=draw_rate(rng),
            duration_s=int(duration_s),
            tiling=bool(rng.random() < 0.25),
        )
        plans.append(_same_session(plan, plans))
    return plans


def _same_session(plan: RecordingPlan, earlier: Sequence[RecordingPlan]) -> RecordingPlan:
    """Give consecutive cuts of one session the montage and rate of its first."""
    for other in earlier:
        if (other.patient.name, other.session) == (plan.patient.name, plan.session):
            return replace(plan, montage=other.montage, rate_hz=other.rate_hz)
    return plan


def _with_seizures(rng: np.random.Generator, plans: list[RecordingPlan]) -> list[RecordingPlan]:
    """Put seizures into about half of the recordings, but never into all, of most patients."""
    names = {plan.patient.name for plan in plans}
    quiet = {plans[-1].patient.name} if len(names) > 4 else set()
    num_seizing = min(len(plans) - 1, max(len(names - quiet), round(0.55 * len(plans))))
    candidates = [i for i, plan in enumerate(plans) if plan.patient.name not in quiet]
    chosen = candidates[:num_seizing]  # the first of every patient, then the second of some
    budget_s = SEIZURE_SHARE * sum(plan.duration_s for plan in plans)
    seconds = sum(plans[i].duration_s for i in chosen)
    for i in chosen:
        share = min(0.45, budget_s / seconds)
        plans[i] = replace(plans[i], seizures=_draw_seizures(rng, plans[i], share))
    return plans


def _draw_seizures(
    rng: np.random.Generator, plan: RecordingPlan, share: float
) -> tuple[Event, ...]:
    """Place seizures of 10 to 90 s one in each equal slot of the recording, `share` in all."""
    total_s = share * plan.duration_s
    count = max(1, round(total_s / 27))
    lengths_s = rng.lognormal(0, 0.35, count)
    lengths_s = np.clip(total_s * lengths_s / lengths_s.sum(), 8, 0.8 * plan.duration_s / count)
    slot_s = plan.duration_s / count
    label = str(rng.choice(_LABELS[plan.patient.kind]))
    events = []
    for slot, length_s in enumerate(lengths_s):
        room_s = slot_s - length_s
        start_s = round(slot * slot_s + rng.uniform(0.2, 0.8) * room_s, 4)
        events.append(Event(start_s, round(start_s + length_s, 4), label))
    return tuple(events)
