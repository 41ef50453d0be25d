"""LiveRecording: tiles of a recording that is still going on, from samples as they come.

It walks the way of a file (`Tiling`) in the shortest blocks. The filter has zero phase, so it looks
ahead (12 s at a high-pass of 0.5 Hz). Only the tiles that are still wanted are kept, so a monitor
may run for weeks.
"""

# Shapes: S seconds, C channels, R samples a second, N channels of the recorder, P channels in use,
#         T samples at the recorder's rate

import math
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bgb.config.data import PreprocessConfig
from bgb.data.tiling import SignalFacts, Tiling
from bgb.eeg.events import Event
from bgb.errors import EdfError

# Ten years: a plan has an end, and a rate that drifts against the target's by then is refused.
_LONGEST_S = 3653 * 86400
_SAME_SAMPLE = 0.5  # of a sample: time stamps are rounded
_NAME = "live"


class LiveRecording:
    """A recording that grows; otherwise as `Tiles`.

    Parameters
    ----------
    channels : labels of the recorder's channels, in the order of `feed`, as an EDF would have them.
    rate_hz : of the recorder.

    Attributes
    ----------
    num_seconds, duration_s : of the tiles so far; of the whole recording once it has finished.
    hop_s : seconds of tiles that come at once: 1 at whole rates.
    look_ahead_s : seconds that the filter reads beyond a tile.

    Raises
    ------
    ChannelError : the channels fit no montage, or more than `max_missing` are missing.
    EdfError : the rate has no usable ratio to `config.rate_hz`.
    """

    def __init__(
        self,
        channels: Sequence[str],
        rate_hz: float,
        config: PreprocessConfig,
        *,
        max_missing: int,
    ) -> None:
        if not 0 < rate_hz < math.inf:
            raise EdfError(f"rate_hz={rate_hz} is no sampling rate; give that of the recorder")
        self.recording_id, self.events = _NAME, tuple[Event, ...]()
        self.channels, self.rate_hz = tuple(channels), rate_hz
        self._config, self._max_missing = config, max_missing
        self._tiling = self._plan(round(_LONGEST_S * rate_hz), live=True)
        self.spec, self.present_C = self._tiling.spec, self._tiling.present_C
        self.remarks = self._tiling.remarks
        plan = self._tiling.filter.plan
        self.hop_s = plan.hop_out // config.rate_hz
        self.look_ahead_s = plan.overlap_out // config.rate_hz
        self._waiting_PT = np.empty((len(self._tiling.rows), 0), np.float32)
        self._kept: deque[NDArray[np.int16]] = deque()
        self._num_forgotten = self._num_samples = 0
        self._finished = False

    @property
    def num_seconds(self) -> int:
        return self._num_forgotten + len(self._kept)

    @property
    def duration_s(self) -> float:
        return self._num_samples / self.rate_hz if self._finished else float(self.num_seconds)

    @property
    def fed_s(self) -> float:
        """Length of what has been fed."""
        return self._num_samples / self.rate_hz

    def ready_s(self, num_seconds: int) -> int:
        """Return how many seconds must be fed for so many tiles."""
        return math.ceil(num_seconds / self.hop_s) * self.hop_s + self.look_ahead_s

    def tiles(self, start_second: int, stop_second: int) -> NDArray[np.int16]:
        """Return the tiles of [start_second, stop_second), which must not be forgotten."""
        first = start_second - self._num_forgotten
        assert first >= 0, f"second {start_second} is forgotten"
        return np.stack([self._kept[first + n] for n in range(stop_second - start_second)])

    def forget(self, before_second: int) -> None:
        """Free the tiles before a second."""
        while self._kept and self._num_forgotten < before_second:
            self._kept.popleft()
            self._num_forgotten += 1

    def feed(
        self, signals_NT: NDArray[np.floating], *, start_s: float | None = None
    ) -> Iterator[None]:
        """Take the next samples in microvolts; yield after each block of new tiles.

        Parameters
        ----------
        start_s : time of the first of them since the first of all, to notice what was lost.

        Raises
        ------
        EdfError : a gap, another number of channels, samples that are not finite, or the recording
            has finished. Nothing of the chunk is taken then.
        """
        self._check(signals_NT, start_s)
        chosen_PT = signals_NT[self._tiling.rows].astype(np.float32, copy=False)
        self._num_samples += chosen_PT.shape[1]
        self._waiting_PT = np.concatenate([self._waiting_PT, chosen_PT], axis=1)
        while self._waiting_PT.shape[1] >= self._tiling.filter.num_wanted:
            self._next()
            yield

    def finish(self) -> None:
        """End the recording here: the filter sees it reflected, as at the end of a file.

        Raises
        ------
        EdfError : nothing was fed, or less than a sample of the cache; it has finished before.
        """
        self._check_open()
        if not self._num_samples:
            raise EdfError("nothing was fed to this live recording; there is nothing to finish")
        if self.num_seconds == 0:  # nothing is done yet: do it as a file
            self._tiling = self._plan(self._num_samples, live=False)
        else:
            self._tiling.end(self._num_samples)
        while not self._tiling.filter.is_done:
            self._next()
        self._finished = True

    def _plan(self, num_samples: int, *, live: bool) -> Tiling:
        duration_s = num_samples / self.rate_hz
        facts = SignalFacts(
            _NAME, self.channels, self.rate_hz, num_samples, duration_s, self.events
        )
        return Tiling(facts, self._config, max_missing=self._max_missing, live=live)

    def _next(self) -> None:
        block_SCR = self._tiling.block(self._read)
        self._kept.extend(block_SCR.copy())

    def _read(self, out_PT: NDArray[np.float32]) -> None:
        num_samples = out_PT.shape[1]
        out_PT[:] = self._waiting_PT[:, :num_samples]
        self._waiting_PT = self._waiting_PT[:, num_samples:]

    def _check(self, signals_NT: NDArray[np.floating], start_s: float | None) -> None:
        self._check_open()
        expected = len(self.channels)
        if signals_NT.ndim != 2 or len(signals_NT) != expected:
            raise EdfError(
                f"a chunk of shape {signals_NT.shape} was fed where ({expected}, samples) was "
                f"expected: one row for each of {list(self.channels)}"
            )
        if start_s is not None and abs(start_s - self.fed_s) > _SAME_SAMPLE / self.rate_hz:
            raise EdfError(
                f"a chunk that begins at {start_s:.3f} s was fed where {self.fed_s:.3f} s was "
                "expected: samples were lost, repeated or taken at another rate than "
                f"{self.rate_hz:g} Hz; finish here and begin another recording"
            )
        rows = self._tiling.rows
        broken = [self.channels[row] for row in rows if not np.isfinite(signals_NT[row]).all()]
        if broken:
            raise EdfError(
                f"{broken} hold samples that are not finite in the chunk from {self.fed_s:.3f} s "
                "on; one of them would spread over seconds: feed what the amplifier gave, or "
                "finish here and begin another recording without these channels"
            )

    def _check_open(self) -> None:
        if self._finished:
            raise EdfError("this live recording has finished; begin another for what follows")
