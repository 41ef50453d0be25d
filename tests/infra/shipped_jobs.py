"""Functions that the tests of the loopback Modal run in containers; shipped as one module.

They talk to the test through `/tmp/...` folders that it shares with the container.
"""

import os
import signal
import sys
import time
from pathlib import Path


def double(value: int) -> int:
    print(f"doubling {value}")
    return 2 * value


def look() -> dict[str, object]:
    return {
        "cwd": os.getcwd(),  # noqa: PTH109
        "root": sorted(p.name for p in Path("/root").iterdir() if p.name != "__pycache__"),
        "top": sorted(p.name for p in Path("/").iterdir()),
        "environment": dict(os.environ),
        "path": sys.path,
    }


def import_module(name: str) -> str:
    return str(__import__(name).__file__)


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


def read(path: str) -> str:
    return Path(path).read_text()


def note(folder: str, what: str) -> int:
    """Count an event in the shared folder and return how often it happened before."""
    number = len(list(Path(folder).glob(f"{what}-*")))
    Path(folder, f"{what}-{number}").touch()
    return number


def fail_times(folder: str, times: int) -> int:
    attempt = note(folder, "attempt")
    if attempt < times:
        raise ValueError(f"attempt {attempt} fails")
    return attempt


def fail_once_each(folder: str, value: int) -> int:
    if note(folder, f"value{value}") == 0:
        raise ValueError(f"first attempt at {value}")
    return value


def sleep(folder: str, seconds: float, *, first_only: bool = True) -> int:
    """Sleep in the first attempt (or in every one) and return the number of the attempt."""
    attempt = note(folder, "attempt")
    if attempt == 0 or not first_only:
        time.sleep(seconds)
    return attempt


def exit_when_interrupted(folder: str) -> None:
    """Do what Lightning does: turn an interrupt into SystemExit."""
    signal.signal(signal.SIGINT, lambda *_: sys.exit(1))
    note(folder, "attempt")
    time.sleep(30)


def ignore_interrupt(folder: str) -> int:
    attempt = note(folder, "attempt")
    if attempt == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        time.sleep(30)
    return attempt


def note_cancellation(folder: str) -> None:
    note(folder, "attempt")
    try:
        time.sleep(30)
    except BaseException as error:
        Path(folder, "cancelled").write_text(type(error).__name__)
        raise


def write_and_sleep(folder: str, path: str) -> int:
    attempt = note(folder, "attempt")
    if attempt == 0:
        Path(path).write_text("not committed")
        time.sleep(30)
    return attempt


def commit_and_sleep(folder: str, volume: str, path: str) -> str:
    """Commit in the first attempt and wait to be killed; return what the next one sees."""
    import modal

    if Path(path).exists():
        return Path(path).read_text()
    Path(path).write_text("committed")
    modal.Volume.from_name(volume).commit()
    note(folder, "attempt")
    time.sleep(30)
    return "was not killed"


def crash(folder: str) -> None:
    note(folder, "attempt")
    os._exit(7)


def big(size: int) -> bytes:
    return b"x" * size


def length(data: bytes) -> int:
    return len(data)
