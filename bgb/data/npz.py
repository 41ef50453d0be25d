"""NPZ files that plain `np.load` reads and that we can also read in place, without `np.load`.

Members are stored, not deflated, and each array begins at a multiple of 4096 bytes: the gap is an
extra field of the zip header, as in Android's zipalign. Reads are positioned (`preadv`) on a few
handles kept open: `np.load` reads a whole member for one window (lesson 24), a mapping never
closed leaks descriptors (lesson 25) and read-only tensors warn (lesson 27).
"""

import json
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bgb.data.crc import crc32_of_end
from bgb.errors import CacheError
from bgb.files import write_atomically

ALIGNMENT = 4096
OPEN_HANDLES = 128

_TEXT_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<U\d+', 'fortran_order': False, 'shape': \(\), \} *\n",
    re.DOTALL,
)
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # PKWARE APPNOTE 4.3.7
_PADDING_ID = 0xD935  # the extra-field id that zipalign uses for alignment
# What numpy writes: parsing it as Python, as numpy does, takes longer than reading a window.
_NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<i2', 'fortran_order': False, "
    rb"'shape': \((\d+), (\d+), (\d+)\), \} *\n",
    re.DOTALL,
)
_ZIP64_EXTRA = 20  # bytes that zipfile appends to the local header with force_zip64


@dataclass
class BlockedArray:
    """An array that exists only block by block, along its first axis.

    Attributes
    ----------
    shape, dtype : of the whole array.
    crc32 : of its data, once it has been written.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # Any: any plain dtype
    blocks: Iterable[NDArray[Any]]
    crc32: int = 0


Member = NDArray[Any] | BlockedArray  # Any: any plain dtype


def write_npz(path: Path, members: Mapping[str, Member] | Iterable[tuple[str, Member]]) -> None:
    """Write arrays atomically. Same arrays, same bytes.

    Members that come one by one are asked for when the one before has been written.
    """
    pairs = members.items() if isinstance(members, Mapping) else members

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, member in pairs:
                if not isinstance(member, BlockedArray):
                    member = BlockedArray(member.shape, member.dtype, [member])
                _write_member(archive, file, name, member)

    write_atomically(path, write)


def read_meta(path: Path) -> dict[str, Any]:  # Any: JSON
    """Read the JSON of the member `meta`, and nothing else of the file."""
    return read_meta_and_events(path, events=False)[0]


def read_meta_and_events(
    path: Path, *, events: bool = True
) -> tuple[dict[str, Any], NDArray[np.void] | None]:  # Any: JSON
    """Read the small members of a file; both are compared with their checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            if is_window_cache(archive.namelist()):
                raise CacheError(
                    f"{path} is a file of the predecessor's cache (overlapping windows of "
                    "z-scores), none of ours; move it out, and turn such files into ours: "
                    "`python -m bgb.cache action=import source=<folder> data=...`"
                )
            meta = json.loads(_text(archive.read("meta.npy")))
            rows = _array(archive.read("events.npy")) if events else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CacheError(f"{path} is not a cached recording: {error!r}; {_MEND}") from error
    if not isinstance(meta, dict):
        raise CacheError(f"{path}: member meta is {type(meta).__name__}, not an object; {_MEND}")
    return meta, rows


def is_window_cache(members: Collection[str]) -> bool:
    """Tell by the members of an NPZ whether the predecessor of bgb wrote it (`bgb.data.legacy`)."""
    return {"windows.npy", "labels.npy"} <= set(members)


def meta_member(meta: Mapping[str, Any]) -> NDArray[np.str_]:  # Any: JSON
    """Return the JSON text as the array that `read_meta` reads."""
    return np.array(json.dumps(meta, sort_keys=True))


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
        view = tiles_SCR.data.cast("B")
        position = self._position(start_second)
        while view:
            count = _read_at(self.descriptor, view, position)
            if count == 0:
                raise CacheError(f"signal ends {len(view)} bytes too early; {_MEND}")
            view, position = view[count:], position + count

    def read_cached(self, tiles_SCR: NDArray[np.int16], start_second: int) -> bool:
        """Fill contiguous tiles if the system holds them in memory; tell whether it did."""
        if not hasattr(os, "RWF_NOWAIT"):  # macOS
            return False
        view = tiles_SCR.data.cast("B")
        try:
            position = self._position(start_second)
            return os.preadv(self.descriptor, [view], position, os.RWF_NOWAIT) == len(view)
        except OSError:  # nothing of it is there, or this file system does not tell
            return False

    def announce(self, start_second: int, stop_second: int) -> None:
        """Let the system begin to fetch tiles; returns before they are there."""
        if hasattr(os, "posix_fadvise"):
            first, last = self._position(start_second), self._position(stop_second)
            os.posix_fadvise(self.descriptor, first, last - first, os.POSIX_FADV_WILLNEED)

    def _position(self, second: int) -> int:
        return self.offset + second * self.shape[1] * self.shape[2] * 2


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
    archive: zipfile.ZipFile, file: IO[bytes], name: str, array: BlockedArray
) -> None:
    info = zipfile.ZipInfo(f"{name}.npy")  # date 1980: bytes do not depend on the clock
    header = _npy_header(array)
    before = file.tell() + _LOCAL_HEADER.size + len(info.filename) + _ZIP64_EXTRA + len(header)
    padding = -(before + 4) % ALIGNMENT
    info.extra = struct.pack("<HH", _PADDING_ID, padding) + bytes(padding)
    num_left = math.prod(array.shape)
    with archive.open(info, "w", force_zip64=True) as member:
        member.write(header)
        assert file.tell() % ALIGNMENT == 0, "zipfile wrote another header than we counted"
        for block in array.blocks:
            data = np.ascontiguousarray(block, array.dtype).reshape(-1).view(np.uint8).data
            member.write(data)
            num_left -= block.size
    num_bytes = math.prod(array.shape) * array.dtype.itemsize
    array.crc32 = crc32_of_end(info.CRC, zlib.crc32(header), num_bytes)
    assert num_left == 0, f"the blocks of {name} are {-num_left} values more than {array.shape}"


def _npy_header(array: BlockedArray) -> bytes:
    header = BytesIO()
    descr = np.lib.format.dtype_to_descr(array.dtype)
    fields = {"descr": descr, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def _array(member: bytes) -> NDArray[Any]:  # Any: any plain dtype
    """Return the array of a member."""
    array: NDArray[Any] = np.lib.format.read_array(BytesIO(member), allow_pickle=False)
    return array


def _text(member: bytes) -> str:
    """Return the text of a member that is one string; numpy would compile its header first."""
    if header := _TEXT_HEADER.match(member):
        return member[header.end() :].decode("utf-32-le")
    return str(_array(member).item())


def _find_signal(head: bytes) -> tuple[int, tuple[int, int, int]]:
    """Return offset and shape of `signal`, which is the first member."""
    magic, *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(head)
    name = head[_LOCAL_HEADER.size : _LOCAL_HEADER.size + name_length]
    if magic != b"PK\x03\x04" or name != b"signal.npy":
        raise ValueError(f"first member is {name!r}, not b'signal.npy'")
    start = _LOCAL_HEADER.size + name_length + extra_length
    if found := _NPY_HEADER.match(head, start):
        num_seconds, num_channels, rate_hz = map(int, found.groups())
        return found.end(), (num_seconds, num_channels, rate_hz)
    stream = BytesIO(head)
    stream.seek(start)
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
