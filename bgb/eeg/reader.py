"""read_recording: an EDF file and the labels that lie beside it."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

from bgb.eeg.annotations import fit, read_labels
from bgb.eeg.annotations.labels import log_remarks
from bgb.eeg.byte_stream import is_url
from bgb.eeg.edf import read_edf
from bgb.eeg.recording import Recording

_BESIDE = (".csv_bi", ".csv", ".tse")  # TUSZ; seizure-or-not before types


def read_recording(path: str | Path, *, annotations: str | Path | None = "auto") -> Recording:
    """Read signals in microvolts and events of one recording.

    Parameters
    ----------
    path : EDF file, local or an fsspec URL such as s3://bucket/file.edf.
    annotations : a label file of any dialect; None for no events; "auto" for the file beside the
        EDF: the same stem with .csv_bi, .csv or .tse, or *_events.tsv beside *_eeg.edf. Where
        none lies there, there are no events.

    Raises
    ------
    EdfError : the EDF cannot be read without guessing.
    AnnotationError : the label file is malformed or uses an unknown label.
    """
    recording = read_edf(path)
    labels_path = _labels_beside(str(path)) if annotations == "auto" else annotations
    if labels_path is None:
        return recording
    labels = read_labels(labels_path, recording=PurePosixPath(str(path)).name)
    events, remarks = fit(labels, recording.duration_s)
    log_remarks(path, remarks)
    return replace(recording, events=events, remarks=(*recording.remarks, *remarks))


def _labels_beside(path: str) -> str | None:
    stem = path[: path.rfind(".")]
    candidates = [stem + suffix for suffix in _BESIDE]
    if stem.endswith("_eeg"):
        candidates.append(stem.removesuffix("_eeg") + "_events.tsv")
    return next((candidate for candidate in candidates if _exists(candidate)), None)


def _exists(path: str) -> bool:
    if not is_url(path):
        return Path(path).is_file()
    from fsspec.core import url_to_fs

    filesystem, inside = url_to_fs(path)
    return bool(filesystem.isfile(inside))
