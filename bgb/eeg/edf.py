"""EDF signals in microvolts, read once from beginning to end, as a whole or as they come.

Digital values are scaled to float32 in one pass (five times as fast as edfio's float64 `.data`),
exactly as stored, even where they leave the digital range that the header declares (CHB-MIT does).
What only the samples tell (gaps between records, channels that repeat another) is known at the end.
"""

# Shapes: C channels, T samples

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bgb.eeg.byte_stream import ByteStream
from bgb.eeg.edf_channels import select_channels
from bgb.eeg.edf_header import read_header
from bgb.eeg.edf_records import EdfRecords
from bgb.eeg.recording import Recording

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EdfFacts:
    """What is known of a file once all of it has been read.

    Attributes
    ----------
    rows : the channels of the stream that count; the others repeat one of them.
    start : date and time of the first sample, None where the header does not say.
    sha256 : of the whole file, "" unless it was asked for.
    remarks : what was odd, one line each.
    """

    rows: tuple[int, ...]
    start: datetime | None
    sha256: str
    remarks: tuple[str, ...]


def read_edf(path: str | Path) -> Recording:
    """Read an EDF or EDF+ file, local or by fsspec URL, without its events.

    A channel that cannot be scaled (physical or digital minimum equal to maximum) is left out with
    a remark, so that it counts as missing; a repeat of an EEG channel with identical samples too.
    Channels at another rate than the EEG, or that are no voltage, are left out.

    Raises
    ------
    EdfError : the file cannot be read without guessing: no EDF, no complete record, a gap between
        records, EEG channels in an unknown unit or at several rates, nothing left to read.
    """
    with EdfStream(path) as stream:
        signals_CT = np.empty((len(stream.channels), stream.num_samples), np.float32)
        stream.read(signals_CT)
        facts = stream.finish()
    everything = len(facts.rows) == len(signals_CT)
    return Recording(
        signals_CT=signals_CT if everything else signals_CT[list(facts.rows)],
        rate_hz=stream.rate_hz,
        channels=tuple(stream.channels[row] for row in facts.rows),
        events=(),
        duration_s=stream.duration_s,
        start=facts.start,
        remarks=facts.remarks,
    )


class EdfStream:
    """An EDF file that is read once, piece by piece. Use it as a context manager.

    Parameters
    ----------
    hashed : compute the SHA-256 of the file on the way.

    Attributes
    ----------
    channels : labels of all channels that are kept, as the file spells them.
    repeats : rows of `channels` that repeat an earlier one as far as has been read.
    rate_hz, num_samples, duration_s : of every channel.
    """

    def __init__(self, path: str | Path, *, hashed: bool = False) -> None:
        self._stream = ByteStream(path, hashed=hashed)
        self._hashed = hashed
        try:
            self._header = header = read_header(self._stream)
            self._kept, self._left_out = select_channels(path, header)
            self._records = EdfRecords(self._stream, header, self._kept)
        except BaseException:
            self.close()
            raise
        self.channels = tuple(channel.label for channel in self._kept)
        self.rate_hz = float(self._kept[0].rate_hz)
        self.num_samples = header.num_records * header.samples[self._kept[0].index]
        self.duration_s = float(header.num_records * header.record_s)
        self._spare_CT = np.empty((0, 0), np.float32)  # read, but not yet asked for

    @property
    def repeats(self) -> tuple[int, ...]:
        return tuple(sorted({later for _, later in self._records.twins}))

    def read(self, out_CT: NDArray[np.float32], rows: Sequence[int] | None = None) -> None:
        """Fill with the next samples in microvolts, of all channels or always of the same rows."""
        rows = range(len(self.channels)) if rows is None else rows
        position = 0
        while position < (wanted := out_CT.shape[1]):
            num_next, spare_CT = self._records.num_next, self._spare_CT
            if spare_CT.shape[1]:
                count = min(wanted - position, spare_CT.shape[1])
                out_CT[:, position : position + count] = spare_CT[:, :count]
                self._spare_CT = spare_CT[:, count:]
            elif num_next <= wanted - position:
                count = num_next
                self._records.read(out_CT[:, position : position + count], rows)
            else:
                count, self._spare_CT = 0, np.empty((len(rows), num_next), np.float32)
                self._records.read(self._spare_CT, rows)
            position += count

    def finish(self) -> EdfFacts:
        """Return what is known now; every sample must have been read. Remarks are logged."""
        header, records, repeats = self._header, self._records, self.repeats
        first_s = records.clock.first_s or Fraction(0)
        remarks = [*header.remarks]
        if header.discontinuous:
            remarks.append("EDF+D, but its records follow each other: read as continuous")
        remarks += [*header.start_remarks, *self._left_out]
        remarks += [
            f"{self._kept[row]} stands twice with identical samples: the first is used"
            for row in repeats
        ]
        rows = tuple(row for row in range(len(self._kept)) if row not in repeats)
        outside = [
            f"{self._kept[row]} {records.num_outside[row]}"
            for row in rows
            if records.num_outside[row]
        ]
        if outside:
            what = "samples outside the declared digital range, read as stored: "
            remarks.append(what + ", ".join(outside))
        for remark in remarks:
            _log.warning("%s: %s", self._stream.path, remark)
        start = header.start and header.start + timedelta(seconds=float(first_s))
        sha256 = self._stream.sha256() if self._hashed else ""
        return EdfFacts(rows, start, sha256, tuple(remarks))

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
