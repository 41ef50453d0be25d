"""Source: which file a cached recording was made of, so that a foreign or changed one is noticed.

Two trees may hold recordings of the same name, and a label file may be corrected after the cache
was built. Size and stamp (mtime, or the etag of an object store) answer at the price of a stat;
where only the stamp differs (a copy, another mount) the bytes are read and their hash decides.
"""

import hashlib
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from fsspec.core import url_to_fs

from bgb.eeg.remote import read_parts

_LOG = logging.getLogger(__name__)
FILES_AT_ONCE = 16


@dataclass(frozen=True)
class Source:
    """One file a cached recording was made of; `path` is relative to the root of the corpus."""

    path: str
    size: int
    stamp: str
    sha256: str

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Source":  # Any: JSON
        return cls(**values)


def describe_source(url: str, root: str) -> Source:
    """Read the file once and return what identifies it."""
    size, stamp = file_stamp(url)
    return Source(relative_path(url, root), size, stamp, _digest(url))


def match_source(source: Source, url: str) -> Source | None:
    """Return the source with the stamp of the file at `url`; None where that is another file."""
    size, stamp = file_stamp(url)
    if size != source.size:
        return None
    if stamp == source.stamp:
        return source
    _LOG.info("%s: the time stamp changed since it was cached; comparing contents", source.path)
    return replace(source, stamp=stamp) if _digest(url) == source.sha256 else None


def file_sizes(urls: Iterable[str]) -> list[int]:
    """Return sizes in bytes; many files are asked at once, as a bucket takes 0.1 s to answer."""
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        return [size for size, _ in pool.map(file_stamp, urls)]


def file_stamp(url: str) -> tuple[int, str]:
    """Return size in bytes and the stamp that changes with the contents; no read."""
    filesystem, path = url_to_fs(url)
    info = filesystem.info(path)
    for key in ("ETag", "etag", "mtime", "LastModified", "last_modified", "created"):
        if info.get(key) is not None:
            return int(info["size"]), f"{key.lower()}:{info[key]}"
    return int(info["size"]), "none"


def relative_path(url: str, root: str) -> str:
    """Return the path below `root`, or the bare name: machine paths never enter a cache."""
    path: str = url_to_fs(url)[1]
    base: str = url_to_fs(root)[1].rstrip("/") + "/"
    return path.removeprefix(base) if path.startswith(base) else path.rsplit("/", 1)[-1]


def _digest(url: str) -> str:
    digest = hashlib.sha256()
    for part in read_parts(url):
        digest.update(part)
    return digest.hexdigest()
