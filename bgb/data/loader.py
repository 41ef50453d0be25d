"""WindowLoader: batches of training windows, read ahead by threads, resumable at every batch.

Threads, not processes: handing a batch between processes costs more than reading it (measured,
performance.md 1d). All threads read the same batch, each a share of its windows, so the first
comes soon and memory does not grow with threads. The order comes from `draw_epoch`, so the state is
two numbers, and it counts batches handed out, never those read ahead (lesson 67).
"""

import contextlib
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import NamedTuple

import torch

from bgb.config.augment import ShiftConfig
from bgb.config.data import SamplingConfig
from bgb.data.buffers import TileBuffers
from bgb.data.cache import CachedRecording
from bgb.data.device import DeviceSplit
from bgb.data.labels import count_steps
from bgb.data.residency import make_resident
from bgb.data.sampling import Epoch, check_kinds, draw_epoch, index_windows, shift_epoch
from bgb.data.tiles import Tiles
from bgb.data.windows import WindowBatch, empty_batch, fill_batch

_MIN_AHEAD = 2  # batches: one being read, one ready
_CPU = torch.device("cpu")
_NO_SHIFT = ShiftConfig()


class WindowLoader:
    """Iterable over the batches of one epoch; each new iteration is the next epoch.

    Lightning saves `state_dict` between batches and hands it to `load_state_dict` before the first
    batch of a resumed run. Lightning stops at `len` and never exhausts the generator, so an epoch
    begins at the start of an iteration, not after the last batch (scoring.md, "training loop").

    Parameters
    ----------
    label_rate_hz : output steps a second.
    device : where the detector is trained; batches for CUDA are handed out in pinned memory.
    dtype : of the tiles: int16, or float32 for a detector on the CPU (`TileBuffers`).
    threads : that read; on a volume with latency as many windows are under way.
    progress : show a bar while a split is loaded to memory or to the device.
    rank, num_processes : which share of each batch this process reads; shares differ by one window
        at most and may be empty. State and sample numbers are those of whole batches, so a run may
        go on with another number of processes.
    shift : start windows between two seconds; tiles then hold one second more.
    context_s : seconds at the left and right of a window that are read, but not judged.
    boundary_s : labels ramp over this time around each onset and offset.
    """

    def __init__(
        self,
        recordings: Sequence[CachedRecording],
        sampling: SamplingConfig,
        *,
        window_s: int,
        batch_size: int,
        label_rate_hz: float,
        seed: int,
        residency: str = "disk",
        memory_gib: float = 8.0,
        device: torch.device = _CPU,
        dtype: torch.dtype = torch.int16,
        threads: int = 1,
        progress: bool = True,
        rank: int = 0,
        num_processes: int = 1,
        shift: ShiftConfig = _NO_SHIFT,
        context_s: tuple[int, int] = (0, 0),
        boundary_s: float = 0.0,
    ) -> None:
        self._shift, self._boundary_s = shift, boundary_s
        self._before_s, self._judged_s = context_s[0], window_s - sum(context_s)
        self._rate_hz = recordings[0].spec.rate_hz
        self._read_s = window_s + (shift.probability > 0)
        self._sampling, self._seed = sampling, seed
        self._rank, self._num_processes = rank, num_processes
        self._batch_size, self._threads = batch_size, threads
        self._num_steps = count_steps(self._judged_s, label_rate_hz)
        self._index = index_windows(
            recordings, judged_s=self._judged_s, by_patient=sampling.by_patient
        )
        check_kinds(self._index, sampling)
        self._tiles = make_resident(
            recordings, residency, memory_gib=memory_gib, device=device, progress=progress
        )
        largest_share = -(-batch_size // num_processes)
        self._ahead = max(_MIN_AHEAD, -(-threads // largest_share))
        self._buffers = TileBuffers(
            recordings[0].spec,
            window_s=self._read_s,
            batch_size=largest_share,
            dtype=dtype,
            keep=self._ahead + 2,  # one in use and one that its consumer is about to let go of
            pinned=device.type == "cuda",
        )
        self._epoch, self._position = -1, len(self)  # as if the epoch before the first were over
        self._resumed = False
        self.waited_s = 0.0  # that consumers have waited for batches, in all

    def __len__(self) -> int:
        """Return the number of batches in an epoch; the last may be smaller."""
        return -(-self._sampling.windows_per_epoch // self._batch_size)

    def __iter__(self) -> Iterator[WindowBatch]:
        with contextlib.closing(self._epoch_batches()) as batches:
            while True:
                began = time.perf_counter()
                batch = next(batches, None)
                self.waited_s += time.perf_counter() - began
                if batch is None:
                    return
                yield batch

    def num_windows(self, position: int) -> int:
        """Return how many windows a batch has, the shares of all processes together."""
        left = self._sampling.windows_per_epoch - position * self._batch_size
        return min(self._batch_size, left)

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and how many of its batches were handed out."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next iteration continue after the batches that `state` counts."""
        self._epoch, self._position = state["epoch"], state["position"]
        self._resumed = True

    def _epoch_batches(self) -> Generator[WindowBatch, None, None]:
        if not self._resumed or self._position >= len(self):
            self._epoch, self._position = self._epoch + 1, 0
        self._resumed = False
        epoch = shift_epoch(
            draw_epoch(self._index, self._sampling, seed=self._seed, epoch=self._epoch),
            self._shift,
            rate_hz=self._rate_hz,
            seed=self._seed,
            number=self._epoch,
        )
        if isinstance(self._tiles, DeviceSplit):
            yield from self._gather(self._tiles, epoch, self._position)
        else:
            yield from self._read_ahead(self._tiles, epoch, self._position)

    def _gather(self, split: DeviceSplit, epoch: Epoch, first: int) -> Iterator[WindowBatch]:
        for position in range(first, len(self)):
            recordings, starts, first_sample = self._windows(epoch, position)
            batch = split.batch(
                recordings,
                starts,
                judged_s=self._judged_s,
                num_steps=self._num_steps,
                first_sample=first_sample,
                read_s=self._read_s,
                before_s=self._before_s,
                boundary_s=self._boundary_s,
            )
            self._position += 1
            yield batch

    def _read_ahead(
        self, tiles: Sequence[Tiles], epoch: Epoch, first: int
    ) -> Iterator[WindowBatch]:
        executor = ThreadPoolExecutor(self._threads, thread_name_prefix="bgb-windows")
        waiting: deque[_Reading] = deque()
        try:
            for position in range(first, len(self)):
                waiting.append(self._start(executor, tiles, epoch, position))
                if len(waiting) > self._ahead:
                    yield self._hand_out(waiting.popleft())
            while waiting:
                yield self._hand_out(waiting.popleft())
        finally:
            executor.shutdown(cancel_futures=True)

    def _start(
        self, executor: Executor, tiles: Sequence[Tiles], epoch: Epoch, position: int
    ) -> "_Reading":
        """Take memory for a batch and let every thread read a share of its windows."""
        recordings, starts, first_sample = self._windows(epoch, position)
        batch = empty_batch(
            self._buffers,
            starts,
            num_steps=self._num_steps,
            recordings=recordings,
            first_sample=first_sample,
        )
        tiles_B = [tiles[recording] for recording in recordings]
        share = max(1, -(-len(starts) // self._threads))
        parts = [
            executor.submit(
                fill_batch,
                batch,
                tiles_B,
                starts,
                rows=range(row, min(row + share, len(starts))),
                judged_s=self._judged_s,
                before_s=self._before_s,
                boundary_s=self._boundary_s,
            )
            for row in range(0, len(starts), share)
        ]
        return _Reading(batch, parts)

    def _windows(self, epoch: Epoch, position: int) -> tuple[list[int], list[float], int]:
        """Return recordings and starts of our share, and the number of its first sample."""
        begin = position * self._batch_size
        size = self.num_windows(position)
        first, stop = (size * rank // self._num_processes for rank in (self._rank, self._rank + 1))
        window = slice(begin + first, begin + stop)
        first_sample = self._epoch * self._sampling.windows_per_epoch + window.start
        return epoch.recording_N[window].tolist(), epoch.start_N[window].tolist(), first_sample

    def _hand_out(self, reading: "_Reading") -> WindowBatch:
        for part in reading.parts:
            part.result()
        self._position += 1  # before the yield: a state saved while it is in use says "next"
        return reading.batch


class _Reading(NamedTuple):
    batch: WindowBatch
    parts: list[Future[None]]
