"""CHB-MIT: chbNN/chbNN_MM.edf with chbNN-summary.txt beside them.

chb21 is the girl of chb01, one and a half years later: both are patient chb01, so that no split can
part them. The root may be the corpus or a single case folder.
"""

import re

from bgb.corpora.base import ALL, CorpusRecording, Finding, SplitCounts, Tree, safe_id, stem
from bgb.eeg.annotations import chbmit
from bgb.eeg.annotations.labels import read_text
from bgb.errors import CorpusError

# RECORDS of v1.0.0 (686 EDF); 24 cases of 23 persons; 198 seizures in the summaries.
PUBLISHED = {ALL: SplitCounts(recordings=686, patients=23, seizures=198)}
_SAME_PERSON = {"chb21": "chb01"}
_EDF = re.compile(r"(?:.*/)?((chb\d\d)[^/]*)\.edf")


def find_chbmit(tree: Tree) -> Finding:
    """Find every chbNN*.edf and the summary in its folder."""
    matches = [match for file in tree.ending(".edf") if (match := _EDF.fullmatch(file))]
    if not matches:
        raise CorpusError(
            f"no chbNN_*.edf under {tree.root}; found there: {tree.top[:10]}; data.root is the "
            "folder that holds chb01, chb02 and so on, or one of them"
        )
    summaries = {file: _names(tree, file) for file in tree.ending("-summary.txt")}
    recordings = tuple(_recording(tree, summaries, match) for match in matches)
    return Finding(
        "chbmit", recordings, expected=PUBLISHED, remarks=_remarks(recordings, summaries)
    )


def _names(tree: Tree, summary: str) -> tuple[str, ...]:
    path = tree.path(summary)
    return chbmit.summary_names(path, read_text(path))


def _recording(
    tree: Tree, summaries: dict[str, tuple[str, ...]], match: re.Match[str]
) -> CorpusRecording:
    file, case = match[0], match[2]
    name = file.rsplit("/", 1)[-1]
    summary = f"{file[: -len(name)]}{case}-summary.txt"
    known = summary in summaries and chbmit.has_labels(name, summaries[summary])
    return CorpusRecording(
        recording_id=safe_id(stem(file)),
        patient=_SAME_PERSON.get(case, case),
        split="",
        edf=tree.path(file),
        labels=tree.path(summary) if known else None,
        labels_recording=name if known else None,
    )


def _remarks(
    recordings: tuple[CorpusRecording, ...], summaries: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    found = {recording.edf.rsplit("/", 1)[-1] for recording in recordings}
    absent = {summary: sorted(set(names) - found) for summary, names in summaries.items()}
    remarks = [
        f"{summary} names {len(names)} recordings that are not there: {', '.join(names[:5])}"
        for summary, names in absent.items()
        if names
    ]
    if any(stem(recording.edf).startswith("chb21") for recording in recordings):
        remarks.append("chb21 is the same person as chb01 and is counted as patient chb01")
    return tuple(remarks)
