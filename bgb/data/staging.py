"""Staging: the copy of a cache on a local disk, for caches on volumes too slow to read at random.

A copy has the path, the contents and the time stamps of the original, so that its manifest and its
snapshots hold, and whatever reads a cache reads the copy. Only whole, checked files get their
names; what is there already is not copied again. Nothing is ever deleted: a folder that was not
made here is refused, not filled. The original may be an fsspec URL: then its manifest.json says
what there is.
"""

import contextlib
import logging
import os
import shutil
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from fsspec.core import url_to_fs

from bgb.config.data import DataConfig
from bgb.data.cache import BUILD_COMMAND
from bgb.data.key import cache_folder, cache_key, corpus_name
from bgb.data.manifest import MANIFEST, Entry, load_manifest, refresh_manifest, write_manifest
from bgb.data.npz import read_meta
from bgb.data.progress import ByteProgress
from bgb.data.snapshot import SNAPSHOTS
from bgb.eeg.remote import explain, read_parts, read_url, remote_errors
from bgb.errors import CacheError
from bgb.files import write_bytes, write_json
from bgb.locks import hold, owner

_LOG = logging.getLogger(__name__)
MARKER = "staged.json"  # its folder was made here
_LOCK = "staging.lock"
_COPIES = 16  # files on their way at once: a stream of a volume or bucket brings 50 to 300 MB/s
_PIECE_BYTES = 8 << 20
_RESERVE_BYTES = 1 << 30  # left free on the local disk


@dataclass(frozen=True)
class StagingReport:
    """What staging did: paths below the folder, bytes copied, seconds of wall time."""

    folder: Path
    copied: tuple[str, ...]
    present: tuple[str, ...]
    num_bytes: int
    seconds: float


def staged_config(config: DataConfig) -> DataConfig:
    """Return the configuration whose cache is the copy."""
    assert config.staging is not None
    return replace(config, cache_root=config.staging, staging=None)


def stage_lists(config: DataConfig) -> None:
    """Copy the small files of the cache, manifest and snapshots, into its folder below staging.

    Raises
    ------
    CacheError : there is no cache, or that folder holds one that was not staged.
    """
    source, folder = _source(config), cache_folder(staged_config(config))
    files = _small_files(source)
    if MANIFEST not in files:
        raise CacheError(f"no valid {MANIFEST} in {source}; (re)build it: {BUILD_COMMAND}")
    _claim(folder, source)
    with _exclusive(folder):
        for path in files:
            write_bytes(folder / path, read_url(f"{source}/{path}"))


def stage_recordings(
    config: DataConfig, recordings: Iterable[tuple[str, str]], *, progress: bool = True
) -> StagingReport:
    """Copy recordings that the staged folder lacks, several at a time, and check each copy.

    Parameters
    ----------
    recordings : (split, recording id) of those wanted.

    Raises
    ------
    CacheError : a recording is missing or damaged, or the local disk has too little room.
    """
    started = time.monotonic()
    source, folder = _source(config), cache_folder(staged_config(config))
    with _exclusive(folder):
        entries = _wanted(source, folder, recordings)
        lacking = [entry for entry in entries if not _is_there(folder, entry)]
        num_bytes = sum(entry.num_bytes for entry in lacking)
        _LOG.info(
            "staging %s: %d of %d recordings, %.3f GB, to %s (%.1f GB free)",
            *(source, len(lacking), len(entries), num_bytes / 1e9, folder, _free(folder) / 1e9),
        )
        _refuse_full_disk(folder, num_bytes)
        _copy_all(source, folder, lacking, progress=progress)
        write_manifest(folder, refresh_manifest(folder))
    copied = {entry.path for entry in lacking}
    return StagingReport(
        folder,
        copied=tuple(sorted(copied)),
        present=tuple(sorted(entry.path for entry in entries if entry.path not in copied)),
        num_bytes=num_bytes,
        seconds=time.monotonic() - started,
    )


def _source(config: DataConfig) -> str:
    """Return folder or URL of the original."""
    if "://" not in config.cache_root:
        return str(cache_folder(config).absolute())
    return f"{config.cache_root.rstrip('/')}/{corpus_name(config)}/{cache_key(config)}"


def _small_files(source: str) -> list[str]:
    """Return the names of manifest and snapshots below a cache, where it has them."""
    try:
        filesystem, root = url_to_fs(source)
        found = [f"{root}/{MANIFEST}"] if filesystem.isfile(f"{root}/{MANIFEST}") else []
        if filesystem.isdir(f"{root}/{SNAPSHOTS}"):
            found += filesystem.ls(f"{root}/{SNAPSHOTS}", detail=False)
    except remote_errors() as error:
        raise CacheError(f"data.cache_root: {explain(source, error)}") from error
    return [path.removeprefix(root).lstrip("/") for path in found if path.endswith(".json")]


def _claim(folder: Path, source: str) -> None:
    """Mark an empty folder as ours; refuse one that somebody else filled."""
    marker = folder / MARKER
    if marker.is_file():
        return
    if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise CacheError(
            f"{folder} was not made by staging: it may be a cache of its own and is left alone; "
            "set data.staging to another folder"
        )
    write_json(marker, {"source": source})


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Let one process at a time fill the folder; the others find the work done."""
    with hold(folder / _LOCK, wait=False) as mine:
        if mine:
            yield
            return
    _LOG.info("waiting for %s, staged by %s", folder, owner(folder / _LOCK))
    with hold(folder / _LOCK, wait=True):
        yield


def _wanted(source: str, folder: Path, recordings: Iterable[tuple[str, str]]) -> list[Entry]:
    """Return what the original has of the recordings, the largest first."""
    remote = "://" in source
    manifest: Mapping[str, Entry] | None
    manifest = load_manifest(folder) if remote else refresh_manifest(Path(source))
    paths = [f"{split}/{recording_id}.npz" for split, recording_id in recordings]
    missing = [path for path in paths if path not in (manifest or {})]
    if manifest is None or missing:
        raise CacheError(
            f"{source} is incomplete: {len(missing)} of {len(paths)} recordings are missing "
            f"({', '.join(missing[:5])}); build them: {BUILD_COMMAND}"
        )
    return sorted((manifest[path] for path in paths), key=lambda entry: -entry.num_bytes)


def _is_there(folder: Path, entry: Entry) -> bool:
    try:
        status = (folder / entry.path).stat()
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (entry.num_bytes, entry.stamp)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _refuse_full_disk(folder: Path, num_bytes: int) -> None:
    free = _free(folder)
    if num_bytes and num_bytes + _RESERVE_BYTES > free:
        raise CacheError(
            f"staging needs {num_bytes:,} bytes and leaves {_RESERVE_BYTES:,} free, but the disk "
            f"of {folder} has {free:,}; set data.staging to a larger disk, stage fewer recordings "
            "with data.limit, or read in place with data.staging=null"
        )


def _copy_all(source: str, folder: Path, entries: Sequence[Entry], *, progress: bool) -> None:
    if not entries:
        return
    total = sum(entry.num_bytes for entry in entries)
    with (
        ByteProgress("staging", total, len(entries), bar=progress) as bar,
        ThreadPoolExecutor(min(_COPIES, len(entries)), "bgb-staging") as pool,
    ):
        futures = [pool.submit(_copy, source, folder, entry) for entry in entries]
        try:
            for entry, future in zip(entries, futures):
                future.result()
                bar.advance(entry.num_bytes, entry.recording_id)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _copy(source: str, folder: Path, entry: Entry) -> None:
    """Copy one file under a name of ours, check it, and only then give it its own."""
    original, target = f"{source}/{entry.path}", folder / entry.path
    target.parent.mkdir(exist_ok=True)
    # Always the same name, as only one process stages: a killed one leaves one file to overwrite.
    temporary = target.with_name(f".{target.name}.staged.partial")
    try:
        with temporary.open("wb") as file:
            for piece in _pieces(original):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except remote_errors() as error:
        raise CacheError(f"{original} cannot be copied to {temporary}: {error}") from error
    problem = _problem(temporary, entry, key=folder.name)
    if problem:
        raise CacheError(
            f"{original} does not arrive whole: {problem}; `python -m bgb.cache action=verify "
            "data=...` tells whether it is damaged there, and how to mend it"
        )
    os.utime(temporary, ns=(entry.stamp, entry.stamp))
    temporary.replace(target)


def _pieces(original: str) -> Iterator[bytes]:
    if "://" in original:
        yield from read_parts(original)
        return
    descriptor, position = os.open(original, os.O_RDONLY), 0
    try:
        while piece := os.pread(descriptor, _PIECE_BYTES, position):
            yield piece
            position += len(piece)
    finally:
        os.close(descriptor)


def _problem(path: Path, entry: Entry, *, key: str) -> str | None:
    """Say what is wrong with a copy: all of its members have checksums, and it says what it is."""
    size = path.stat().st_size
    if size != entry.num_bytes:
        return f"{size:,} bytes came of {entry.num_bytes:,}"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        meta = read_meta(path)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, CacheError) as error:
        return str(error)
    if damaged:
        return f"its member {damaged} differs from its checksum"
    found = meta["key"], meta["split"], meta["recording_id"], meta["edf"]["sha256"]
    if found != (key, entry.split, entry.recording_id, entry.edf.sha256):
        cache, split, recording_id, _ = found
        return f"it holds {split}/{recording_id} of cache {cache}, not what the manifest lists"
    return None
