"""Siena Scalp EEG: PNxx/*.edf with Seizures-list-PNxx.txt beside them.

A list enumerates seizures, and every one of the 41 published recordings holds some; so an EDF that
its list does not name is one without labels, not one without seizures (lesson 8).
"""

import re

from bgb.corpora.base import ALL, CorpusRecording, Finding, SplitCounts, Tree, safe_id, stem
from bgb.eeg.annotations import siena
from bgb.eeg.annotations.labels import read_text
from bgb.errors import CorpusError

PUBLISHED = {ALL: SplitCounts(recordings=41, patients=14, seizures=47)}  # v1.0.0
_EDF = re.compile(r"(?:.*/)?((PN\d\d)[^/]*)\.edf")


def find_siena(tree: Tree) -> Finding:
    """Find every PNxx*.edf and the list in its folder."""
    matches = [match for file in tree.ending(".edf") if (match := _EDF.fullmatch(file))]
    if not matches:
        raise CorpusError(
            f"no PNxx*.edf under {tree.root}; found there: {tree.top[:10]}; data.root is the "
            "folder that holds PN00, PN01 and so on, or one of them"
        )
    lists = {
        file: _names(tree, file)
        for file in tree.ending(".txt")
        if file.rsplit("/", 1)[-1].startswith("Seizures-list-")
    }
    recordings = tuple(_recording(tree, lists, match) for match in matches)
    return Finding("siena", recordings, expected=PUBLISHED, remarks=_remarks(recordings, lists))


def _names(tree: Tree, file: str) -> tuple[str, ...]:
    path = tree.path(file)
    return siena.list_names(path, read_text(path))


def _recording(
    tree: Tree, lists: dict[str, tuple[str, ...]], match: re.Match[str]
) -> CorpusRecording:
    file, patient = match[0], match[2]
    name = file.rsplit("/", 1)[-1]
    labels = f"{file[: -len(name)]}Seizures-list-{patient}.txt"
    known = labels in lists and siena.has_labels(name, lists[labels])
    return CorpusRecording(
        recording_id=safe_id(stem(file)),
        patient=patient,
        split="",
        edf=tree.path(file),
        labels=tree.path(labels) if known else None,
        labels_recording=name if known else None,
    )


def _remarks(
    recordings: tuple[CorpusRecording, ...], lists: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    found = tuple(recording.edf.rsplit("/", 1)[-1] for recording in recordings)
    absent = {
        file: [name for name in names if not any(siena.has_labels(edf, (name,)) for edf in found)]
        for file, names in lists.items()
    }
    return tuple(
        f"{file} names recordings that are not there: {', '.join(names)}"
        for file, names in absent.items()
        if names
    )
