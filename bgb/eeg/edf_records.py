"""The data records of an EDF file, in pieces that fit the cache of a core, each read once."""

# Shapes: C channels, N records, L samples a record of all signals, T samples

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bgb.eeg.byte_stream import ByteStream
from bgb.eeg.edf_channels import EdfChannel
from bgb.eeg.edf_clock import Clock
from bgb.eeg.edf_header import EdfHeader
from bgb.errors import EdfError

_CHUNK_BYTES = 1 << 20  # read at once: hashed, checked and scaled while it is in the cache
_NO_OFFSET = 1e-6  # of a digital step: what rounding makes of a symmetrical range


class EdfRecords:
    """Reads records from beginning to end, and looks at what only they tell.

    Attributes
    ----------
    num_outside : of each channel, the samples outside its declared digital range.
    twins : pairs (earlier, later) of channels of one name whose samples have been the same so far.
    """

    def __init__(self, stream: ByteStream, header: EdfHeader, kept: Sequence[EdfChannel]) -> None:
        self._stream, self._num_left = stream, header.num_records
        starts = np.concatenate([[0], np.cumsum(header.samples)])
        self._starts = starts[:-1]
        self._columns = [slice(starts[one.index], starts[one.index + 1]) for one in kept]
        self._samples = header.samples[kept[0].index]  # the same in all that are kept
        self._scales = [one.scale for one in kept if one.scale]  # `select_channels` keeps no other
        self._range_2C = np.array([(scale.lowest, scale.highest) for scale in self._scales]).T
        self._kept_C = [channel.index for channel in kept]
        num_records = min(max(1, _CHUNK_BYTES // (2 * starts[-1])), header.num_records)
        self._chunk_NL = np.empty((num_records, starts[-1]), "<i2")
        self.clock, self._annotations = _clock(stream.path, header, starts)
        self.num_outside = np.zeros(len(kept), np.int64)
        self.twins = {
            (earlier, later)
            for later, channel in enumerate(kept)
            for earlier, other in enumerate(kept[:later])
            if channel.name and (channel.name, channel.scale) == (other.name, other.scale)
        }

    @property
    def num_next(self) -> int:
        """Samples that the next `read` yields."""
        return min(len(self._chunk_NL), self._num_left) * self._samples

    def read(self, out_CT: NDArray[np.float32], rows: Sequence[int]) -> None:
        """Fill (rows, `num_next`) with the microvolts of the next records."""
        chunk_NL = self._chunk_NL[: self._num_left]
        count = self._stream.read_into(chunk_NL.reshape(-1).view(np.uint8).data)
        if count < chunk_NL.nbytes:
            raise EdfError(
                f"{self._stream.path}: ends before its last record: it changed while it was read"
            )
        self._num_left -= len(chunk_NL)
        self._look(chunk_NL)
        for out_T, row in zip(out_CT, rows, strict=True):
            scale = self._scales[row]
            out_T.reshape(len(chunk_NL), -1)[:] = chunk_NL[:, self._columns[row]]
            out_T *= np.float32(scale.gain_uv)
            if abs(scale.offset_uv) > _NO_OFFSET * abs(scale.gain_uv):
                out_T += np.float32(scale.offset_uv)

    def _look(self, chunk_NL: NDArray[np.int16]) -> None:
        if self._annotations is not None:
            annotations_N = np.ascontiguousarray(chunk_NL[:, self._annotations])
            width = annotations_N.shape[1] * 2
            contents = annotations_N.tobytes()
            self.clock.check([contents[at : at + width] for at in range(0, len(contents), width)])
        lowest = np.minimum.reduceat(chunk_NL.min(axis=0), self._starts)[self._kept_C]
        highest = np.maximum.reduceat(chunk_NL.max(axis=0), self._starts)[self._kept_C]
        low, high = self._range_2C
        for row in np.flatnonzero((lowest < low) | (highest > high)):
            digital_NL = chunk_NL[:, self._columns[row]]
            outside = (digital_NL < low[row]) | (digital_NL > high[row])
            self.num_outside[row] += np.count_nonzero(outside)
        self.twins = {pair for pair in self.twins if self._equal(chunk_NL, *pair)}

    def _equal(self, chunk_NL: NDArray[np.int16], earlier: int, later: int) -> bool:
        columns = self._columns
        return np.array_equal(chunk_NL[:, columns[earlier]], chunk_NL[:, columns[later]])


def _clock(
    path: str | Path, header: EdfHeader, starts: NDArray[np.int64]
) -> tuple[Clock, slice | None]:
    """Return the clock and where its annotations lie in a record: in the first of their signals."""
    keepers = [i for i, signal in enumerate(header.signals) if signal._is_annotation_signal]
    others = [n for i, n in enumerate(header.samples) if i not in keepers]
    clock = Clock(
        path,
        record_s=header.record_s,
        tolerance_s=header.record_s / max(others) / 2,  # half a sample
        discontinuous=header.discontinuous,
    )
    if keepers:
        return clock, slice(starts[keepers[0]], starts[keepers[0] + 1])
    if header.discontinuous:
        raise clock.silent()
    return clock, None
