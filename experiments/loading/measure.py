"""The measurements: warm, cold, flat and first. Each returns plain numbers for results.json."""

# Shapes: B windows, S seconds, C channels, R samples a second

import gc
import mmap
import os
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from corpus import SPEC, write_sparse
from readers import GRID_S, WINDOW_S, Reader, Window, fresh, microvolts
from timing import Cost, alternate, mean

from bgb.config.data import SamplingConfig
from bgb.data import CachedRecording, open_cache
from bgb.data.loader import WindowLoader
from bgb.data.sampling import index_windows
from bgb.data.windows import WindowBatch
from bgb.detectors.frontend import Frontend

BATCH_SIZE = 64
SAMPLING = SamplingConfig(windows_per_epoch=64 * 2000, partial=1.0, full=0.0, none=2.0)
WINDOW_BYTES = 2 * WINDOW_S * SPEC.num_channels * SPEC.rate_hz


def loader(
    recordings: Sequence[CachedRecording],
    *,
    batch_size: int = BATCH_SIZE,
    num_batches: int = 2000,
    **settings: Any,  # Any: of WindowLoader
) -> WindowLoader:
    """Make the loader as training does."""
    return WindowLoader(
        recordings,
        replace(SAMPLING, windows_per_epoch=batch_size * num_batches),
        window_s=WINDOW_S,
        batch_size=batch_size,
        label_rate_hz=1.0,
        seed=0,
        progress=False,
        **settings,
    )


def warm(
    recordings: Sequence[CachedRecording], plain: dict[str, Reader], rounds: int
) -> dict[str, list[Cost]]:
    """Return what batches of warm files cost."""
    generator = np.random.default_rng(0)
    return alternate(
        memcpy() | _ours(recordings) | _by_windows(recordings, plain, generator), rounds
    )


def check(recordings: Sequence[CachedRecording], plain: dict[str, Reader]) -> None:
    """Every reader must return the very windows of the cache, in microvolts."""
    windows = draw(recordings, np.random.default_rng(1))[:6]
    expected = np.stack([recordings[n].signal_CT(s, s + WINDOW_S) for n, s in windows])
    for dtype in (torch.int16, torch.float32):
        ours = microvolts(fresh(recordings, windows, dtype=dtype), SPEC.quantum_uv)
        np.testing.assert_allclose(ours, expected, atol=1e-3)
        batch: WindowBatch = next(iter(loader(recordings, dtype=dtype, threads=2)))
        steps_CT = batch.tiles_BSCR[5].transpose(0, 1).flatten(1).numpy()
        number, start = int(batch.recording_B[5]), int(batch.start_B[5])
        wanted_CT = recordings[number].signal_CT(start, start + WINDOW_S)
        np.testing.assert_allclose(steps_CT * SPEC.quantum_uv, wanted_CT, atol=1e-3)
    for read in plain.values():
        np.testing.assert_allclose(read(windows), expected, atol=1e-3)


def memcpy() -> dict[str, Callable[[], Cost]]:
    """Return copies of a batch between buffers that rotate like those of the loader."""
    shape = (BATCH_SIZE, WINDOW_S, SPEC.num_channels, SPEC.rate_hz)
    variants: dict[str, Callable[[], Cost]] = {}
    for name, dtype in (("memcpy int16", np.int16), ("memcpy float32", np.float32)):
        ring = [np.ones(shape, dtype) for _ in range(4)]
        state = iter(range(1 << 60))

        def copy(ring: list[Any] = ring, state: Iterator[int] = state) -> None:
            step = next(state)
            np.copyto(ring[step % 4], ring[(step + 2) % 4])

        variants[name] = partial(mean, copy, 6)
    return variants


def _ours(recordings: Sequence[CachedRecording]) -> dict[str, Callable[[], Cost]]:
    variants: dict[str, Callable[[], Cost]] = {}
    for kind, dtype in (("int16", torch.int16), ("float32", torch.float32)):
        for residency in ("disk", "memory"):
            for threads in (1, 2, 4, 8) if residency == "disk" else (1, 2):
                batches = iter(
                    loader(recordings, dtype=dtype, threads=threads, residency=residency)
                )
                name = f"bgb loader, {kind}, {residency}, {threads} thread(s)"
                variants[name] = partial(steady, batches)
    return variants


def _by_windows(
    recordings: Sequence[CachedRecording],
    plain: dict[str, Reader],
    generator: np.random.Generator,
) -> dict[str, Callable[[], Cost]]:
    readers: dict[str, Reader] = {
        "bgb, int16, fresh memory": partial(fresh, recordings, dtype=torch.int16),
        "bgb, float32, fresh memory": partial(fresh, recordings, dtype=torch.float32),
        **plain,
    }

    def timed(read: Reader) -> Cost:
        windows = draw(recordings, generator)
        return mean(partial(read, windows), 1 if read in plain.values() else 4)

    return {name: partial(timed, read) for name, read in readers.items()}


def steady(batches: Iterator[WindowBatch]) -> Cost:
    """Return what a batch costs once what was read ahead is used up."""
    for _ in range(3):
        next(batches)
    return mean(partial(next, batches), 10)


def draw(recordings: Sequence[CachedRecording], generator: np.random.Generator) -> list[Window]:
    """Return the windows of a batch, on the grid that every peer can address."""
    numbers = generator.integers(len(recordings), size=BATCH_SIZE).tolist()
    return [
        (n, GRID_S * int(generator.integers((recordings[n].num_seconds - WINDOW_S) // GRID_S)))
        for n in numbers
    ]


def frontend(recordings: Sequence[CachedRecording], rounds: int) -> dict[str, list[Cost]]:
    """Return what the frontend of a detector on the CPU costs for each type of batch."""
    module = Frontend(SPEC, rate_hz=128)
    batches = {
        "int16": next(iter(loader(recordings))),
        "float32": next(iter(loader(recordings, dtype=torch.float32))),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in batches}
    with torch.inference_mode():
        for _ in range(rounds + 1):
            for name, batch in batches.items():
                run = partial(module, batch.tiles_BSCR, batch.present_BC)
                costs[name].append(mean(run, 1))
    return {name: values[1:] for name, values in costs.items()}


def cold(recordings: Sequence[CachedRecording], rounds: int) -> dict[str, list[Cost]]:
    """Return the cost of a batch after the page cache forgot the files; 4 batches a number."""
    variants: dict[str, Callable[[], Cost]] = {}
    for depth in (1, 8):
        variants[f"O_DIRECT, {depth} at once"] = partial(_direct, recordings, depth)
    for threads in (1, 2, 4, 8):
        made = loader(recordings, num_batches=4, threads=threads)
        variants[f"bgb loader, int16, disk, {threads} thread(s)"] = partial(_epoch, made)
    costs: dict[str, list[Cost]] = {name: [] for name in variants}
    generator = np.random.default_rng(0)
    for _ in range(rounds):
        for index in generator.permutation(len(variants)):
            name = list(variants)[index]
            _forget(recordings)
            costs[name].append(variants[name]())
    return costs


def _epoch(made: WindowLoader) -> Cost:
    whole = mean(lambda: deque(made, maxlen=0), 1)
    return Cost(whole.wall / len(made), whole.cpu / len(made))


def _forget(recordings: Sequence[CachedRecording]) -> None:
    for recording in recordings:
        descriptor = os.open(recording.path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _direct(recordings: Sequence[CachedRecording], depth: int) -> Cost:
    """Read as many bytes at random places past the page cache: what the disk can do."""
    generator = np.random.default_rng()
    num_bytes = -(-WINDOW_BYTES // 4096) * 4096
    descriptors = [os.open(item.path, os.O_RDONLY | os.O_DIRECT) for item in recordings]
    places = [
        (
            descriptors[int(generator.integers(len(recordings)))],
            4096 * int(generator.integers((recordings[0].signal_bytes - num_bytes) // 4096)),
        )
        for _ in range(4 * BATCH_SIZE)
    ]

    def read(share: Sequence[tuple[int, int]]) -> None:
        with mmap.mmap(-1, num_bytes) as buffer:
            for descriptor, place in share:
                os.preadv(descriptor, [buffer], place)

    with ThreadPoolExecutor(depth) as pool:
        shares = [places[first::depth] for first in range(depth)]
        whole = mean(lambda: list(pool.map(read, shares)), 1)
    for descriptor in descriptors:
        os.close(descriptor)
    return Cost(whole.wall / 4, whole.cpu / 4)


def flat(recordings: Sequence[CachedRecording], num_batches: int) -> list[dict[str, float]]:
    """Return memory and open files along an epoch of many batches of 16 windows."""
    made = loader(recordings, batch_size=16, num_batches=num_batches, threads=2)
    every, curve = max(1, num_batches // 200), []
    for number, _ in enumerate(made):
        if number % every == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            curve.append(
                {
                    "batch": number,
                    "rss_mb": pages * os.sysconf("SC_PAGESIZE") / 1e6,
                    "open_files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
                }
            )
    return curve


def first(folder: Path, count: int) -> dict[str, float]:
    """Return seconds to open a corpus of holes and to its first batch, and bytes of its index."""
    if not (folder / "manifest.json").exists():
        write_sparse(folder, count, mean_seconds=700)
    started = time.perf_counter()
    cache = open_cache(folder)
    opened = time.perf_counter()
    made = loader(cache.split("train"), num_batches=100)
    indexed = time.perf_counter()
    next(iter(made))
    ready = time.perf_counter()
    return {
        "recordings": len(cache),
        "hours": sum(recording.duration_s for recording in cache) / 3600,
        "open_s": opened - started,
        "index_s": indexed - opened,
        "first_batch_s": ready - indexed,
        "index_bytes": _index_bytes(cache.split("train")),
        "index_bytes_double_length": _index_bytes(
            [_twice_as_long(recording) for recording in cache.split("train")]
        ),
    }


def _index_bytes(recordings: Sequence[CachedRecording]) -> int:
    gc.collect()
    tracemalloc.start()
    index = index_windows(recordings, judged_s=WINDOW_S)
    num_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert index.count("none") > 0
    return num_bytes


def _twice_as_long(recording: CachedRecording) -> CachedRecording:
    longer = replace(
        recording.entry,
        num_seconds=2 * recording.num_seconds,
        duration_s=2 * recording.duration_s,
    )
    return replace(recording, entry=longer)
