"""What a store holds, from its listing: EDF trees, caches, runs and the rest; each file once.

A cache is recognised by <corpus>/<key> above a manifest or the splits, a run by config.yaml beside
checkpoints/, provenance.json or run.lock, an EDF tree by its .edf files.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bgb.config.data import SPLITS
from bgb.data.manifest import MANIFEST
from bgb.data.snapshot import SNAPSHOTS
from bgb.errors import InfraError
from bgb.infra.storage.store import Listing, Store, StoredFile

_KEY = re.compile(r"[0-9a-f]{16}")
_TREE_TOP = re.compile(r"edf|train|dev|eval|chb\d+|PN\d+|sub-.+")  # folders of the corpora known
_OF_A_RUN = re.compile(r"provenance\.json|run\.lock|checkpoints/.+")


@dataclass(frozen=True)
class EdfTree:
    """EDF files below one folder; `num_bytes` counts label files and all else there, too."""

    path: str
    num_edf: int
    num_bytes: int
    by_split: Mapping[str, int]


@dataclass(frozen=True)
class StoredCache:
    """One cache: `recordings` are "split/name", `manifest` is current, stale, missing, damaged.

    `wanted` are the recordings that its complete builds found in the corpus (bgb/data/snapshot.py).
    """

    path: str
    corpus: str
    key: str
    recordings: frozenset[str]
    num_bytes: int
    num_unfinished: int
    manifest: str
    wanted: frozenset[str] = frozenset()


@dataclass(frozen=True)
class StoredRun:
    """One run folder and how far it came; `scored` tells that scores.json is there.

    `changed_s` is when a file last changed, seconds since 1970; 0 where nobody knows.
    """

    path: str
    state: str
    scored: bool
    num_checkpoints: int
    checkpoint_bytes: int
    num_bytes: int
    changed_s: float


@dataclass(frozen=True)
class Survey:
    """Everything in one store; `problem` where it could not be listed at all."""

    label: str
    kind: str
    num_files: int = 0
    num_bytes: int = 0
    edf: tuple[EdfTree, ...] = ()
    caches: tuple[StoredCache, ...] = ()
    runs: tuple[StoredRun, ...] = ()
    others: Mapping[str, int] | None = None  # bytes by first folder
    remarks: tuple[str, ...] = ()
    problem: str | None = None


def survey(store: Store) -> Survey:
    """Say what a store holds; one that cannot be listed is a survey with a problem."""
    try:
        listing = store.files()
    except InfraError as error:
        return Survey(store.label, store.kind, problem=str(error))
    return _sort_out(store, listing)


def _sort_out(store: Store, listing: Listing) -> Survey:
    caches, rest = _grouped(listing.files, _cache_folder)
    real = {folder: files for folder, files in caches.items() if _is_cache(folder, files)}
    rest += [file for folder in caches.keys() - real.keys() for file in caches[folder]]
    homes = _run_folders(rest)
    runs, rest = _grouped(rest, lambda file: _home(file.path, homes))
    tops = {_tree_top(file.path) for file in rest if _is_edf(file)}
    trees, rest = _grouped(rest, lambda file: _home(file.path, tops))
    others = Counter[str]()
    for file in rest:
        others[file.path.partition("/")[0] if "/" in file.path else "files"] += file.num_bytes
    return Survey(
        store.label,
        store.kind,
        num_files=len(listing.files),
        num_bytes=_total(listing.files),
        edf=tuple(_tree(path, files) for path, files in sorted(trees.items())),
        caches=tuple(_cache(store, path, files) for path, files in sorted(real.items())),
        runs=tuple(_run(store, path, files) for path, files in sorted(runs.items())),
        others=dict(others.most_common()),
        remarks=listing.problems,
    )


def _grouped(
    files: Iterable[StoredFile], folder_of: Any
) -> tuple[dict[str, list[StoredFile]], list[StoredFile]]:
    """Return files by folder, their paths still whole, and those without one."""
    groups: dict[str, list[StoredFile]] = defaultdict(list)
    rest = []
    for file in files:
        folder = folder_of(file)
        if folder is None:
            rest.append(file)
        else:
            groups[folder].append(file)
    return groups, rest


def _cache_folder(file: StoredFile) -> str | None:
    folders = file.path.split("/")[:-1]
    for depth, name in enumerate(folders):
        if depth and _KEY.fullmatch(name):
            return "/".join(folders[: depth + 1])
    return None


def _is_cache(folder: str, files: Iterable[StoredFile]) -> bool:
    below = (file.path[len(folder) + 1 :] for file in files)
    return any(path == MANIFEST or path.split("/")[0] in SPLITS for path in below)


def _run_folders(files: Iterable[StoredFile]) -> set[str]:
    configs = {file.path.rpartition("/")[0] for file in files if file.name == "config.yaml"}
    marked = set()
    for file in files:
        folder = file.path
        while folder:
            folder = folder.rpartition("/")[0]
            if folder in configs and _OF_A_RUN.fullmatch(file.path[len(folder) :].lstrip("/")):
                marked.add(folder)
    return marked


def _home(path: str, folders: set[str]) -> str | None:
    """Return the nearest of the folders that holds the path; "" is the store itself."""
    while path:
        path = path.rpartition("/")[0]
        if path in folders:
            return path
    return None


def _tree_top(path: str) -> str:
    folders = path.split("/")[:-1]
    for depth, name in enumerate(folders):
        if _TREE_TOP.fullmatch(name):
            return "/".join(folders[:depth])
    return "/".join(folders)


def _is_edf(file: StoredFile) -> bool:
    return file.name.lower().endswith(".edf") and not file.name.startswith(".")


def _tree(path: str, files: list[StoredFile]) -> EdfTree:
    edfs = [file for file in files if _is_edf(file)]
    splits = Counter(
        next((name for name in file.path.split("/")[:-1] if name in SPLITS), "") for file in edfs
    )
    splits.pop("", None)
    ordered = {split: splits[split] for split in SPLITS if split in splits}
    return EdfTree(path, len(edfs), _total(files), ordered)


def _cache(store: Store, path: str, files: list[StoredFile]) -> StoredCache:
    below = {file.path[len(path) + 1 :]: file.num_bytes for file in files}
    recordings = {
        name: num_bytes
        for name, num_bytes in below.items()
        if name.endswith(".npz") and name.split("/")[0] in SPLITS and "/." not in name
    }
    *_, corpus, key = path.split("/")
    return StoredCache(
        path,
        corpus,
        key,
        recordings=frozenset(name.removesuffix(".npz") for name in recordings),
        num_bytes=sum(below.values()),
        num_unfinished=sum(name.endswith(".partial") for name in below),
        manifest=_manifest_state(store, path, recordings) if MANIFEST in below else "missing",
        wanted=_wanted(store, path, below),
    )


def _wanted(store: Store, path: str, below: Iterable[str]) -> frozenset[str]:
    snapshots = [name for name in below if name.startswith(f"{SNAPSHOTS}/") and "/." not in name]
    found = [_read_json(store, f"{path}/{name}") for name in snapshots]
    return frozenset(
        f"{split}/{name}" for values in found for split in SPLITS for name in values.get(split, [])
    )


def _manifest_state(store: Store, path: str, recordings: Mapping[str, int]) -> str:
    """Compare names and sizes; time stamps differ between a Volume and its containers."""
    values = _read_json(store, f"{path}/{MANIFEST}")
    try:
        known = {
            f"{entry['split']}/{entry['recording_id']}.npz": entry["num_bytes"]
            for entry in values["recordings"]
        }
    except (KeyError, TypeError):
        return "damaged"
    return "current" if known == recordings else "stale"


def _run(store: Store, path: str, files: list[StoredFile]) -> StoredRun:
    prefix = f"{path}/" if path else ""
    below = {file.path.removeprefix(prefix): file for file in files}
    checkpoints = [file for file in files if file.name.endswith(".ckpt")]
    state = "unfinished"
    if "provenance.json" in below:
        values = _read_json(store, f"{prefix}provenance.json")
        if not values:
            state = "provenance.json damaged"
        elif values.get("finished"):
            state = "finished"
    return StoredRun(
        path,
        state,
        scored="scores.json" in below,
        num_checkpoints=len(checkpoints),
        checkpoint_bytes=_total(checkpoints),
        num_bytes=_total(files),
        changed_s=max((file.changed_s or 0.0 for file in files), default=0.0),
    )


def _read_json(store: Store, path: str) -> dict[str, Any]:  # Any: JSON
    """Return the object, or an empty one where it cannot be read."""
    try:
        values = json.loads(store.read(path))
    except (InfraError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _total(files: Iterable[StoredFile]) -> int:
    return sum(file.num_bytes for file in files)
