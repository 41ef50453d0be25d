"""What a corpus of 100,000 recordings costs: manifest, opening, sampling, verification, import.

    python experiments/scale/run.py

Simulated recordings (corpus.py) are added step by step; at each size a fresh process builds the
manifest, opens the cache, indexes and draws windows, reads the first batch and verifies all files.
A second part verifies real bytes from the disk beside a plain O_DIRECT read of the same files; a
third imports caches such as the predecessor wrote. The table is printed as Markdown.
"""

import argparse
import gc
import json
import mmap
import multiprocessing
import os
import platform
import time
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from corpus import config_for, grow
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from bgb.config.data import DataConfig
from bgb.data import open_cache
from bgb.data.check import check_cache
from bgb.data.importing import import_cache
from bgb.data.loader import WindowLoader
from bgb.data.manifest import refresh_manifest, write_manifest
from bgb.data.materialise import events_member
from bgb.data.npz import meta_member, read_meta, write_npz
from bgb.data.sampling import draw_epoch, index_windows
from bgb.data.verify import verify_cache

SIZES = (1000, 3000, 7364, 30_000, 100_000)  # 7,364: TUSZ
STEPS = ("manifest", "open", "check", "index", "epoch", "first_batch", "verify")
REPEATS = 3
_PIECE = 8 << 20


def main() -> None:
    """Measure, print and write results.json and scale.svg."""
    arguments = _arguments()
    with TemporaryDirectory(dir=arguments.work) as work:
        root = Path(work)
        results = {
            **_machine(),
            "sizes": _sizes(root / "simulated", [n for n in SIZES if n <= arguments.largest]),
            "disk": _disk(root / "real", arguments.disk_files),
            "import": _import(root, arguments.import_files),
        }
    results["slopes"] = {step: _slope(results["sizes"], step) for step in STEPS}
    here = Path(__file__).parent
    (here / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    _plot(results["sizes"], here / "scale.svg")
    Console(width=160).print(_table(results), _facts(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="folder for about 10 GB of temporary files")
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="recordings to go up to")
    parser.add_argument("--disk-files", type=int, default=400, help="real files of 5.8 MB")
    parser.add_argument("--import-files", type=int, default=6, help="old files of 60 MB")
    return parser.parse_args()


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return {
        "date": date.today().isoformat(),
        "machine": {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform()},
        "load": os.getloadavg(),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
    }


def _sizes(root: Path, sizes: list[int]) -> list[dict[str, float]]:
    config, rows, before = config_for(root), [], 0
    for size in sizes:
        folder = grow(config, before, size)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:  # memory is that of this size
            rows.append({"recordings": size, **pool.submit(_measure, config, folder).result()})
        before = size
        print(rows[-1], flush=True)
    return rows


def _measure(config: DataConfig, folder: Path) -> dict[str, float]:
    """Return seconds of each step (medians of the short ones), wall and CPU, and bytes."""
    row: dict[str, float] = {}

    def step(name: str, work: Callable[[], Any], repeats: int = 1) -> Any:  # Any: its result
        timed = [_timed(work) for _ in range(repeats)]
        row[name] = median(seconds for seconds, _, _ in timed)
        row[f"cpu_{name}"] = median(cpu for _, cpu, _ in timed)
        return timed[-1][-1]

    step("manifest", lambda: write_manifest(folder, refresh_manifest(folder, force=True)))
    row["manifest_bytes"] = (folder / "manifest.json").stat().st_size
    gc.collect()
    before = _resident()
    cache = step("open", lambda: open_cache(folder))
    gc.collect()
    row["cache_bytes"] = _resident() - before
    step("check", lambda: check_cache(cache), REPEATS)
    train = cache.split("train")
    index = step("index", lambda: index_windows(train, judged_s=config.window_s), REPEATS)
    step("epoch", lambda: draw_epoch(index, config.sampling, seed=0, epoch=0), REPEATS)
    row["index_bytes"] = _allocated(lambda: index_windows(train, judged_s=config.window_s))
    step("first_batch", lambda: _first_batch(config, train))
    files = step("verify", lambda: verify_cache(folder))
    assert not [file.problem for file in files if file.problem]
    row["verify_bytes"] = sum(file.num_bytes for file in files)
    return row


def _first_batch(config: DataConfig, train: Any) -> Any:  # Any: recordings; a batch
    """From an opened cache: index, draw, read."""
    loader = WindowLoader(
        train,
        config.sampling,
        window_s=config.window_s,
        batch_size=config.batch_size,
        label_rate_hz=1.0,
        seed=0,
        residency="disk",
    )
    return next(iter(loader))


def _timed(work: Callable[[], Any]) -> tuple[float, float, Any]:  # Any: whatever it returns
    started, cpu_started = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - started, time.process_time() - cpu_started, result


def _allocated(work: Callable[[], Any]) -> int:  # Any: as above
    tracemalloc.start()
    result = work()
    num_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del result
    return num_bytes


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def _slope(rows: list[dict[str, float]], step: str) -> dict[str, float | None]:
    """Fit CPU seconds = factor * recordings ** exponent over the sizes from 3,000 on, if two are.

    CPU and not wall: neighbours on a shared machine stretch the latter.
    """
    large = [row for row in rows if row["recordings"] >= 3000]
    rows = large if len(large) > 1 else rows
    size, seconds = (np.log([row[name] for row in rows]) for name in ("recordings", f"cpu_{step}"))
    exponent = float(np.polyfit(size, seconds, 1)[0]) if len(rows) > 1 else None
    return {
        "exponent": exponent,
        "us_a_recording": 1e6 * rows[-1][f"cpu_{step}"] / rows[-1]["recordings"],
    }


def _disk(root: Path, num_files: int) -> dict[str, float]:
    """Verify real bytes that are not in memory, and read the same files with O_DIRECT."""
    config = config_for(root)
    folder = grow(config, 0, num_files)
    generator = np.random.default_rng(0)
    for path in folder.glob("*/*.npz"):
        _fill(path, generator)
    write_manifest(folder, refresh_manifest(folder, force=True))
    os.sync()
    paths = sorted(folder.glob("*/*.npz"))
    rates: dict[str, list[float]] = {"direct": [], "verify_cold": [], "verify_warm": []}
    num_bytes = sum(path.stat().st_size for path in paths)
    for _ in range(REPEATS):
        _forget(paths)
        rates["direct"].append(num_bytes / _timed(lambda: _read_direct(paths))[0])
        _forget(paths)
        for name in ("verify_cold", "verify_warm"):
            seconds, _, files = _timed(lambda: verify_cache(folder))
            assert not any(file.problem for file in files)
            rates[name].append(num_bytes / seconds)
    medians = {f"{name}_bytes_per_s": median(values) for name, values in rates.items()}
    ratio = median(a / b for a, b in zip(rates["verify_cold"], rates["direct"]))
    return {"files": num_files, "bytes": num_bytes, **medians, "cold_over_direct": ratio}


def _fill(path: Path, generator: np.random.Generator) -> None:
    """Give a simulated recording ten minutes of real bytes."""
    meta = read_meta(path)
    signal_SCR = generator.integers(-1000, 1000, (600, 19, 256), np.int16)
    meta |= {"num_seconds": 600, "duration_s": 600.0, "events": []}
    meta["signal_crc32"] = zlib.crc32(signal_SCR.data)
    members = {"signal": signal_SCR, "events": events_member(()), "meta": meta_member(meta)}
    write_npz(path, members)


def _forget(paths: list[Path]) -> None:
    """Let the system drop these files from memory."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _read_direct(paths: list[Path]) -> None:
    buffer = mmap.mmap(-1, _PIECE)
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
        position = 0
        while count := os.preadv(descriptor, [buffer], position):
            position += count
            if count % 4096:
                break
        os.close(descriptor)


def _import(root: Path, num_files: int) -> dict[str, float]:
    """Write old caches of ten minutes a recording, compressed as the predecessor did; import."""
    generator = np.random.default_rng(0)
    for number in range(num_files):
        split = ("train", "dev", "eval")[number % 3]
        path = root / "old" / split / f"aaaaaa{chr(97 + number)}a_s000_t000_windows.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        signal_CT = generator.standard_normal((19, 600 * 256)).astype(np.float32)
        label_T = np.zeros(600 * 256, np.float32)
        label_T[30_000:60_000] = 1
        cuts = [slice(start, start + 15360) for start in range(0, 540 * 256 + 1, 2560)]
        windows, labels = (
            np.stack([array[..., cut] for cut in cuts]) for array in (signal_CT, label_T)
        )
        np.savez_compressed(path, windows=windows, labels=labels)
    seconds, _, report = _timed(lambda: import_cache(config_for(root / "new"), str(root / "old")))
    return {
        "files": num_files,
        "seconds": seconds,
        "old_bytes": sum(row.old_bytes for row in report.splits),
        "new_bytes": sum(row.new_bytes for row in report.splits),
    }


def _table(results: dict[str, Any]) -> Table:  # Any: JSON
    """Return the table as a README takes it."""
    rows = results["sizes"]
    sizes = (f"{row['recordings']:,}" for row in rows)
    table = Table("wall seconds", *sizes, "CPU us a recording", "grows as n to the", box=MARKDOWN)
    for step in STEPS:
        slope = results["slopes"][step]
        times = (f"{row[step]:.3f}" for row in rows)
        exponent = "" if slope["exponent"] is None else f"{slope['exponent']:.2f}"
        table.add_row(step, *times, f"{slope['us_a_recording']:.1f}", exponent)
    for name in ("manifest_bytes", "cache_bytes", "index_bytes"):
        amounts = (f"{row[name] / 1e6:.1f} MB" for row in rows)
        table.add_row(name, *amounts, f"{rows[-1][name] / rows[-1]['recordings']:.0f} B", "")
    return table


def _facts(results: dict[str, Any]) -> str:  # Any: JSON
    disk, old = results["disk"], results["import"]
    cold, warm, direct = (
        disk[f"{name}_bytes_per_s"] / 1e9 for name in ("verify_cold", "verify_warm", "direct")
    )
    rate = old["old_bytes"] / old["seconds"]
    return (
        f"verification of {disk['bytes'] / 1e9:.1f} GB: cold {cold:.2f} GB/s, "
        f"{disk['cold_over_direct']:.2f} of an O_DIRECT read ({direct:.2f} GB/s); warm "
        f"{warm:.2f} GB/s\nimport: {old['old_bytes'] / 1e6:.0f} MB in {old['seconds']:.1f} s "
        f"({rate / 1e6:.0f} MB/s; 310 GB: {310e9 / rate / 3600:.1f} h), "
        f"{old['old_bytes'] / old['new_bytes']:.1f} times smaller"
    )


def _plot(rows: list[dict[str, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4.2), layout="constrained")
    size = [row["recordings"] for row in rows]
    for step in STEPS:
        axes.loglog(
            size, [row[f"cpu_{step}"] for row in rows], marker="o", label=step.replace("_", " ")
        )
    steepest = np.array(size) * rows[-1]["cpu_verify"] / size[-1] * 2
    axes.loglog(size, steepest, color="grey", linestyle=":", label="linear")
    axes.set(xlabel="recordings", ylabel="CPU seconds", title="Cost by the size of the corpus")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
