"""TUH EEG Seizure Corpus: the official tree, v1.5, or flat folders of EDF with their label files.

edf/{train,dev,eval}/<patient>/<session>/<montage>/<patient>_<session>_<token>.edf, v1.5 with
<montage>/<group>/<patient>/<session> instead, or {train,dev,eval}/*.edf. In all three the patient
is what stands before the first underscore of the file name.
"""

from bgb.config.data import SPLITS, TuszCorpus
from bgb.corpora.base import CorpusRecording, Finding, SplitCounts, Tree, safe_id, stem
from bgb.errors import CorpusError

# AAREADME of v2.0.3; seizures are the events of csv_bi.
PUBLISHED = {
    "train": SplitCounts(recordings=4664, patients=579, seizures=2421, duration_s=3_277_229),
    "dev": SplitCounts(recordings=1832, patients=53, seizures=1081, duration_s=1_567_972),
    "eval": SplitCounts(recordings=865, patients=43, seizures=469, duration_s=459_713),
}
_LABEL_SUFFIXES = ("csv_bi", "csv", "tse", "tse_bi")


def find_tusz(tree: Tree, config: TuszCorpus, *, name: str = "tusz") -> Finding:
    """Find every EDF under root/{train,dev,eval} or root/edf/{train,dev,eval}."""
    placed = [
        (parts, split)
        for file in tree.ending(".edf")
        if (split := _split(parts := file.split("/")))
    ]
    if not placed:
        raise CorpusError(
            f"no EDF under {tree.root}/[edf/]{{train,dev,eval}}; found there: {tree.top[:10]}; "
            "splits are called train, dev and eval, and data.root is the folder above them"
        )
    files = set(tree.files)
    recordings = tuple(_recording(tree, files, parts, split, config) for parts, split in placed)
    official = any(_is_v2(parts) for parts, _ in placed)
    return Finding(
        name,
        recordings,
        official=True,
        expected=PUBLISHED if official and name == "tusz" else {},
        remarks=(*_absent_splits(recordings), *_other_labels(tree, recordings, config)),
    )


def _split(parts: list[str]) -> str:
    """Return the split that the folders name, or "" outside of them."""
    folders = parts[1:-1] if parts[0] == "edf" else parts[:-1]
    return folders[0] if folders and folders[0] in SPLITS else ""


def _recording(
    tree: Tree, files: set[str], parts: list[str], split: str, config: TuszCorpus
) -> CorpusRecording:
    file = "/".join(parts)
    patient = stem(file).split("_")[0]
    folders = parts[parts.index(split) + 1 : -1]
    if folders and patient not in folders:
        raise CorpusError(
            f"{tree.path(file)}: the file name says patient {patient!r}, its folders {folders} "
            "do not; move the file to where it belongs"
        )
    labels = f"{file[: -len('.edf')]}.{config.labels}"
    return CorpusRecording(
        recording_id=safe_id(stem(file)),
        patient=patient,
        split=split,
        edf=tree.path(file),
        labels=tree.path(labels) if labels in files else None,
    )


def _is_v2(parts: list[str]) -> bool:
    """Tell the official tree of v2 by its session/montage folders above the file."""
    return len(parts) >= 4 and parts[-2][:2].isdigit() and parts[-2][2:6] == "_tcp"


def _absent_splits(recordings: tuple[CorpusRecording, ...]) -> list[str]:
    present = {recording.split for recording in recordings}
    absent = [split for split in SPLITS if split not in present]
    hint = "v1.5 has no eval; data.split.mode=list or fractions makes three splits"
    return [f"no recordings in {absent} ({hint})"] if absent else []


def _other_labels(
    tree: Tree, recordings: tuple[CorpusRecording, ...], config: TuszCorpus
) -> list[str]:
    """Say which label files there are where not one of the wanted kind was found."""
    if any(recording.labels for recording in recordings):
        return []
    kinds = [kind for kind in _LABEL_SUFFIXES if tree.ending(f".{kind}")]
    return [f"no .{config.labels} file at all; data.corpus.labels could be one of {kinds}"]
