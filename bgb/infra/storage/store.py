"""Stores: a local folder, an fsspec URL or a Modal Volume, each listed and read in the same way.

A Volume is read from outside of its containers: what it shows is the last commit.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import fsspec

from bgb.errors import InfraError

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
        """What it is: local folder, bucket mount, s3, Modal Volume..."""

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
    kind: str = "local folder"

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
        except _url_errors() as error:
            raise InfraError(_url_problem(self.label, error)) from error
        if not found:
            raise InfraError(f"{self.label} does not exist or is empty")
        prefix = f"{self._path.rstrip('/')}/"
        files = (_of_url(name.removeprefix(prefix), info) for name, info in found.items())
        return Listing(tuple(sorted(files, key=lambda file: file.path)))

    def read(self, path: str, *, start: int = 0, stop: int | None = None) -> bytes:
        try:
            data: bytes = self._system.cat_file(f"{self._path}/{path}", start=start, end=stop)
        except _url_errors() as error:
            raise InfraError(_url_problem(f"{self.label}/{path}", error)) from error
        return data

    @property
    def _system(self) -> Any:  # Any: fsspec has no types
        try:
            return fsspec.core.url_to_fs(self.url)[0]
        except (ImportError, ValueError) as error:
            raise InfraError(f"{self.label}: {error}") from error

    @property
    def _path(self) -> str:
        return str(fsspec.core.url_to_fs(self.url)[1]).rstrip("/")


@dataclass(frozen=True)
class VolumeStore:
    """A Modal Volume as the client sees it; never made where it does not exist."""

    name: str
    environment: str | None = None
    kind: str = field(default="Modal Volume", init=False)

    @property
    def label(self) -> str:
        return f"Volume {self.name}"

    def files(self) -> Listing:
        """List every committed file."""
        from modal.exception import Error
        from modal.volume import FileEntryType

        try:
            entries = self._volume.listdir("/", recursive=True)
        except Error as error:
            raise InfraError(_modal_problem(self.label, error)) from error
        files = (
            StoredFile(entry.path.lstrip("/"), entry.size, float(entry.mtime))
            for entry in entries
            if entry.type == FileEntryType.FILE
        )
        return Listing(tuple(sorted(files, key=lambda file: file.path)))

    def read(self, path: str, *, start: int = 0, stop: int | None = None) -> bytes:
        """Read a file; the client fetches all of it, whatever part is wanted."""
        from modal.exception import Error

        try:
            return b"".join(self._volume.read_file(path))[start:stop]
        except (Error, OSError) as error:
            raise InfraError(_modal_problem(f"{self.label}: {path}", error)) from error

    @cached_property
    def _volume(self) -> "modal.Volume":
        import modal

        return modal.Volume.from_name(self.name, environment_name=self.environment)


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
    if hasattr(changed, "timestamp"):
        changed = changed.timestamp()
    seconds = float(changed) if isinstance(changed, int | float) else None
    return StoredFile(path, int(info.get("size") or 0), seconds)


def _url_errors() -> tuple[type[Exception], ...]:
    """Errors of file systems; botocore's are no OSError where keys or endpoint are wrong."""
    from botocore.exceptions import BotoCoreError

    return OSError, ValueError, BotoCoreError


def _url_problem(label: str, error: Exception) -> str:
    from botocore.exceptions import NoCredentialsError

    if isinstance(error, FileNotFoundError):
        return f"{label} does not exist"
    if isinstance(error, NoCredentialsError):
        return f"{label}: no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, PermissionError):
        return f"{label}: access denied ({error}); these keys may not list or read it"
    return f"{label} cannot be read: {error}; see AWS_ENDPOINT_URL and the network"


def _modal_problem(label: str, error: Exception) -> str:
    from modal.exception import AuthError, NotFoundError

    if isinstance(error, AuthError):
        return f"{label}: Modal does not know you; run `modal token new`, or set MODAL_TOKEN_ID"
    if isinstance(error, NotFoundError | FileNotFoundError):
        return f"{label} does not exist"
    return f"{label} cannot be read: {error}"
