"""The frame of an EDF file: opening it, its records, its start and its clock.

Files of every age are read tolerantly, with a remark, but never by guessing: what the header says
is checked here against what the file holds. The patient and recording fields (bytes 8 to 168) are
never looked at, and text of a header that cannot be parsed is never repeated in a message: a
shifted header would put a name there.
"""

import re
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from bgb.eeg.remote import remote_errors
from bgb.errors import EdfError

if TYPE_CHECKING:
    from edfio import Edf

_FIXED_BYTES = 256  # the fixed part of the header; each signal adds as many
_GIT_LFS = b"version https://git-lfs"
_BDF = b"\xff"
_DATE_OR_TIME = re.compile(r" ?(\d{1,2})[.:'\-/ ] ?(\d{1,2})[.:'\-/ ] ?(\d{1,2}) *")
_ONSET = re.compile(rb"([+-]\d+(?:\.\d*)?)[\x14\x15]")  # EDF+ 2.2.4: time-keeping TAL


@dataclass(frozen=True)
class EdfFile:
    """An opened EDF file whose header agrees with its contents.

    Attributes
    ----------
    edf : header and lazily loaded records.
    num_records, record_s : the records to read, and the exact duration of one.
    start : date and time of the first sample, None where the header does not say.
    remarks : what was odd, one line each.
    """

    edf: "Edf"
    num_records: int
    record_s: Fraction
    start: datetime | None
    remarks: tuple[str, ...]


def is_url(path: str | Path) -> bool:
    """Tell whether a path is an fsspec URL such as s3://bucket/file.edf."""
    return isinstance(path, str) and "://" in path


def open_edf(path: str | Path) -> EdfFile:
    """Open an EDF file: local files are memory-mapped, URLs read into memory.

    Raises
    ------
    EdfError : the file cannot be opened, is no EDF, holds no complete record, or is discontinuous.
    """
    head, size, source = _remote(str(path)) if is_url(path) else _local(Path(path))
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
    edf = _parse(path, source)
    record_bytes = 2 * sum(signal.samples_per_data_record for signal in edf._signals)
    num_records, remarks = _records(path, declared, size - header_bytes, record_bytes)
    first_onset_s, clock_remarks = _check_clock(path, edf, num_records, record_s, head[192:236])
    start, start_remarks = _start(head[168:184], first_onset_s)
    return EdfFile(edf, num_records, record_s, start, (*remarks, *clock_remarks, *start_remarks))


def _local(path: Path) -> tuple[bytes, int, Path]:
    try:
        with path.open("rb") as file:
            return file.read(_FIXED_BYTES), path.stat().st_size, path
    except OSError as error:
        raise EdfError(f"{path}: cannot be opened: {error.strerror}") from error


def _remote(url: str) -> tuple[bytes, int, bytes]:
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            contents: bytes = file.read()
    except remote_errors() as error:
        raise EdfError(f"{url}: cannot be opened: {error}") from error
    return contents[:_FIXED_BYTES], len(contents), contents


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


def _parse(path: str | Path, source: Path | bytes) -> "Edf":
    from edfio import read_edf

    with warnings.catch_warnings():
        # edfio warns of counts that differ; `_records` says it as a remark with the file's name.
        warnings.simplefilter("ignore")
        try:
            edf = read_edf(source, header_encoding="latin-1")
            samples = [signal.samples_per_data_record for signal in edf._signals]
        except (ValueError, ZeroDivisionError):
            samples = []
    if not samples or min(samples) < 1:
        # No `from`: the message of edfio may quote the header (see above).
        raise EdfError(f"{path}: the samples a record of a signal are not whole numbers above 0")
    return edf


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


def _check_clock(
    path: str | Path, edf: "Edf", num_records: int, record_s: Fraction, reserved: bytes
) -> tuple[float, list[str]]:
    """Refuse records that do not follow each other; return the onset of the first one.

    EDF+D must keep time in every record. In EDF+C (and plain EDF) the header vouches for what
    a record does not say, but a gap that its records do state is refused all the same.
    """
    discontinuous = reserved.startswith(b"EDF+D")
    onsets_s = _onsets(edf)[:num_records]
    if discontinuous and (len(onsets_s) < num_records or None in onsets_s):
        raise EdfError(
            f"{path}: is EDF+D (discontinuous) but not every record says when it begins; "
            "export it as one continuous EDF+C file for each part"
        )
    first_s = next(
        (onset - i * record_s for i, onset in enumerate(onsets_s) if onset is not None), Fraction(0)
    )
    most = max(signal.samples_per_data_record for signal in edf.signals or edf._signals)
    tolerance_s = record_s / most / 2  # half a sample
    for record, onset_s in enumerate(onsets_s):
        expected_s = first_s + record * record_s
        if onset_s is not None and abs(onset_s - expected_s) > tolerance_s:
            gap_s = float(onset_s - expected_s)
            raise EdfError(
                f"{path}: {'a gap' if gap_s > 0 else 'an overlap'} of {abs(gap_s):g} s before "
                f"record {record} (second {float(record * record_s):g} of the samples): the file "
                "is discontinuous and its parts must not be joined; export it as one continuous "
                "EDF+C file for each part"
            )
    remarks = ["EDF+D, but its records follow each other: read as continuous"]
    return float(first_s), remarks if discontinuous else []


def _onsets(edf: "Edf") -> list[Fraction | None]:
    """Return when each record begins, None where its first annotation does not say."""
    keeper = next(iter(edf._annotation_signals), None)  # edfio has no public way to these bytes
    if keeper is None:
        return []
    contents = keeper.digital.tobytes()
    width = 2 * keeper.samples_per_data_record
    matches = (_ONSET.match(contents, at) for at in range(0, len(contents), width))
    return [Fraction(match[1].decode()) if match else None for match in matches]


def _start(field: bytes, first_onset_s: float) -> tuple[datetime | None, list[str]]:
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
    return start + timedelta(seconds=first_onset_s), [] if text[2] + text[5] == ".." else [odd]
