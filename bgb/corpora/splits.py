"""Who is trained on and who is scored: always whole patients (lesson 10), under one set of names.

Fractions are drawn by hashing (seed, patient), so the draw does not depend on the order of files
and one patient more moves few others. They are stratified: patients with seizures, known from the
label files, are shared out first, so that every split has some where three or more have any.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from bgb.config.data import SPLITS, SplitConfig
from bgb.corpora.base import CorpusRecording, Finding
from bgb.eeg.annotations import parse_labels
from bgb.eeg.annotations.labels import read_text
from bgb.eeg.events import seizures
from bgb.errors import CorpusError


def assign_splits(finding: Finding, config: SplitConfig) -> tuple[CorpusRecording, ...]:
    """Return the recordings with their splits; a patient in two of them raises `CorpusError`."""
    mode = _mode(finding, config)
    recordings = finding.recordings
    if mode != "official" or not finding.official:
        split_of = _split_of(mode, finding, config)
        recordings = tuple(replace(one, split=split_of[one.patient]) for one in recordings)
    check_leakage(recordings)
    return recordings


def check_leakage(recordings: Sequence[CorpusRecording]) -> None:
    """Raise `CorpusError` naming every patient who stands in more than one split (lesson 10)."""
    splits: dict[str, set[str]] = {}
    for recording in recordings:
        splits.setdefault(recording.patient, set()).add(recording.split)
    leaking = {patient: sorted(found) for patient, found in splits.items() if len(found) > 1}
    if leaking:
        raise CorpusError(
            f"{len(leaking)} patients stand in more than one split: {leaking}; TUSZ v1.5.2 has 5 "
            f"such. Leave them out with data.exclude={_listed(leaking)}, or draw the splits anew "
            "with data.split.mode=fractions or list"
        )


def draw_fractions(
    patients: Collection[str], with_seizures: Collection[str], config: SplitConfig
) -> dict[str, str]:
    """Draw a split for each patient, stratified by whether the patient has seizures.

    With three patients or more no split is empty; fewer raise `CorpusError`.
    """
    if len(patients) < len(SPLITS):
        raise CorpusError(
            f"data.split.mode=fractions needs 3 patients or more, found {sorted(patients)}; "
            "use data.split.mode=list"
        )
    ranked = sorted(patients, key=lambda patient: _rank(patient, config.seed))
    seizing = [patient for patient in ranked if patient in with_seizures]
    other = [patient for patient in ranked if patient not in with_seizures]
    wanted, first = _sizes(len(ranked), config), _sizes(len(seizing), config)
    split_of = {}
    for split in ("eval", "dev"):
        for group, count in ((seizing, first[split]), (other, wanted[split] - first[split])):
            drawn = group[: max(0, count)]
            split_of.update(dict.fromkeys(drawn, split))
            del group[: len(drawn)]
    return {**split_of, **dict.fromkeys(seizing + other, "train")}


def patients_with_seizures(recordings: Sequence[CorpusRecording]) -> frozenset[str]:
    """Read the label files (never the EDF) and return the patients who have a seizure."""
    texts: dict[str, str] = {}
    found = set()
    for recording in recordings:
        path = recording.labels
        if path is None or recording.patient in found:
            continue
        if path not in texts:  # one list may serve many recordings
            texts[path] = read_text(path)
        labels = parse_labels(path, texts[path], recording=recording.labels_recording)
        if seizures(labels.events):
            found.add(recording.patient)
    return frozenset(found)


def _mode(finding: Finding, config: SplitConfig) -> str:
    if config.mode != "auto":
        return config.mode
    if finding.official:
        return "official"
    if finding.column is not None:
        return "column"
    return "list" if config.train or config.dev or config.eval else "fractions"


def _split_of(mode: str, finding: Finding, config: SplitConfig) -> Mapping[str, str]:
    patients = {recording.patient for recording in finding.recordings}
    match mode:
        case "column" if finding.column is not None:
            _check_complete(patients, finding.column, "the split column of participants.tsv")
            return finding.column
        case "list":
            return _from_lists(patients, config)
        case "fractions":
            return draw_fractions(patients, patients_with_seizures(finding.recordings), config)
        case _:
            raise CorpusError(
                f"data.split.mode={mode} is not possible: corpus {finding.name} publishes none; "
                "use auto, list or fractions"
            )


def _from_lists(patients: Collection[str], config: SplitConfig) -> dict[str, str]:
    lists = {"train": config.train, "dev": config.dev, "eval": config.eval}
    named = Counter(patient for split in lists.values() for patient in split)
    unknown = sorted(set(named) - set(patients))
    if unknown:
        raise CorpusError(
            f"data.split lists patients that the corpus lacks: {unknown}; it has {sorted(patients)}"
        )
    twice = sorted(patient for patient, times in named.items() if times > 1)
    if twice:
        raise CorpusError(f"data.split lists patients more than once: {twice}; once is allowed")
    split_of = {patient: split for split, names in lists.items() for patient in names}
    _check_complete(patients, split_of, "data.split.train, dev and eval")
    return split_of


def _check_complete(patients: Collection[str], split_of: Mapping[str, str], where: str) -> None:
    unassigned = sorted(set(patients) - set(split_of))
    if unassigned:
        raise CorpusError(
            f"{len(unassigned)} patients have no split in {where}: {unassigned}; assign them, or "
            f"leave them out with data.exclude={_listed(unassigned)}"
        )


def _sizes(count: int, config: SplitConfig) -> dict[str, int]:
    """Share `count` patients out: one for each split as far as they go, train and eval first."""
    if count < len(SPLITS):
        return {"train": min(count, 1), "dev": 0, "eval": max(0, count - 1)}
    sizes = {
        "dev": max(1, round(count * config.dev_fraction)),
        "eval": max(1, round(count * config.eval_fraction)),
    }
    while sum(sizes.values()) >= count:
        sizes[max(sizes, key=lambda split: sizes[split])] -= 1
    return {"train": count - sum(sizes.values()), **sizes}


def _rank(patient: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest()


def _listed(patients: Collection[str]) -> str:
    return "[" + ",".join(sorted(patients)) + "]"
