"""Import the caches of the predecessor: `python -m bgb.cache action=import source=<folder>`.

An import is a build whose sources are the old files instead of EDF: in parallel, each recording
once, resumable, the old files only read. What comes out has a key of its own: it holds z-scores,
not microvolts, and never mixes with what was built from EDF. Runs ask for it with
`data.origin=predecessor data.check_source=false`.
"""

import logging
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table

from bgb.config.data import SPLITS, DataConfig, SyntheticCorpus, TuszCorpus
from bgb.corpora.base import Corpus, CorpusRecording, safe_id
from bgb.data.build import build_cache
from bgb.data.cache import open_cache
from bgb.data.check import check_cache, summarise
from bgb.data.import_recording import import_recording
from bgb.data.key import cache_folder, corpus_name
from bgb.data.legacy import (
    STRIDE_S,
    WINDOW_S,
    count_windows,
    labels_file,
    legacy_files,
    recording_name,
)
from bgb.data.source import FILES_AT_ONCE
from bgb.eeg.signal import ZSCORE_SPEC
from bgb.errors import CacheError, ConfigError

_LOG = logging.getLogger(__name__)
_SECOND_BYTES = 2 * ZSCORE_SPEC.num_channels * ZSCORE_SPEC.rate_hz
_FILE_BYTES = 64 << 10  # meta, events and alignment, generously


@dataclass(frozen=True)
class ImportedSplit:
    """Sizes of one split before and after."""

    split: str
    num_recordings: int
    hours: float
    num_seizures: int
    seizure_s: float
    old_bytes: int
    new_bytes: int


@dataclass(frozen=True)
class ImportReport:
    """What an import did."""

    folder: Path
    built: tuple[str, ...]
    splits: tuple[ImportedSplit, ...]


def import_cache(
    config: DataConfig, source: str, *, progress: bool = True, force: bool = False
) -> ImportReport:
    """Turn the predecessor's files under `source`/{train,dev,eval} into a cache of ours.

    A second call does nothing; one that was killed goes on. `data.limit` and `data.exclude` hold.

    Raises
    ------
    CacheError : no such files, no room, recordings that could not be imported (all others are),
        or a cache that cannot be trained on (no seizures, a patient in two splits).
    """
    config = imported(config, source)
    corpus, num_windows = find_legacy(config)
    folder = cache_folder(config)
    _say_sizes(folder, corpus, num_windows)
    report = build_cache(config, corpus, progress=progress, force=force, work=import_recording)
    recordings = [(one.split, one.recording_id) for one in corpus.recordings]
    cache = open_cache(folder, recordings=recordings)
    splits = [split for split in SPLITS if cache.split(split)]
    check_cache(cache, splits=splits)
    old = dict.fromkeys(splits, 0)
    for one in corpus.recordings:
        old[one.split] += _old_bytes(one)
    rows = [
        ImportedSplit(
            *(row.split, row.num_recordings, row.hours, row.num_seizures, row.seizure_s),
            old_bytes=old[row.split],
            new_bytes=sum(item.entry.num_bytes for item in cache.split(row.split)),
        )
        for row in summarise(cache)
    ]
    return ImportReport(folder, report.built, tuple(rows))


def imported(config: DataConfig, source: str) -> DataConfig:
    """Return the configuration of the imported cache: its key, and no EDF files to compare with."""
    if not isinstance(config.corpus, TuszCorpus | SyntheticCorpus):
        raise ConfigError(
            f"data={corpus_name(config)}: the predecessor cached TUSZ; choose data=tusz"
        )
    return replace(config, origin="predecessor", check_source=False, root=source)


def find_legacy(config: DataConfig) -> tuple[Corpus, dict[str, int | None]]:
    """Return the recordings under data.root/{train,dev,eval}, and the windows of each.

    Those without a window are left out, with a remark; None stands for an unreadable file, which
    the build will name.
    """
    root = Path(config.root).expanduser()
    found = [_recording(path, split) for split in SPLITS for path in legacy_files(root, split)]
    if not found:
        raise CacheError(
            f"source={config.root} holds no {{train,dev,eval}}/<recording>_windows.npz (or "
            f"_data.npy with _labels.npy); there is {_top(root)}. Give the folder above train, dev "
            "and eval; other names of splits (val, test) must be renamed or linked to these"
        )
    chosen = _choose(found, config)
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        counts = dict(zip([one.recording_id for one in chosen], pool.map(_count, chosen)))
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        _LOG.warning(
            "%d recordings shorter than %d s have no window in the predecessor's cache and are "
            "left out: %s%s",
            *(len(empty), WINDOW_S, ", ".join(empty[:5]), ", ..." if len(empty) > 5 else ""),
        )
    kept = tuple(one for one in chosen if counts[one.recording_id] != 0)
    return Corpus(corpus_name(config), kept), counts


def import_table(report: ImportReport) -> Table:
    """Return sizes before and after as a table, and how to train on the result."""
    table = Table(title=f"imported into {report.folder}: {len(report.built)} recordings now")
    for column in (
        "split",
        "recordings",
        "hours",
        "seizures",
        "seizure s",
        "GB before",
        "GB after",
    ):
        table.add_column(column, justify="left" if column == "split" else "right")
    table.add_column("times smaller", justify="right")
    for row in report.splits:
        table.add_row(
            row.split,
            f"{row.num_recordings:,}",
            f"{row.hours:,.2f}",
            f"{row.num_seizures:,}",
            f"{row.seizure_s:,.0f}",
            f"{row.old_bytes / 1e9:,.3f}",
            f"{row.new_bytes / 1e9:,.3f}",
            f"{row.old_bytes / row.new_bytes:.1f}",
        )
    table.caption = (
        "z-scores, no microvolts; the old files were only read and are still there\n"
        "to train on it: data.origin=predecessor data.check_source=false"
    )
    table.caption_justify = "left"
    return table


def _recording(path: Path, split: str) -> CorpusRecording:
    name, labels = recording_name(path), labels_file(path)
    assert name is not None
    return CorpusRecording(
        recording_id=safe_id(name),
        patient=name.split("_")[0],
        split=split,
        edf=str(path.absolute()),
        labels=str(labels.absolute()) if labels else None,
    )


def _top(root: Path) -> str:
    if not root.is_dir():
        return "no such folder"
    names = sorted(path.name for path in root.iterdir())
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "nothing"


def _choose(found: Sequence[CorpusRecording], config: DataConfig) -> list[CorpusRecording]:
    """Apply data.exclude and data.limit as `find_corpus` does."""
    excluded = set(config.exclude)
    kept = [one for one in found if not excluded & {one.recording_id, one.patient}]
    _refuse_shared_patients(kept)
    groups = ([one for one in kept if one.split == split][: config.limit] for split in SPLITS)
    chosen = [one for group in groups for one in group]
    if not chosen:
        raise CacheError(f"data.exclude leaves no recording of source={config.root}")
    return chosen


def _refuse_shared_patients(found: Sequence[CorpusRecording]) -> None:
    """Refuse the splits by file that the predecessor began with (lesson 10), and doubles."""
    split_of: dict[str, str] = {}
    seen: dict[str, str] = {}
    for one in found:
        other = split_of.setdefault(one.patient, one.split)
        if other != one.split:
            raise CacheError(
                f"patient {one.patient} is in {other} and in {one.split}: leakage (lesson 10); "
                "move the files of one split out, or name the patient in data.exclude"
            )
        double = seen.setdefault(one.recording_id, one.edf)
        if double != one.edf:
            raise CacheError(f"{double} and {one.edf} are the same recording; move one of them out")


def _count(recording: CorpusRecording) -> int | None:
    try:
        return count_windows(Path(recording.edf))
    except CacheError:
        return None


def _old_bytes(recording: CorpusRecording) -> int:
    files = [recording.edf, *([recording.labels] if recording.labels else [])]
    return sum(Path(file).stat().st_size for file in files)


def _say_sizes(folder: Path, corpus: Corpus, num_windows: dict[str, int | None]) -> None:
    """Log the size before and, about, after; refuse a disk that has no room for what lacks."""
    old = after = lacking = 0
    for one in corpus.recordings:
        old += _old_bytes(one)
        count = num_windows[one.recording_id] or 1
        size = (WINDOW_S + STRIDE_S * (count - 1)) * _SECOND_BYTES + _FILE_BYTES
        after += size
        lacking += 0 if (folder / one.split / f"{one.recording_id}.npz").exists() else size
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    _LOG.info(
        "import: %d recordings of %.2f GB become about %.2f GB under %s (%.2f GB to write, "
        "%.2f GB free)",
        *(len(corpus.recordings), old / 1e9, after / 1e9, folder, lacking / 1e9, free / 1e9),
    )
    if lacking > free:
        raise CacheError(
            f"the import needs {lacking / 1e9:.1f} GB under {folder}, {free / 1e9:.1f} GB are "
            "free; set data.cache_root to a larger disk"
        )
