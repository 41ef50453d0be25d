"""Stores: a local folder, an fsspec URL or a Modal Volume, each listed and read in the same way.

A Volume is read from outside of its containers: what it shows is the last commit.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import fsspec

from bgb.config.infra import InfraConfig
from bgb.eeg.remote import explain, remote_errors
from bgb.errors import InfraError
from bgb.infra.modal_errors import explained

if TYPE_CHECKING:
    import modal


@dataclass(frozen=True)
class StoredFile:
    """One file; `path` is relative to its store, `changed_s` seconds since 1970 where known."""

    path: str
    num_bytes: int
    changed_s: float | None = None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Listing:
    """All files of a store, sorted by path, and what could not be listed."""

    files: tuple[StoredFile, ...]
    problems: tuple[str, ...] = ()


class Store(Protocol):
    """What can be listed and read; every failure is an `InfraError` that says what to do."""

    @property
    def label(self) -> str:
        """Name for people, without secrets."""

    @property
    def kind(self) -> str:
        """What it is: disk, s3 or another protocol, Volume, bucket."""

    def files(self) -> Listing:
        """List every file."""

    def read(self, path: str, *, start: int = 0, stop: int | None = None) -> bytes:
        """Read bytes [start, stop) of a file."""


def open_store(place: str) -> Store:
    """Return the store of a folder or an fsspec URL."""
    return UrlStore(place.rstrip("/")) if "://" in place else FolderStore(place)


@dataclass(frozen=True)
class FolderStore:
    """A folder of this machine, or one that is mounted in this container."""

    folder: str
    kind: str = "disk"

    @property
    def label(self) -> str:
        return self.folder

    @property
    def root(self) -> Path:
        return Path(self.folder).expanduser()

    def files(self) -> Listing:
        """List every file, following links; a loop of links is walked once."""
        if not self.root.exists():
            raise InfraError(f"{self.folder} does not exist")
        if not self.root.is_dir():
            raise InfraError(f"{self.folder} is no folder")
        problems: list[str] = []
        files = sorted(_walk(self.root, "", problems, set()), key=lambda file: file.path)
        if not files and problems:
            raise InfraError("; ".join(problems))
        return Listing(tuple(files), tuple(problems))

    def read(self, path: str, *, start: int = 0, stop: int | None = None) -> bytes:
        """Read from the disk itself where the system can be asked to drop what it remembers."""
        try:
            with (self.root / path).open("rb") as file:
                if start == 0:
                    _forget(file.fileno())
                file.seek(start)
                return file.read(-1 if stop is None else stop - start)
        except OSError as error:
            raise InfraError(f"{self.root / path} cannot be read: {error.strerror}") from error


@dataclass(frozen=True)
class UrlStore:
    """An fsspec URL such as s3://bucket/folder; keys and endpoint come from the environment."""

    url: str

    @property
    def label(self) -> str:
        return re.sub(r"//[^/@]*@", "//***@", self.url)

    @property
    def kind(self) -> str:
        return self.url.partition("://")[0]

    def files(self) -> Listing:
        """List every object below the URL; one without objects does not exist."""
        try:
            found = self._system.find(self._path, detail=True)
        except remote_errors() as error:
            raise InfraError(explain(self.label, error)) from error
        if not found:
            raise InfraError(f"{self.label} does not exist or is empty")
        prefix = f"{self._path.rstrip('/')}/"
        files = (_of_url(name.removeprefix(prefix), info) for name, info in found.items())
        return Listing(tuple(sorted(files, key=lambda file: file.path)))

    def read(self, path: str, *, start: int = 0, stop: int | None = None) -> bytes:
        try:
            data: bytes = self._system.cat_file(f"{self._path}/{path}", start=start, end=stop)
        except remote_errors() as error:
            raise InfraError(explain(f"{self.label}/{path}", error)) from error
        return data

    @property
    def _system(self) -> Any:  # Any: fsspec has no types
        return fsspec.core.url_to_fs(self.url)[0]

    @property
    def _path(self) -> str:
        return str(fsspec.core.url_to_fs(self.url)[1]).rstrip("/")


@dataclass(frozen=True)
class VolumeStore:
    """The Modal Volume of an infra as the client sees it; never made where it does not exist."""

    infra: InfraConfig
    kind: str = field(default="Volume", init=False)

    @property
    def label(self) -> str:
        return f"Volume {self.infra.volume.name}"

    def files(self) -> Listing:
        """List every committed file."""
        from modal.exception import NotFoundError
        from modal.types import FileEntryType

        with explained(self.infra):
            try:
                entries = self._volume.listdir("/", recursive=True)
            except NotFoundError as error:
                raise InfraError(
                    f"{self.label} does not exist (infra.volume.name): the first job makes it, "
                    f"or `modal volume create {self.infra.volume.name}`"
                ) from error
        files = (
            StoredFile(entry.path.lstrip("/"), entry.size, float(entry.mtime))
            for entry in entries
            if entry.type == FileEntryType.FILE
        )
        return Listing(tuple(sorted(files, key=lambda file: file.path)))

    def read(self, path: str, *, start: int = 0, stop: int | None = None) -> bytes:
        """Read a file; the client fetches all of it, whatever part is wanted."""
        with explained(self.infra):
            return b"".join(self._volume.read_file(path))[start:stop]

    @cached_property
    def _volume(self) -> "modal.Volume":
        import modal

        return modal.Volume.from_name(
            self.infra.volume.name, environment_name=self.infra.environment
        )


def _walk(
    folder: Path, prefix: str, problems: list[str], seen: set[tuple[int, int]]
) -> Iterator[StoredFile]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        entries = list(os.scandir(folder))
    except OSError as error:
        problems.append(f"{folder} cannot be listed: {error.strerror}")
        return
    for entry in entries:
        try:
            if entry.is_dir():
                yield from _walk(Path(entry), f"{prefix}{entry.name}/", problems, seen)
                continue
            status = entry.stat()
        except OSError as error:
            problems.append(f"{entry.path} cannot be looked at: {error.strerror}")
            continue
        yield StoredFile(prefix + entry.name, status.st_size, status.st_mtime)


def _forget(descriptor: int) -> None:
    """Ask the system to drop what it keeps of a file in memory, so that a probe reads the disk."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):  # not every mount knows it
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _of_url(path: str, info: dict[str, Any]) -> StoredFile:  # Any: what a file system tells
    changed = info.get("LastModified") or info.get("mtime") or info.get("created")
    if isinstance(changed, datetime):
        changed = changed.timestamp()
    seconds = float(changed) if isinstance(changed, int | float) else None
    return StoredFile(path, int(info.get("size") or 0), seconds)
