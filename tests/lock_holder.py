"""`start_holder`: another process that holds a lock."""

import subprocess
import sys
from pathlib import Path

_HOLD = """
import sys, pathlib, bgb.locks
with bgb.locks.hold(pathlib.Path(sys.argv[1]), wait=True):
    print("locked", flush=True)
    sys.stdin.read()
"""


def start_holder(path: Path) -> "subprocess.Popen[str]":
    """Start a process that holds the lock until its standard input ends."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    return holder
