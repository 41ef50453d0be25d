"""The snapshot: which recordings a selection of a corpus had when its cache was last built.

With it a run needs the cache alone (`data.check_source=false`): neither data.root nor an EDF file
is touched. It lies in <cache>/snapshots/<selection>-<root>.json. Of the root only a hash is kept,
as machine paths never enter a cache; a cache that was copied to another machine still serves, as
long as all roots that it was built from had the same recordings.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from bgb.config.data import SPLITS, DataConfig, PreprocessConfig
from bgb.corpora.base import Corpus
from bgb.data.cache import BUILD_COMMAND
from bgb.data.key import FORMAT_VERSION, cache_folder
from bgb.errors import CacheError, RunError
from bgb.files import read_json, write_text

SNAPSHOTS = "snapshots"  # folder below that of the cache

Recordings = tuple[tuple[str, str], ...]  # (split, recording id)


def write_snapshot(config: DataConfig, corpus: Corpus) -> None:
    """Keep which recordings the corpus has; call it once all that were wanted are cached."""
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for recording in corpus.recordings:
        splits[recording.split].append(recording.recording_id)
    path = snapshot_path(config)
    values = {"format_version": FORMAT_VERSION, "selection": _selection(config), **splits}
    text = json.dumps(values, indent=2) + "\n"
    if not path.is_file() or path.read_text() != text:
        write_text(path, text)


def read_snapshot(config: DataConfig) -> Recordings:
    """Return (split, recording id) of what the last build of this selection found.

    Raises
    ------
    CacheError : there is none, it is damaged, or two roots had different recordings.
    """
    own = snapshot_path(config)
    paths = [own] if own.is_file() else sorted(own.parent.glob(f"{own.name.partition('-')[0]}-*"))
    found = {path: _read(path) for path in paths if path.suffix == ".json"}
    if not found:
        raise CacheError(
            f"data.check_source=false, but {cache_folder(config)} was never completed for "
            f"{_selection(config)}: build it where data.root is at hand: {BUILD_COMMAND}"
            f"{_imported_hint(config)}"
        )
    if len(set(found.values())) > 1:
        raise CacheError(
            f"data.check_source=false, but data.root={config.root} was never built into "
            f"{cache_folder(config)}, and the {len(found)} other roots that were hold different "
            f"recordings; set data.root to one of them, or build it: {BUILD_COMMAND}"
        )
    return next(iter(found.values()))


def _imported_hint(config: DataConfig) -> str:
    filters = PreprocessConfig()  # have no part in the key of an imported cache
    other = replace(config, origin="predecessor", check_source=False, preprocess=filters)
    imported = cache_folder(other)
    here = config.origin == "edf" and imported.is_dir()
    return f"; or read the imported {imported}: data.origin=predecessor" if here else ""


def snapshot_path(config: DataConfig) -> Path:
    """Return where the list of this selection and root lies; the path tells selections apart."""
    selection = _hash(json.dumps(_selection(config), sort_keys=True))
    return cache_folder(config) / SNAPSHOTS / f"{selection}-{_hash(config.root)}.json"


def _selection(config: DataConfig) -> dict[str, Any]:  # Any: JSON
    """Return what chooses among the recordings of one cache; all else is in the cache's key."""
    return {
        "limit": config.limit,
        "exclude": sorted(config.exclude),
        "missing_labels": config.missing_labels,
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(path: Path) -> Recordings:
    try:
        values = read_json(path)
        if values["format_version"] != FORMAT_VERSION:
            raise CacheError(f"{path} has another format; build the cache anew: {BUILD_COMMAND}")
        return tuple((split, name) for split in SPLITS for name in values[split])
    except (RunError, KeyError, TypeError) as error:
        raise CacheError(
            f"{path} is damaged ({error!r}); write it anew: {BUILD_COMMAND}"
        ) from error
