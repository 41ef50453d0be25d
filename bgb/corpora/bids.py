"""BIDS / SzCORE tree: sub-*/[ses-*/]eeg/*_eeg.edf with *_events.tsv (Helsinki, SeizeIT2, ...).

Each dataset has its own counts, so none are declared here. A `split` column of participants.tsv, if
there is one, says who is train, dev and eval.
"""

import re

from bgb.config.data import SPLITS
from bgb.corpora.base import CorpusRecording, Finding, Tree, safe_id, stem
from bgb.eeg.annotations.labels import numbered, read_text
from bgb.errors import CorpusError

_EDF = re.compile(r"(sub-[^/]+)/(?:ses-[^/]+/)?eeg/\1_(?:[^/]*_)?eeg\.edf")
_PARTICIPANTS = "participants.tsv"


def find_bids(tree: Tree) -> Finding:
    """Find every *_eeg.edf of every subject and the split column, if any."""
    matches = [match for file in tree.ending("_eeg.edf") if (match := _EDF.fullmatch(file))]
    if not matches:
        raise CorpusError(
            f"no sub-*/[ses-*/]eeg/sub-*_eeg.edf under {tree.root}; found there: {tree.top[:10]}; "
            "data.root is the folder that holds participants.tsv"
        )
    files = set(tree.files)
    recordings = tuple(_recording(tree, files, match) for match in matches)
    return Finding("bids", recordings, column=_split_column(tree))


def _recording(tree: Tree, files: set[str], match: re.Match[str]) -> CorpusRecording:
    base = match[0].removesuffix("_eeg.edf")
    events = f"{base}_events.tsv"
    return CorpusRecording(
        recording_id=safe_id(stem(match[0]).removesuffix("_eeg")),
        patient=match[1],
        split="",
        edf=tree.path(match[0]),
        labels=tree.path(events) if events in files else None,
    )


def _split_column(tree: Tree) -> dict[str, str] | None:
    if _PARTICIPANTS not in tree.files:
        return None
    path = tree.path(_PARTICIPANTS)
    head, *body = [line for line in numbered(path, read_text(path)) if line.text]
    names = head.text.split("\t")
    if "split" not in names:
        return None
    column = {}
    for line in body:
        row = dict(zip(names, line.text.split("\t"), strict=False))
        patient, split = row.get("participant_id", ""), row.get("split", "")
        if not patient or split not in SPLITS:
            raise CorpusError(
                f"{path}, line {line.number}: split {split!r} of {patient!r} is not valid; "
                f"it must be one of {SPLITS}"
            )
        column[patient] = split
    return column
