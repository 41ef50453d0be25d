"""What data cost a GPU: gathered from a corpus that lies there, or copied from the host.

    python experiments/device/run.py [--gigabytes 32] [--batch 64]

Needs CUDA. The corpus is noise, written straight to the device; batches come from `DeviceSplit`, as
in training. The share of a step is that of a real detector with AdamW in bf16: the time of steps on
fresh batches beside that of steps on one batch again and again. Alternated; medians.
Writes results.json and plot.png.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from bgb.config.model import EegNetConfig, EventNetUnetConfig, FrontendConfig, ModelConfig
from bgb.data.device import DeviceSplit
from bgb.data.windows import WindowBatch
from bgb.detectors import build_detector
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.signal import SignalSpec
from bgb.training.losses import StepLoss

CUDA = torch.device("cuda", 0)
SPEC = SignalSpec("electrodes", tuple(ELECTRODES), 256)
WINDOW_S, SECONDS, ROUNDS = 60, 1200, 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=32.0)
    parser.add_argument("--batch", type=int, default=64)
    words = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA device here: these figures are owed")
    split = noise_split(words.gigabytes * 1e9)
    check(split)
    results = gather(split, words.batch) | copies(words.batch) | shares(split, words.batch)
    write(results, split, words)


def noise_split(num_bytes: float) -> DeviceSplit:
    """Fill the device with recordings of 20 minutes, one seizure each."""
    shape = (SPEC.num_channels, SPEC.rate_hz)
    num_recordings = int(num_bytes / (2 * SECONDS * shape[0] * shape[1]))
    tiles = torch.empty((num_recordings * SECONDS + 1, *shape), dtype=torch.int16, device=CUDA)
    for piece in tiles.split(10 * SECONDS):
        piece.random_(-500, 500)
    tiles[-1] = 0
    return DeviceSplit(
        tiles_NCR=tiles,
        first_P=torch.arange(num_recordings, device=CUDA) * SECONDS,
        seconds_P=torch.full((num_recordings,), SECONDS, device=CUDA),
        present_PC=torch.ones((num_recordings, shape[0]), dtype=torch.bool, device=CUDA),
        durations_P=np.full(num_recordings, float(SECONDS)),
        seizures_P=(np.array([[400.0, 440.0]]),) * num_recordings,
    )


def draw(split: DeviceSplit, size: int, generator: np.random.Generator) -> WindowBatch:
    recordings = generator.integers(0, len(split.first_P), size).tolist()
    starts = generator.integers(0, SECONDS - WINDOW_S, size).tolist()
    return split.batch(
        recordings, starts, judged_s=WINDOW_S, read_s=WINDOW_S, num_steps=WINDOW_S, first_sample=0
    )


def check(split: DeviceSplit) -> None:
    """Windows at the very end of the tensor must be right: its rows are past 2**31 values."""
    last = len(split.first_P) - 1
    batch = split.batch(
        [last], [SECONDS - 60], judged_s=60, read_s=60, num_steps=60, first_sample=0
    )
    first = last * SECONDS + SECONDS - 60
    assert torch.equal(batch.tiles_BSCR[0], split.tiles_NCR[first : first + 60])


def seconds(work: Callable[[], object], repeats: int = 20) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def alternate(variants: dict[str, Callable[[], object]], repeats: int = 20) -> dict[str, float]:
    for work in variants.values():
        seconds(work, 3)
    rounds = [
        {name: seconds(work, repeats) for name, work in variants.items()} for _ in range(ROUNDS)
    ]
    return {name: median(row[name] for row in rounds) for name in variants}


def gather(split: DeviceSplit, size: int) -> dict[str, float]:
    """A whole batch, and the gather alone: int16 as it is, and eight bytes at a time."""
    generator = np.random.default_rng(0)
    num_rows = len(split.tiles_NCR) - WINDOW_S
    start_B = torch.from_numpy(generator.integers(0, num_rows, size)).to(CUDA)
    row_N = (start_B[:, None] + torch.arange(WINDOW_S, device=CUDA)).flatten()
    wide = split.tiles_NCR.view(len(split.tiles_NCR), -1).view(torch.int64)
    return alternate(
        {
            "gather: batch with labels": lambda: draw(split, size, generator),
            "gather: tiles alone, int16": lambda: split.tiles_NCR.index_select(0, row_N),
            "gather: tiles alone, 8 bytes at a time": lambda: wide.index_select(0, row_N),
        }
    )


def copies(size: int) -> dict[str, float]:
    """Host to device, int16 and float32, from pageable and from pinned memory."""
    variants: dict[str, Callable[[], object]] = {}
    for dtype in (torch.int16, torch.float32):
        for pinned in (False, True):
            shape = (size, WINDOW_S, SPEC.num_channels, SPEC.rate_hz)
            host = torch.zeros(shape, dtype=dtype, pin_memory=pinned)
            name = f"copy: {dtype}, {'pinned' if pinned else 'pageable'}".replace("torch.", "")
            variants[name] = lambda host=host: host.to(CUDA, non_blocking=True)
    return alternate(variants)


def shares(split: DeviceSplit, size: int) -> dict[str, float]:
    """Steps on fresh batches (gathered, or copied) and on one batch that is there already."""
    results = {}
    for config in (EventNetUnetConfig(), EegNetConfig()):
        for name, value in alternate(steps(config, split, size), repeats=5).items():
            results[f"step {config.name}: {name}"] = value
    return results


def steps(config: ModelConfig, split: DeviceSplit, size: int) -> dict[str, Callable[[], object]]:
    detector = build_detector(config, FrontendConfig(), SPEC, window_s=WINDOW_S).to(CUDA)
    optimizer = torch.optim.AdamW(detector.parameters())
    labels_BK = torch.zeros((size, round(WINDOW_S * detector.out_rate_hz)), device=CUDA)
    valid_BK = torch.ones_like(labels_BK, dtype=torch.bool)
    generator = np.random.default_rng(0)
    same = draw(split, size, generator)
    pageable = same.tiles_BSCR.cpu()
    pinned = pageable.pin_memory()

    def step(tiles_BSCR: Tensor) -> None:
        with torch.autocast("cuda", torch.bfloat16):
            logits_BK = detector(tiles_BSCR, same.present_BC)
        loss = StepLoss().sum(logits_BK, labels_BK, valid_BK) / valid_BK.sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return {
        "same batch": lambda: step(same.tiles_BSCR),
        "gathered": lambda: step(draw(split, size, generator).tiles_BSCR),
        "copied, pinned": lambda: step(pinned.to(CUDA, non_blocking=True)),
        "copied, pageable": lambda: step(pageable.to(CUDA)),
    }


def write(results: dict[str, float], split: DeviceSplit, words: argparse.Namespace) -> None:
    facts = {
        "device": torch.cuda.get_device_name(0),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "date": date.today().isoformat(),
        "command": f"python experiments/device/run.py --gigabytes {words.gigabytes:g} "
        f"--batch {words.batch}",
        "resident_bytes": split.tiles_NCR.nbytes,
        "batch_windows": words.batch,
    }
    folder = Path(__file__).parent
    (folder / "results.json").write_text(json.dumps({**facts, "seconds": results}, indent=1) + "\n")
    table = Table("what", "ms", "windows/s", "GB/s", "share of the step")
    batch_bytes = 2 * words.batch * WINDOW_S * SPEC.num_channels * SPEC.rate_hz
    for name, value in results.items():
        rate = share = ""
        if name.startswith("step"):
            same = results[name.split(": ")[0] + ": same batch"]
            share = f"{100 * (value - same) / value:.2f} %"
        else:
            rate = f"{(2 if 'float32' in name else 1) * batch_bytes / value / 1e9:.1f}"
        table.add_row(name, f"{1e3 * value:.3f}", f"{words.batch / value:,.0f}", rate, share)
    Console().print(table)
    plot(results, folder / "plot.png")


def plot(results: dict[str, float], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 5))
    axis.barh(list(results), [1e3 * value for value in results.values()])
    axis.set(xscale="log", xlabel="ms a batch")
    axis.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
