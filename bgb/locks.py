"""Locks between processes: who builds which recording, who writes which run.

A lock is advisory (flock) on a small file that names its owner. The kernel drops it when the owner
dies, so a stale lock never blocks; a name that is still in it is that of a killed owner, for one
that lets go takes its own out. The file itself stays, because removing a locked file would let two
owners in.
"""

import fcntl
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

_log = logging.getLogger(__name__)


@contextmanager
def hold(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock file; yields False where another process holds it.

    With `wait` the call blocks until the other lets go, and yields True.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    if killed := path.read_text().strip():
        _log.info("%s was left by %s, which was killed; it is taken over", path, killed)
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        path.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
        yield True
    finally:
        path.write_text("")
        lock.release()


def owner(path: Path) -> str:
    """Return which process last held the lock, on which host and since when, for messages."""
    return (path.read_text().strip() if path.is_file() else "") or "nobody"


def is_held(path: Path) -> bool:
    """Tell whether a living process holds the lock file; the file stays as it is.

    The lock itself is tried, for an instant and only where its owner may be alive: a process that
    takes the lock in that instant is refused.
    """
    named = re.match(r"process (\d+) on (\S+)", owner(path))
    if named is None or (named[2] == socket.gethostname() and not _is_alive(int(named[1]))):
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
