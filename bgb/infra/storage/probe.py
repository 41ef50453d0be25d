"""How fast a store is: time to the first bytes of each file, then bytes a second read in a row.

One reader, whole requests; files are spread evenly over the names, so that a repeated probe reads
the same ones. What a local disk keeps in memory is dropped first where the system allows it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bgb.errors import InfraError
from bgb.infra.storage.store import Store, StoredFile

_FIRST_BYTES = 4096
_REQUEST_BYTES = 8 << 20
_MOST_BYTES = 1 << 30
_MOST_S = 15.0
_KINDS = (".edf", ".npz", ".ckpt")  # what is read in earnest, in this order of interest


@dataclass(frozen=True)
class Speed:
    """What a probe measured; `where` is the machine that read.

    Attributes
    ----------
    latency_ms, latency_p95_ms : median and 95th percentile of opening a file and reading 4 KiB.
    mb_per_s : one sequential reader, millions of bytes a second.
    """

    label: str
    where: str
    num_files: int = 0
    latency_ms: float = 0.0
    latency_p95_ms: float = 0.0
    mb_per_s: float = 0.0
    num_bytes: int = 0
    problem: str | None = None


def probe(
    store: Store,
    *,
    num_files: int,
    where: str,
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Read some files of a store and time it."""
    try:
        files = choose(store.files().files, num_files)
        if not files:
            return Speed(store.label, where, problem="no file of 4 KiB or more")
        seconds = [_time_to_first_bytes(store, file, clock) for file in files]
        num_bytes, elapsed_s = _read_in_a_row(store, files, clock)
    except InfraError as error:
        return Speed(store.label, where, problem=str(error))
    median_ms, p95_ms = np.percentile(1e3 * np.array(seconds), [50, 95])
    return Speed(
        store.label,
        where,
        num_files=len(files),
        latency_ms=float(median_ms),
        latency_p95_ms=float(p95_ms),
        mb_per_s=num_bytes / max(elapsed_s, 1e-9) / 1e6,
        num_bytes=num_bytes,
    )


def choose(files: Sequence[StoredFile], num_files: int) -> list[StoredFile]:
    """Return files spread evenly over the sorted names: EDF files, else cached ones, else any."""
    large = [file for file in files if file.num_bytes >= _FIRST_BYTES]
    candidates = next(
        (found for kind in _KINDS if (found := [f for f in large if f.name.endswith(kind)])), large
    )
    step = max(1.0, len(candidates) / num_files)
    return [candidates[int(index * step)] for index in range(min(num_files, len(candidates)))]


def _time_to_first_bytes(store: Store, file: StoredFile, clock: Callable[[], float]) -> float:
    started = clock()
    store.read(file.path, stop=_FIRST_BYTES)
    return clock() - started


def _read_in_a_row(
    store: Store, files: Sequence[StoredFile], clock: Callable[[], float]
) -> tuple[int, float]:
    """Read the files one after the other until there are none, enough bytes or no time left."""
    started, num_bytes = clock(), 0
    for file in files:
        for start in range(0, file.num_bytes, _REQUEST_BYTES):
            stop = min(start + _REQUEST_BYTES, file.num_bytes)
            num_bytes += len(store.read(file.path, start=start, stop=stop))
            if num_bytes >= _MOST_BYTES or clock() - started >= _MOST_S:
                return num_bytes, clock() - started
    return num_bytes, clock() - started
