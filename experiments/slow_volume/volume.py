"""A folder that answers like a network volume: latency a request, bandwidth a stream, few streams.

In process, at the level of open, pread and posix_fadvise, so that it needs no rights and the very
code of bgb runs on it. A read is cut into requests of one block, one after the other, as a file
system without read-ahead sends them; what `posix_fadvise` announces is requested at once, as far as
streams are free. Of what arrived the last 192 MiB are kept: the corpus is far larger than memory.
`read_meta`, which reads through numpy, is not slowed down.
"""

import errno
import heapq
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEPT_BYTES = 192 << 20


@dataclass(frozen=True)
class Volume:
    """What a volume is like."""

    name: str
    latency_s: float
    bytes_per_s: float  # of one stream
    block_bytes: int  # of one request
    streams: int  # requests served at once

    @property
    def request_s(self) -> float:
        return self.latency_s + self.block_bytes / self.bytes_per_s


NETWORK_DISK = Volume("network disk", 2e-3, 300e6, 128 << 10, 10)
BUCKET_MOUNT = Volume("bucket mount", 30e-3, 100e6, 1 << 20, 32)


class Simulation:
    """When each block arrives: a queue before `streams` servers, in order of the requests."""

    def __init__(self, volume: Volume, folder: Path) -> None:
        self.volume, self.num_requests = volume, 0
        self._folder = str(folder.resolve()) + "/"
        self._free_s = [0.0] * volume.streams
        self._arrivals: dict[tuple[str, int], float] = {}
        self._lock = threading.Lock()

    def path(self, descriptor: int) -> str | None:
        """Return the file behind a descriptor if it lies on the volume."""
        name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        return name if name.startswith(self._folder) else None

    def holds(self, name: str) -> bool:
        return str(name).startswith(self._folder)

    def blocks(self, position: int, count: int) -> range:
        size = self.volume.block_bytes
        return range(position // size, -(-(position + count) // size))

    def announce(self, path: str, blocks: range) -> None:
        """Request all blocks now."""
        with self._lock:
            for block in blocks:
                self._request(path, block)

    def arrived(self, path: str, blocks: range) -> bool:
        """Tell whether all blocks are there."""
        with self._lock:
            now = time.monotonic()
            return all(self._arrivals.get((path, block), now + 1) <= now for block in blocks)

    def wait(self, path: str, blocks: range) -> None:
        """Wait for the blocks, one request after the other for those that nobody announced."""
        for block in blocks:
            with self._lock:
                arrival = self._request(path, block)
            time.sleep(max(0.0, arrival - time.monotonic()))

    def _request(self, path: str, block: int) -> float:
        """Return when the block is there; a new request takes the stream that is free first."""
        if (path, block) not in self._arrivals:
            self.num_requests += 1
            done = max(time.monotonic(), heapq.heappop(self._free_s)) + self.volume.request_s
            heapq.heappush(self._free_s, done)
            self._arrivals[path, block] = done
            if len(self._arrivals) > KEPT_BYTES // self.volume.block_bytes:
                del self._arrivals[next(iter(self._arrivals))]
        return self._arrivals[path, block]


@contextmanager
def slowed(volume: Volume, folder: Path) -> Iterator[Simulation]:
    """Let reads below `folder` take as long as on the volume."""
    simulation = Simulation(volume, folder)
    real = {name: getattr(os, name) for name in ("open", "pread", "preadv", "posix_fadvise")}

    def slow_open(path, flags, *words, **named):
        if simulation.holds(path):
            time.sleep(volume.latency_s)
        return real["open"](path, flags, *words, **named)

    def slow_pread(descriptor, count, position):
        if path := simulation.path(descriptor):
            rest = max(0, os.fstat(descriptor).st_size - position)
            simulation.wait(path, simulation.blocks(position, min(count, rest)))
        return real["pread"](descriptor, count, position)

    def slow_preadv(descriptor, views, position, flags=0):
        if path := simulation.path(descriptor):
            blocks = simulation.blocks(position, sum(map(len, views)))
            if not flags & os.RWF_NOWAIT:
                simulation.wait(path, blocks)
            elif not simulation.arrived(path, blocks):
                raise BlockingIOError(errno.EAGAIN, "not there yet")
        return real["preadv"](descriptor, views, position)

    def slow_fadvise(descriptor, position, count, advice):
        path = simulation.path(descriptor)
        if path is None:
            real["posix_fadvise"](descriptor, position, count, advice)
        elif advice == os.POSIX_FADV_WILLNEED:
            simulation.announce(path, simulation.blocks(position, count))

    slow = (slow_open, slow_pread, slow_preadv, slow_fadvise)
    try:
        for name, function in zip(real, slow, strict=True):
            setattr(os, name, function)
        yield simulation
    finally:
        for name, function in real.items():
            setattr(os, name, function)
