"""Corpora: where the EDF files of each one are, whose they are, and how they are split.

`find_corpus` reads names and label files only; `load_recording` reads one EDF with its events. What
is left out or differs from the published corpus is a remark, logged as a warning (lesson 18).
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import assert_never

from bgb.config.data import (
    SPLITS,
    BidsCorpus,
    ChbmitCorpus,
    CorpusConfig,
    DataConfig,
    SienaCorpus,
    SyntheticCorpus,
    TuszCorpus,
)
from bgb.corpora.base import ALL, Corpus, CorpusRecording, Finding, SplitCounts, Tree, list_tree
from bgb.corpora.bids import find_bids
from bgb.corpora.chbmit import find_chbmit
from bgb.corpora.siena import find_siena
from bgb.corpora.splits import assign_splits
from bgb.corpora.tusz import find_tusz
from bgb.eeg.annotations import Labels, fit, read_labels
from bgb.eeg.reader import read_recording
from bgb.eeg.recording import Recording
from bgb.errors import CorpusError

__all__ = [
    "Corpus",
    "CorpusRecording",
    "SplitCounts",
    "compare_start",
    "find_corpus",
    "load_labels",
    "load_recording",
]

_log = logging.getLogger(__name__)
_DAY_S = 24 * 3600


def find_corpus(config: DataConfig, *, progress: bool = True) -> Corpus:
    """Find the recordings of a corpus, their patients, splits and label files.

    Raises
    ------
    CorpusError
        A root, layout, split or label file that is missing or wrong, or a patient in two splits.
    """
    finding = _find(config.corpus, config.root, progress)
    remarks = [*finding.remarks, *_compare_counts(finding, config.expect_complete)]
    recordings = _exclude(finding.recordings, config.exclude)
    recordings, skipped = _without_unlabelled(recordings, config.missing_labels, finding.remarks)
    _check_unique(recordings)
    if not recordings:
        raise CorpusError(f"data.exclude leaves no recording of {config.root}")
    recordings = assign_splits(replace(finding, recordings=recordings), config.split)
    recordings, limited = _limit(recordings, config.limit)
    corpus = Corpus(
        finding.name,
        tuple(sorted(recordings, key=lambda one: (one.split, one.recording_id))),
        finding.expected,
        (*remarks, *skipped, *limited),
    )
    for remark in corpus.remarks:
        _log.warning("corpus %s: %s", corpus.name, remark)
    return corpus


def load_recording(recording: CorpusRecording) -> Recording:
    """Read the EDF and its labels; events past the end are clipped, with a remark."""
    labels = load_labels(recording)
    eeg = read_recording(recording.edf, annotations=None)
    events, remarks = fit(labels, eeg.duration_s)
    remarks = (*eeg.remarks, *remarks, *compare_start(labels, eeg.start))
    return replace(eeg, events=events, remarks=remarks)


def load_labels(recording: CorpusRecording) -> Labels:
    """Read all that the label file says of the recording, without clipping."""
    if recording.labels is None:
        raise CorpusError(f"{recording.edf} has no labels; find_corpus leaves such recordings out")
    return read_labels(recording.labels, recording=recording.labels_recording)


def compare_start(labels: Labels, start: datetime | None) -> tuple[str, ...]:
    """Remark where the label file lets the recording begin at another time of day than the EDF."""
    if labels.clock_s is None or start is None:
        return ()
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    edf_s = (start - midnight).total_seconds()
    apart_s = abs((labels.clock_s - edf_s + _DAY_S / 2) % _DAY_S - _DAY_S / 2)
    if apart_s <= 1:
        return ()
    return (f"the label file starts the recording {apart_s:.0f} s away from the EDF header",)


def _find(corpus: CorpusConfig, root: str, progress: bool) -> Finding:
    if isinstance(corpus, SyntheticCorpus):
        from bgb.corpora.synthetic import ensure_synthetic

        ensure_synthetic(Path(root).expanduser(), corpus, progress=progress)
    tree = list_tree(root)
    finding = _find_in(tree, corpus)
    return replace(finding, remarks=(*finding.remarks, *_not_taken(tree, finding)))


def _not_taken(tree: Tree, finding: Finding) -> tuple[str, ...]:
    """Say which EDF files lie under the root and are no recordings of the corpus."""
    taken = {recording.edf for recording in finding.recordings}
    edfs = [file for file in tree.files if file.lower().endswith(".edf")]
    left = [file for file in edfs if tree.path(file) not in taken]
    if not left:
        return ()
    return (
        f"{len(left)} EDF files are not where or named as the corpus has them (.edf in lower case) "
        f"and are left out: {', '.join(left[:5])}{', ...' if len(left) > 5 else ''}",
    )


def _find_in(tree: Tree, corpus: CorpusConfig) -> Finding:
    match corpus:
        case SyntheticCorpus():
            return find_tusz(tree, TuszCorpus(), name="synthetic")
        case TuszCorpus():
            return find_tusz(tree, corpus)
        case ChbmitCorpus():
            return find_chbmit(tree)
        case SienaCorpus():
            return find_siena(tree)
        case BidsCorpus():
            return find_bids(tree)
        case _:
            assert_never(corpus)


def _compare_counts(finding: Finding, refuse: bool) -> list[str]:
    """Compare recordings and patients with the published counts."""
    remarks = []
    for split, expected in finding.expected.items():
        found = [one for one in finding.recordings if split in (ALL, one.split)]
        counts = len(found), len({one.patient for one in found})
        if counts != (expected.recordings, expected.patients):
            remarks.append(
                f"{split} has {counts[0]} recordings (published {expected.recordings}) of "
                f"{counts[1]} patients (published {expected.patients})"
            )
    if remarks and refuse:
        raise CorpusError(
            f"corpus {finding.name} is not as published ({'; '.join(remarks)}); mend the copy, "
            "or set data.expect_complete=false"
        )
    return remarks


def _exclude(
    recordings: tuple[CorpusRecording, ...], names: Sequence[str]
) -> tuple[CorpusRecording, ...]:
    """Leave out recordings by id, by patient or by the end of their path."""
    for name in names:
        if not any(_is_called(one, name) for one in recordings):
            known = {one.recording_id for one in recordings} | {one.patient for one in recordings}
            raise CorpusError(
                f"data.exclude names {name!r}, neither a recording nor a patient; "
                f"nearest: {get_close_matches(name, known) or sorted(known)[:3]}"
            )
    return tuple(one for one in recordings if not any(_is_called(one, name) for name in names))


def _is_called(recording: CorpusRecording, name: str) -> bool:
    return name in (recording.recording_id, recording.patient) or recording.edf.endswith(f"/{name}")


def _without_unlabelled(
    recordings: tuple[CorpusRecording, ...], policy: str, hints: Sequence[str]
) -> tuple[tuple[CorpusRecording, ...], list[str]]:
    """Apply data.missing_labels; a missing label file never means no seizures (lesson 8)."""
    missing = [one for one in recordings if one.labels is None]
    if not missing:
        return recordings, []
    names = ", ".join(one.edf for one in missing[:10]) + (", ..." if len(missing) > 10 else "")
    what = f"{len(missing)} of {len(recordings)} recordings have no labels: {names}"
    if policy == "error" or len(missing) == len(recordings):
        raise CorpusError(
            f"{what}; add the label files (or the entries in the list), or leave these recordings "
            f"out with data.missing_labels=skip or data.exclude. {'; '.join(hints)}".rstrip()
        )
    return tuple(one for one in recordings if one.labels is not None), [f"{what}: left out"]


def _check_unique(recordings: Sequence[CorpusRecording]) -> None:
    times = Counter(one.recording_id for one in recordings)
    twice = [one.edf for one in recordings if times[one.recording_id] > 1]
    if twice:
        raise CorpusError(
            f"recordings of the same name: {twice[:10]}; leave one of each out, e.g. "
            f"data.exclude=[{'/'.join(twice[0].split('/')[-2:])}]"
        )


def _limit(
    recordings: tuple[CorpusRecording, ...], limit: int | None
) -> tuple[tuple[CorpusRecording, ...], list[str]]:
    """Keep the first N recordings of each split; said aloud, lest it leak (lesson 18)."""
    if limit is None:
        return recordings, []
    ordered = sorted(recordings, key=lambda one: one.recording_id)
    kept = tuple(
        one for split in SPLITS for one in [one for one in ordered if one.split == split][:limit]
    )
    return kept, [f"data.limit={limit}: {len(kept)} of {len(recordings)} recordings are used"]
