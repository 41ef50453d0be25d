"""The header of an EDF file: its signals, its records and its start.

Files of every age are read tolerantly, with a remark, but never by guessing: what the header says
is checked here against the size of the file. The patient and recording fields (bytes 8 to 168) are
never looked at, and text of a header that cannot be parsed is never repeated in a message: a
shifted header would put a name there.
"""

import re
import warnings
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from bgb.eeg.byte_stream import ByteStream
from bgb.errors import EdfError

if TYPE_CHECKING:
    from edfio import EdfSignal

_FIXED_BYTES = 256  # the fixed part of the header; each signal adds as many
_GIT_LFS = b"version https://git-lfs"
_BDF = b"\xff"
_DATE_OR_TIME = re.compile(r" ?(\d{1,2})[.:'\-/ ] ?(\d{1,2})[.:'\-/ ] ?(\d{1,2}) *")


@dataclass(frozen=True)
class EdfHeader:
    """A header that agrees with the size of its file.

    Attributes
    ----------
    signals : every signal of a record in stored order, annotations included.
    samples : how many samples each signal has in a record.
    num_records, record_s : the records to read, and the exact duration of one.
    discontinuous : the file says that it is EDF+D.
    start : date and time in whole seconds, None where the header does not say.
    remarks, start_remarks : what was odd about records and about the start, one line each.
    """

    signals: tuple["EdfSignal", ...]
    samples: tuple[int, ...]
    num_records: int
    record_s: Fraction
    discontinuous: bool
    start: datetime | None
    remarks: tuple[str, ...]
    start_remarks: tuple[str, ...]


def read_header(stream: ByteStream) -> EdfHeader:
    """Read the header; the stream then stands at the first record.

    Raises
    ------
    EdfError : the file is no EDF, contradicts itself or holds no complete record.
    """
    path, size, head = stream.path, stream.size, stream.read(_FIXED_BYTES)
    _check_is_edf(path, head, size)
    num_signals = _whole_number(path, head, 252, 256, "number of signals")
    header_bytes = _whole_number(path, head, 184, 192, "size of the header")
    if num_signals < 1 or header_bytes != _FIXED_BYTES * (num_signals + 1) or size < header_bytes:
        raise EdfError(
            f"{path}: {num_signals} signals need a header of {_FIXED_BYTES * (num_signals + 1)} "
            f"bytes; the header says {header_bytes} and the file has {size}"
        )
    record_s = _record_duration(path, head)
    declared = _whole_number(path, head, 236, 244, "number of records")
    signals, samples = _parse(path, head + stream.read(header_bytes - _FIXED_BYTES))
    num_records, remarks = _records(path, declared, size - header_bytes, 2 * sum(samples))
    start, start_remarks = _start(head[168:184])
    return EdfHeader(
        *(signals, samples, num_records, record_s, head[192:236].startswith(b"EDF+D")),
        *(start, tuple(remarks), tuple(start_remarks)),
    )


def _check_is_edf(path: str | Path, head: bytes, size: int) -> None:
    if head.startswith(_GIT_LFS):
        raise EdfError(f"{path}: is a Git LFS pointer, not the recording; run `git lfs pull`")
    if head.startswith(_BDF):
        raise EdfError(f"{path}: is a BDF file (24 bit); convert it to EDF")
    if len(head) < _FIXED_BYTES:
        raise EdfError(
            f"{path}: has {size} bytes; the header of an EDF file alone has {_FIXED_BYTES} and more"
        )
    if head[:8].strip() != b"0":
        raise EdfError(f"{path}: is no EDF file: it does not begin with the version number 0")


def _whole_number(path: str | Path, head: bytes, start: int, stop: int, what: str) -> int:
    text = head[start:stop].decode("latin-1").strip()
    if not re.fullmatch(r"-?\d+", text):
        raise EdfError(f"{path}: the {what} (header bytes {start} to {stop}) is not a whole number")
    return int(text)


def _record_duration(path: str | Path, head: bytes) -> Fraction:
    text = head[244:252].decode("latin-1").strip()
    if not re.fullmatch(r"\d*\.?\d+(?:[eE]-?\d+)?|\d+\.", text) or Fraction(text) <= 0:
        raise EdfError(
            f"{path}: the duration of a record (header bytes 244 to 252) is not a number of "
            "seconds above 0: the file holds no signal that could be timed"
        )
    return Fraction(text)


def _parse(path: str | Path, header: bytes) -> tuple[tuple["EdfSignal", ...], tuple[int, ...]]:
    from edfio import read_edf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of records that the header alone does not have
        try:
            signals = read_edf(header, header_encoding="latin-1")._signals
            samples = tuple(signal.samples_per_data_record for signal in signals)
        except (ValueError, ZeroDivisionError):
            signals, samples = (), ()
    if not samples or min(samples) < 1:
        # No `from`: the message of edfio may quote the header (see above).
        raise EdfError(f"{path}: the samples a record of a signal are not whole numbers above 0")
    return signals, samples


def _records(
    path: str | Path, declared: int, data_bytes: int, record_bytes: int
) -> tuple[int, list[str]]:
    """Return the number of records to read, never more than the header declares."""
    complete, rest = divmod(data_bytes, record_bytes)
    if complete == 0 or declared == 0:
        raise EdfError(
            f"{path}: holds no complete record: the header declares {declared}, and {data_bytes} "
            f"bytes of data follow where one record has {record_bytes}"
        )
    if declared < 0:
        remarks = [f"record count {declared} (never closed by the recorder): read {complete}"]
    elif complete < declared:
        remarks = [f"truncated: the header declares {declared} records, {complete} are complete"]
    elif data_bytes > declared * record_bytes:
        surplus = data_bytes - declared * record_bytes
        return declared, [f"{surplus} bytes after the {declared} declared records are left out"]
    else:
        return declared, []
    if rest:
        remarks.append(f"the last record is incomplete: its {rest} bytes are left out")
    return complete, remarks


def _start(field: bytes) -> tuple[datetime | None, list[str]]:
    """Decode start date and time, dd.mm.yy and hh.mm.ss; years 85 to 99 are 1985 to 1999."""
    text = field.decode("latin-1")
    date, time = _DATE_OR_TIME.fullmatch(text[:8]), _DATE_OR_TIME.fullmatch(text[8:])
    try:
        day, month, year = (int(part) for part in date.groups()) if date else (0, 0, 0)
        hour, minute, second = (int(part) for part in time.groups()) if time else (0, 0, 60)
        start = datetime(year + (1900 if year >= 85 else 2000), month, day, hour, minute, second)
    except ValueError:
        return None, ["start date or time cannot be read: left unknown"]
    odd = "start date is not written as dd.mm.yy, but can be read (lesson 7)"
    return start, [] if text[2] + text[5] == ".." else [odd]
