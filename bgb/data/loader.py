"""WindowLoader: batches of training windows, read ahead by threads, resumable at every batch.

Threads, not processes: handing a batch between processes costs more than reading it (measured,
performance.md 1d). The order comes from `draw_epoch`, so the state is two numbers, and it counts
batches handed out, never those read ahead (lesson 67).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from bgb.config.data import SamplingConfig
from bgb.data.cache import CachedRecording
from bgb.data.residency import make_resident
from bgb.data.sampling import Epoch, check_kinds, draw_epoch, index_windows
from bgb.data.windows import WindowBatch, make_batch


class WindowLoader:
    """Iterable over the batches of one epoch; each new iteration is the next epoch.

    Lightning saves `state_dict` between batches and hands it to `load_state_dict` before the first
    batch of a resumed run. Lightning stops at `len` and never exhausts the generator, so an epoch
    begins at the start of an iteration, not after the last batch (scoring.md, "training loop").
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
        threads: int = 1,
    ) -> None:
        self._sampling, self._seed = sampling, seed
        self._window_s, self._batch_size = window_s, batch_size
        self._label_rate_hz, self._threads = label_rate_hz, threads
        self._index = index_windows(recordings, window_s=window_s, by_patient=sampling.by_patient)
        check_kinds(self._index, sampling)
        self._recordings = make_resident(recordings, residency, memory_gib=memory_gib)
        self._epoch, self._position = -1, len(self)  # as if the epoch before the first were over
        self._resumed = False

    def __len__(self) -> int:
        """Return the number of batches in an epoch; the last may be smaller."""
        return -(-self._sampling.windows_per_epoch // self._batch_size)

    def __iter__(self) -> Iterator[WindowBatch]:
        if not self._resumed or self._position >= len(self):
            self._epoch, self._position = self._epoch + 1, 0
        self._resumed = False
        epoch = draw_epoch(self._index, self._sampling, seed=self._seed, epoch=self._epoch)
        for batch in self._read_ahead(epoch, self._position):
            self._position += 1  # before the yield: a state saved while it is in use says "next"
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and how many of its batches were handed out."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next iteration continue after the batches that `state` counts."""
        self._epoch, self._position = state["epoch"], state["position"]
        self._resumed = True

    def _read_ahead(self, epoch: Epoch, first: int) -> Iterator[WindowBatch]:
        executor = ThreadPoolExecutor(self._threads, thread_name_prefix="bgb-windows")
        waiting: deque[Future[WindowBatch]] = deque()
        try:
            for position in range(first, len(self)):
                waiting.append(executor.submit(self._batch, epoch, position))
                if len(waiting) > self._threads:  # one batch in each thread, one in use
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            executor.shutdown(cancel_futures=True)

    def _batch(self, epoch: Epoch, position: int) -> WindowBatch:
        window = slice(position * self._batch_size, (position + 1) * self._batch_size)
        recordings = epoch.recording_N[window].tolist()
        return make_batch(
            [self._recordings[recording] for recording in recordings],
            epoch.start_N[window].tolist(),
            window_s=self._window_s,
            label_rate_hz=self._label_rate_hz,
            recordings=recordings,
            first_sample=self._epoch * self._sampling.windows_per_epoch + window.start,
        )
