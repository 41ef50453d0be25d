"""What a corpus is: recordings with patient, split and labels, read from a tree of files.

A finder (one file per corpus) turns a `Tree` into a `Finding`; splits, exclusions and checks are
common to all and made afterwards by `find_corpus`. A patient is a person, whatever the folders say.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import fsspec

from bgb.eeg.remote import explain, remote_errors
from bgb.errors import CorpusError

ALL = "all"  # key of the published counts of a corpus without official split


@dataclass(frozen=True)
class CorpusRecording:
    """One EDF file of a corpus and where its labels stand.

    Attributes
    ----------
    recording_id : unique in the corpus and safe as a file name.
    patient : the person; the unit of every split.
    split : "train", "dev" or "eval"; "" before splits are assigned.
    edf, labels : path or URL; `labels` is None where nothing is known of the recording.
    labels_recording : name of the recording within a label file that lists many.
    """

    recording_id: str
    patient: str
    split: str
    edf: str
    labels: str | None
    labels_recording: str | None = None


@dataclass(frozen=True)
class SplitCounts:
    """Published counts of one split, or of a whole corpus."""

    recordings: int
    patients: int
    seizures: int
    duration_s: float | None = None


@dataclass(frozen=True)
class Corpus:
    """A corpus ready to be cached: recordings sorted by (split, recording_id).

    Attributes
    ----------
    expected : published counts by split (or "all"); empty where none are published.
    remarks : what differs from the published corpus and what was left out, one line each.
    """

    name: str
    recordings: tuple[CorpusRecording, ...]
    expected: Mapping[str, SplitCounts] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What a finder saw, before splits are assigned.

    Attributes
    ----------
    official : the recordings carry the split that the corpus publishes.
    column : split of each patient by participants.tsv, if that has such a column.
    """

    name: str
    recordings: tuple[CorpusRecording, ...]
    official: bool = False
    column: Mapping[str, str] | None = None
    expected: Mapping[str, SplitCounts] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tree:
    """All files under a root but hidden ones, as sorted relative POSIX paths."""

    root: str
    files: tuple[str, ...]

    def path(self, relative: str) -> str:
        """Return the path or URL of one file."""
        return f"{self.root}/{relative}"

    def ending(self, suffix: str) -> tuple[str, ...]:
        """Return the files whose names end so."""
        return tuple(file for file in self.files if file.endswith(suffix))

    @property
    def top(self) -> list[str]:
        """Names directly under the root, for error messages."""
        return sorted({file.split("/")[0] for file in self.files})


def list_tree(root: str) -> Tree:
    """List a local folder (following links) or an fsspec URL; a missing one raises."""
    if "://" in root:
        return _list_url(root.rstrip("/"))
    folder = Path(root).expanduser().absolute()
    if not folder.is_dir():
        raise _no_root(root)
    files = (
        (Path(parent) / name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
    )
    return Tree(str(folder), _visible(files))


def safe_id(name: str) -> str:
    """Return a name that any file system takes."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name)


def stem(file: str) -> str:
    """Return the file name without folders and without its last suffix."""
    return file.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _list_url(url: str) -> Tree:
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        files = filesystem.find(path)
    except remote_errors() as error:
        raise CorpusError(f"data.root: {explain(url, error)}") from error
    if not files:
        raise _no_root(url)
    return Tree(url, _visible(file[len(path) :].lstrip("/") for file in files))


def _visible(files: Iterable[str]) -> tuple[str, ...]:
    """Sort and leave out hidden files: macOS puts `._x.edf` beside each `x.edf`."""
    return tuple(sorted(file for file in files if not file.rsplit("/", 1)[-1].startswith(".")))


def _no_root(root: str) -> CorpusError:
    return CorpusError(
        f"data.root={root!r} does not exist or is empty; set data.root to the folder or fsspec URL "
        "that holds the EDF files"
    )
