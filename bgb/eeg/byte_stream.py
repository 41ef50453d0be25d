"""ByteStream: the bytes of a file, local or behind a URL, read once from beginning to end.

What a cache is made of is identified by its hash: it is computed on the way, so that nothing is
read a second time for it, and no more than a part of the file is in memory.
"""

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from bgb.eeg.remote import read_parts, remote_errors, retried
from bgb.errors import EdfError

_PART_BYTES = 1 << 20


def is_url(path: str | Path) -> bool:
    """Tell whether a path is an fsspec URL such as s3://bucket/file.edf."""
    return isinstance(path, str) and "://" in path


class ByteStream:
    """An open file; `read_into` goes on where it stopped. Use it as a context manager.

    Attributes
    ----------
    size : bytes of the file.
    """

    def __init__(self, path: str | Path, *, hashed: bool = False) -> None:
        self.path = path
        self._hash = hashlib.sha256() if hashed else None
        self._file = None
        try:
            if is_url(path):
                self.size, self._parts = _open_url(str(path))
                self._part = memoryview(next(self._parts, b""))
            else:
                self._file = FileIO(path)
                self.size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise EdfError(f"{path}: cannot be opened: {error.strerror or error}") from error
        except remote_errors() as error:
            raise EdfError(f"{path}: cannot be opened: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, num_bytes: int) -> bytes:
        """Return the next bytes, fewer only at the end of the file."""
        buffer = bytearray(num_bytes)
        return bytes(buffer[: self.read_into(memoryview(buffer))])

    def read_into(self, buffer: memoryview) -> int:
        """Fill the buffer with the next bytes; return how many came, fewer only at the end."""
        count = 0
        while count < len(buffer) and (more := self._read_some(buffer[count:])):
            count += more
        if self._hash is not None:
            self._hash.update(buffer[:count])
        return count

    def sha256(self) -> str:
        """Return the hash of the whole file; what is left of it is read for that."""
        assert self._hash is not None, "opened without hashed=True"
        while self.read(_PART_BYTES):
            pass
        return self._hash.hexdigest()

    def _read_some(self, buffer: memoryview) -> int:
        try:
            if self._file is not None:
                return self._file.readinto(buffer) or 0
            while not self._part:
                part = next(self._parts, None)
                if part is None:
                    return 0
                self._part = memoryview(part)
        except remote_errors() as error:
            raise EdfError(f"{self.path}: cannot be read to the end: {error}") from error
        count = min(len(buffer), len(self._part))
        buffer[:count], self._part = self._part[:count], self._part[count:]
        return count


def _open_url(url: str) -> tuple[int, Iterator[bytes]]:
    """Return the size of a remote file and its contents in parts."""
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(url)
    size = retried(url, partial(filesystem.info, path))["size"]
    if size is not None:
        return size, read_parts(url)
    parts = list(read_parts(url))  # some HTTP servers do not tell
    return sum(map(len, parts)), iter(parts)
