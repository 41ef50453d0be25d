"""What a batch costs on a slow volume, and when it pays to load or to stage the cache first.

    python experiments/slow_volume/run.py [--recordings 80] [--rounds 3]

The loader and the staging that training uses, on a local folder and on two simulated volumes
(volume.py). Variants are alternated in random order; medians of the rounds. Writes results.json and
plot.png.
"""

import argparse
import json
import os
import platform
import random
import shutil
import tempfile
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from corpus import configure, write_cache
from rich.console import Console
from rich.table import Table
from volume import BUCKET_MOUNT, NETWORK_DISK, Volume, slowed

from bgb.config.data import DataConfig
from bgb.data import device, staging
from bgb.data.cache import open_cache
from bgb.data.key import cache_folder
from bgb.data.loader import WindowLoader
from bgb.data.npz import open_signal
from bgb.data.residency import make_resident

BATCH, BATCHES, SECONDS = 64, 20, 1200
VOLUMES: tuple[Volume | None, ...] = (None, NETWORK_DISK, BUCKET_MOUNT)
ALONE = "one at a time"  # recording; measured in the first round only
THREADS = (1, 4, 16, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    measured: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as name:
        config = configure(Path(name), windows_per_epoch=BATCH * BATCHES, batch_size=BATCH)
        folder = write_cache(config, num_recordings=words.recordings, num_seconds=SECONDS)
        gigabytes = sum(path.stat().st_size for path in folder.rglob("*.npz")) / 1e9
        for number in range(words.rounds):
            for key, seconds in measure(config, number):
                measured.setdefault(key, []).append(seconds)
    results = {key: median(values) for key, values in sorted(measured.items())}
    write(results, gigabytes=gigabytes, words=words)


def measure(config: DataConfig, number: int):
    """Yield (name of the figure, seconds) of one round."""
    variants = [(volume, kind) for volume in VOLUMES for kind in kinds(volume)]
    if number > 0:  # half a minute each
        variants = [(volume, kind) for volume, kind in variants if ALONE not in kind]
    random.Random(number).shuffle(variants)
    for volume, kind in variants:
        name = volume.name if volume else "local"
        staged = f"{config.cache_root}-staged"
        if volume is None:
            yield from measure_one(replace(config, staging=staged), name, kind)
        else:
            with slowed(volume, Path(config.cache_root)):
                yield from measure_one(replace(config, staging=staged), name, kind)


def kinds(volume: Volume | None) -> list[str]:
    disk = [f"disk, threads={threads}" for threads in THREADS]
    loads = ["memory", f"memory, {ALONE}", "staged", f"staged, {ALONE}"]
    return [*disk, *(loads if volume else ["memory"])]


def measure_one(config: DataConfig, name: str, kind: str):
    open_signal.cache_clear()
    alone = ALONE in kind
    if kind.startswith("disk"):
        yield f"{name}; {kind}; batch", batch_seconds(config, threads=int(kind.split("=")[1]))
    elif kind.startswith("memory"):
        recordings = open_cache(cache_folder(config)).split("train")
        with patch.object(device, "LOADERS", 1 if alone else device.LOADERS):
            started = time.perf_counter()
            make_resident(recordings, "memory", memory_gib=64, progress=False)
            yield f"{name}; {kind}; load", time.perf_counter() - started
        if not alone:
            yield f"{name}; {kind}; batch", batch_seconds(config, residency="memory")
    else:
        with patch.object(staging, "_COPIES", 1 if alone else staging._COPIES):
            staging.stage_lists(config)
            wanted = [(one.split, one.recording_id) for one in open_cache(cache_folder(config))]
            report = staging.stage_recordings(config, wanted, progress=False)
        yield f"{name}; {kind}; load", report.seconds
        if not alone:
            yield f"{name}; {kind}; batch", batch_seconds(staging.staged_config(config))
        shutil.rmtree(config.staging)


def batch_seconds(config: DataConfig, *, threads: int = 1, residency: str = "disk") -> float:
    """Return the time of an epoch by its batches, opening of the files included.

    Not the median between batches: what was read ahead comes in bursts.
    """
    loader = WindowLoader(
        open_cache(cache_folder(config)).split("train"),
        config.sampling,
        window_s=60,
        batch_size=BATCH,
        label_rate_hz=1.0,
        seed=random.randrange(1 << 30),
        residency=residency,
        memory_gib=64,
        threads=threads,
        progress=False,
    )
    started = time.perf_counter()
    num_batches = sum(1 for _ in loader)
    return (time.perf_counter() - started) / num_batches


def write(results: dict[str, float], *, gigabytes: float, words: argparse.Namespace) -> None:
    facts = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared",
        "load_average_at_the_end": os.getloadavg(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "date": date.today().isoformat(),
        "command": f"python experiments/slow_volume/run.py --recordings {words.recordings} "
        f"--rounds {words.rounds}",
        "batch": f"{BATCH} windows of 60 s, 19 channels at 256 Hz, int16: 37.4 MB",
        "corpus_gigabytes": gigabytes,
        "volumes": [vars(volume) for volume in VOLUMES if volume],
    }
    path = Path(__file__).with_name("results.json")
    path.write_text(json.dumps({**facts, "seconds": results}, indent=1) + "\n")
    table = Table("where", "how", "ms a batch", "s to load", "GB/s")
    names = [volume.name if volume else "local" for volume in VOLUMES]
    for name in names:
        for kind in dict.fromkeys(key.split("; ")[1] for key in results if key.startswith(name)):
            batch = results.get(f"{name}; {kind}; batch")
            load = results.get(f"{name}; {kind}; load")
            table.add_row(
                *(name, kind, f"{1e3 * batch:.1f}" if batch is not None else ""),
                *(f"{load:.2f}" if load else "", f"{gigabytes / load:.2f}" if load else ""),
            )
    Console().print(table)
    plot(results, names)


def plot(results: dict[str, float], names: list[str]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    shown = [*(f"disk, threads={threads}" for threads in THREADS), "memory", "staged"]
    for position, name in enumerate(names):
        values = [1e3 * results.get(f"{name}; {kind}; batch", np.nan) for kind in shown]
        axes[0].bar(np.arange(len(shown)) + 0.27 * (position - 1), values, 0.25, label=name)
    axes[0].set(yscale="log", ylabel="ms a batch of 64 windows", title="reading")
    axes[0].set_xticks(range(len(shown)), shown, rotation=30, ha="right")
    axes[0].legend()
    loads = [key for key in results if key.endswith("load")]
    axes[1].barh([key.removesuffix("; load") for key in loads], [results[key] for key in loads])
    axes[1].set(xlabel="s", title="loading or staging the whole cache")
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("plot.png"), dpi=100)


if __name__ == "__main__":
    main()
