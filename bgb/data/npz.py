"""NPZ files that plain `np.load` reads and that we can also read in place, without `np.load`.

Members are stored, not deflated, and each array begins at a multiple of 4096 bytes: the gap is an
extra field of the zip header, as in Android's zipalign. Reads are positioned (`preadv`) on a few
handles kept open: `np.load` reads a whole member for one window (lesson 24), a mapping never
closed leaks descriptors (lesson 25) and read-only tensors warn (lesson 27).
"""

import json
import os
import struct
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bgb.errors import CacheError
from bgb.files import write_atomically

ALIGNMENT = 4096
OPEN_HANDLES = 128

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # PKWARE APPNOTE 4.3.7
_PADDING_ID = 0xD935  # the extra-field id that zipalign uses for alignment
_ZIP64_EXTRA = 20  # bytes that zipfile appends to the local header with force_zip64


def write_npz(path: Path, members: Mapping[str, NDArray[Any]]) -> None:  # Any: any plain dtype
    """Write arrays atomically. Same arrays, same bytes."""

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in members.items():
                _write_member(archive, file, name, np.ascontiguousarray(array).reshape(array.shape))

    write_atomically(path, write)


def read_meta(path: Path) -> dict[str, Any]:  # Any: JSON
    """Read the JSON of the member `meta`, and nothing else of the file."""
    try:
        # np.load leaks the file it opens where the zip is torn: open it ourselves
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if is_window_cache(archive.zip.namelist()):
                raise CacheError(
                    f"{path} is a file of the predecessor's cache (overlapping windows of "
                    "z-scores), none of ours; move it out, and turn such files into ours: "
                    "`python -m bgb.cache action=import source=<folder> data=...`"
                )
            meta = json.loads(archive["meta"].item())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CacheError(f"{path} is not a cached recording: {error!r}; {_MEND}") from error
    if not isinstance(meta, dict):
        raise CacheError(f"{path}: member meta is {type(meta).__name__}, not an object; {_MEND}")
    return meta


def is_window_cache(members: Collection[str]) -> bool:
    """Tell by the members of an NPZ whether the predecessor of bgb wrote it (`bgb.data.legacy`)."""
    return "windows.npy" in members and "meta.npy" not in members


def meta_member(meta: Mapping[str, Any]) -> NDArray[np.str_]:  # Any: JSON
    """Return the JSON text as the array that `read_meta` reads."""
    return np.array(json.dumps(meta, sort_keys=True, indent=1))


@dataclass
class SignalHandle:
    """An open file and where its `signal` lies; closed when the last reader lets go of it."""

    descriptor: int = field(repr=False)
    offset: int
    shape: tuple[int, int, int]

    def __del__(self) -> None:
        os.close(self.descriptor)

    def read_into(self, tiles_SCR: NDArray[np.int16], start_second: int) -> None:
        """Fill contiguous tiles with one read from `start_second` on."""
        bytes_per_tile = self.shape[1] * self.shape[2] * 2
        view = tiles_SCR.data.cast("B")
        position = self.offset + start_second * bytes_per_tile
        while view:
            count = _read_at(self.descriptor, view, position)
            if count == 0:
                raise CacheError(f"signal ends {len(view)} bytes too early; {_MEND}")
            view, position = view[count:], position + count


@lru_cache(maxsize=OPEN_HANDLES)  # eviction only drops the reference: a read in flight stays safe
def open_signal(path: Path, stamp: int) -> SignalHandle:
    """Open the `signal` of a file; `stamp` is its mtime, so that a replaced file is reopened."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise CacheError(f"{path} cannot be opened: {error.strerror}; {_MEND}") from error
    try:
        offset, shape = _find_signal(os.pread(descriptor, 2 * ALIGNMENT, 0))
    except (ValueError, struct.error, IndexError) as error:
        os.close(descriptor)
        raise CacheError(f"{path} is not a cached recording: {error!r}; {_MEND}") from error
    return SignalHandle(descriptor, offset, shape)


_MEND = "run `python -m bgb.cache action=verify data=...` to see what is damaged and how to mend it"


def _write_member(
    archive: zipfile.ZipFile, file: IO[bytes], name: str, array: NDArray[Any]
) -> None:
    info = zipfile.ZipInfo(f"{name}.npy")  # date 1980: bytes do not depend on the clock
    header = _npy_header(array)
    before = file.tell() + _LOCAL_HEADER.size + len(info.filename) + _ZIP64_EXTRA + len(header)
    padding = -(before + 4) % ALIGNMENT
    info.extra = struct.pack("<HH", _PADDING_ID, padding) + bytes(padding)
    with archive.open(info, "w", force_zip64=True) as member:
        member.write(header)
        assert file.tell() % ALIGNMENT == 0, "zipfile wrote another header than we counted"
        member.write(array.reshape(-1).view(np.uint8).data)


def _npy_header(array: NDArray[Any]) -> bytes:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return header.getvalue()


def _find_signal(head: bytes) -> tuple[int, tuple[int, int, int]]:
    """Return offset and shape of `signal`, which is the first member."""
    magic, *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(head)
    name = head[_LOCAL_HEADER.size : _LOCAL_HEADER.size + name_length]
    if magic != b"PK\x03\x04" or name != b"signal.npy":
        raise ValueError(f"first member is {name!r}, not b'signal.npy'")
    stream = BytesIO(head)
    stream.seek(_LOCAL_HEADER.size + name_length + extra_length)
    np.lib.format.read_magic(stream)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if len(shape) != 3 or fortran_order or dtype != np.dtype("<i2"):
        raise ValueError(f"signal is {dtype} {shape}, not int16 (S, C, R)")
    return stream.tell(), shape


def _read_at(descriptor: int, view: memoryview, position: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], position)
    data = os.pread(descriptor, len(view), position)  # macOS before preadv
    view[: len(data)] = data
    return len(data)
