"""Files that appear whole or not at all: temporary name, fsync, rename (STYLE 21).

The temporary name begins with a dot and ends in `.partial`; a killed process may leave one behind,
and everything that lists files leaves it alone.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from bgb.errors import RunError


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place for good."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Mapping[str, Any]) -> None:  # Any: what JSON can hold
    """Write a JSON file atomically, readable by people; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:  # Any: what JSON can hold
    """Read a JSON object."""
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise RunError(
            f"{path} is not JSON ({error}): put a sound copy there, or remove it and repeat the "
            "command that wrote it"
        ) from error
    return value


def _sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
