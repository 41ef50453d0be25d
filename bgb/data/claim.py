"""Claims: who builds which recording, so that many processes build each recording once.

A claim is an advisory lock (flock) on a small file that names its owner. The kernel drops it when
the owner dies, so a stale claim cannot exist; the file itself stays, because removing a locked file
would let two owners in.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_FOLDER = ".claims"


@contextmanager
def claim(folder: Path, name: str, *, wait: bool) -> Iterator[bool]:
    """Hold the claim `name` of a cache folder; yields False where another process holds it.

    With `wait` the call blocks until the other lets go, and yields True.
    """
    path = folder / _FOLDER / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        path.write_text(f"{socket.gethostname()} {os.getpid()}\n")
        yield True
    finally:
        lock.release()


def claim_owner(folder: Path, name: str) -> str:
    """Return host and process that last held the claim, for messages."""
    path = folder / _FOLDER / f"{name}.lock"
    return path.read_text().strip() if path.is_file() else "nobody"
