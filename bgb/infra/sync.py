"""Fetch what a job left on the Volume: its folder, and the folders that it named as outputs.

Only what changed is fetched (size or time), each file appears whole or not at all, nothing local is
ever removed, and what `infra.sync_exclude` names stays on the Volume.
"""

import json
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bgb.errors import InfraError
from bgb.files import write_atomically
from bgb.infra import attempts
from bgb.infra.remote_job import OUTPUTS
from bgb.infra.worker import RESULT

if TYPE_CHECKING:
    from modal import Volume
    from modal.types import FileEntry

_LOG = logging.getLogger(__name__)
_AT_ONCE = 8  # downloads
# What the worker writes into a job's folder for itself.
_OF_THE_WORKER = (f"{attempts.FOLDER}/*", RESULT, OUTPUTS)
_TORN = ".*.partial"  # what a killed container was writing; see bgb/files.py


@dataclass(frozen=True)
class Fetched:
    """What came over the network; files that had not changed are not in it."""

    num_files: int = 0
    num_bytes: int = 0

    def __add__(self, other: "Fetched") -> "Fetched":
        return Fetched(self.num_files + other.num_files, self.num_bytes + other.num_bytes)


def sync_job(volume: "Volume", job_dir: str, local: Path, *, exclude: Sequence[str]) -> Fetched:
    """Fetch a job's folder, and each of its output folders into a sub-folder of the same name.

    Parameters
    ----------
    job_dir : the job's folder, relative to the root of the Volume.

    Raises
    ------
    OSError : a file cannot be written here.
    modal.exception.Error : the Volume cannot be read.
    """
    fetched = sync_folder(volume, job_dir, local, exclude=(*exclude, *_OF_THE_WORKER))
    for folder in _outputs(volume, job_dir):
        target = local / PurePosixPath(folder).name
        fetched += sync_folder(volume, folder, target, exclude=exclude)
    return fetched


def sync_folder(volume: "Volume", remote: str, local: Path, *, exclude: Sequence[str]) -> Fetched:
    """Fetch every file below a folder of the Volume that is not here already."""
    wanted = []
    for entry, relative in _files(volume, remote):
        path = local / relative
        if not _is_excluded(relative, (*exclude, _TORN)) and not _is_here(path, entry):
            wanted.append((entry, path))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(lambda pair: _fetch(volume, *pair), wanted):
            pass
    return Fetched(len(wanted), sum(entry.size for entry, _ in wanted))


def on_volume(path: str, mount: str) -> str:
    """Return a container's path relative to the root of the Volume."""
    return str(PurePosixPath(path).relative_to(mount))


def _outputs(volume: "Volume", job_dir: str) -> list[str]:
    from modal.exception import NotFoundError

    path = f"{job_dir}/{OUTPUTS}"
    try:
        text = b"".join(volume.read_file(path))
    except (NotFoundError, FileNotFoundError):
        return []
    try:
        return [str(folder) for folder in json.loads(text)["folders"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InfraError(f"{path} on the Volume names no folders: {text[:60]!r}") from error


def _files(volume: "Volume", remote: str) -> Iterable[tuple["FileEntry", PurePosixPath]]:
    from modal.exception import NotFoundError
    from modal.types import FileEntryType

    try:
        entries = volume.listdir(f"/{remote}", recursive=True)
    except (NotFoundError, FileNotFoundError):
        return
    for entry in entries:
        path, folder = PurePosixPath("/", entry.path), f"/{remote}"
        if ".." in path.parts or not path.is_relative_to(folder):
            raise InfraError(f"the Volume lists {entry.path!r}, which leads out of {remote}")
        relative = path.relative_to(folder)
        if entry.type == FileEntryType.FILE:
            yield entry, relative
        elif entry.type == FileEntryType.SYMLINK:
            _LOG.warning("%s is a link; it stays on the Volume", entry.path)


def _is_excluded(relative: PurePosixPath, patterns: Sequence[str]) -> bool:
    """Tell whether a pattern fits the file's name, or its path from the folder on."""
    return any(
        fnmatchcase(relative.name, pattern) or fnmatchcase(str(relative), pattern)
        for pattern in patterns
    )


def _is_here(path: Path, entry: "FileEntry") -> bool:
    if not path.is_file():
        return False
    status = path.stat()
    return status.st_size == entry.size and int(status.st_mtime) == int(entry.mtime)


def _fetch(volume: "Volume", entry: "FileEntry", path: Path) -> None:
    write_atomically(path, lambda file: file.writelines(volume.read_file(entry.path)))
    os.utime(path, (entry.mtime, entry.mtime))
