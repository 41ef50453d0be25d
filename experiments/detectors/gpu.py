"""How fast each detector trains on a GPU, and what TUSZ would cost: writes gpu.json.

    python -m experiments.detectors.gpu [--options seizure_transformer ...]
    python -m experiments.detectors.gpu --device cpu --tiny --options eegnet --output gpu_tried.json

A corpus of int16 noise, the size of TUSZ, lies on the device; a step gathers its batch there, then
forward, backward and AdamW in bf16, compiled. The faster of two batch sizes that fit counts.
`--tiny` tries the program where there is no GPU: its figures say nothing, and nothing is compiled.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from bgb.config.compose import compose
from bgb.config.data import windows_in
from bgb.data.device import DeviceSplit
from bgb.data.windows import WindowBatch
from bgb.detectors import Detector
from bgb.errors import BgbError
from bgb.files import read_json, write_json
from bgb.infra.prices import TABLE, usd_per_hour
from bgb.training.estimate import PASSES_OF_TRAINING
from bgb.training.flops import forward_flops, peak_flops
from bgb.training.losses import StepLoss
from bgb.training.module import parameter_groups
from bgb.training.provenance import device_name
from experiments.detectors.options import SIGNAL, build, names

RECORDING_S = 1200
TUSZ_EEG_S = 100 * 61_616 * 60  # 100 epochs
A100 = "NVIDIA A100 80GB"
_PRECISION = "bf16-mixed"


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    batches_s : EEG in a batch, tried in this order until two sizes fit.
    warm_up, rounds, steps : steps before; rounds, of which the median counts; steps of a round.
    """

    gigabytes: float
    batches_s: tuple[int, ...]
    warm_up: int
    rounds: int
    steps: int
    compiled: bool


WHOLE = Sizes(32.0, (15_360, 3840, 960), warm_up=5, rounds=7, steps=5, compiled=True)
TINY = Sizes(0.02, (1,), warm_up=1, rounds=1, steps=1, compiled=False)


def main() -> None:
    words = _arguments()
    device, sizes = torch.device(words.device), TINY if words.tiny else WHOLE
    split = noise_split(device, sizes.gigabytes)
    before = read_json(words.output) if words.output.exists() else {}
    record = {**_circumstances(device), "options": before.get("options", {})}
    for name in words.options or names():
        try:
            record["options"][name] = measure(name, split, sizes)
        except BgbError as error:  # an option whose library is missing here
            print(f"{name}: left out, {error}")
            continue
        print(f"{name}: {record['options'][name]}", flush=True)
        write_json(words.output, record)


def measure(name: str, split: DeviceSplit, sizes: Sizes) -> dict[str, Any]:  # Any: JSON
    """Return the figures of an option at the batch size that trains fastest and fits."""
    detector = build(name).to(split.device)
    # What a detector computes again to save memory is no use of the device: MFU leaves it out.
    flops, found = PASSES_OF_TRAINING * forward_flops(detector), dict[int, float]()
    for batch_s in sizes.batches_s:
        size = windows_in(batch_s, detector.window_s)
        try:
            found[size] = size / _seconds(_training(detector, split, size, sizes), sizes)
        except torch.cuda.OutOfMemoryError:
            print(f"{name}: {size} windows do not fit")
            torch.cuda.empty_cache()
        if len(found) == 2:
            break
    size = max(found, key=lambda each: found[each])
    judged_s = detector.window_s - sum(detector.context_s)
    scored = size / _seconds(_scoring(detector, split, size, sizes), sizes)
    return {
        "batch": size,
        "windows_per_s": found[size],
        "flop_per_s": flops * found[size],
        "eeg_s_per_s": scored * judged_s,
        **_cost(found[size], flops, detector.window_s, device_name(split.device)),
    }


def arithmetic(gflop_per_minute: float, mfu: float) -> tuple[float, float]:
    """Return hours and dollars of 100 epochs of TUSZ on an A100 that computes at this MFU."""
    peak = peak_flops(A100, _PRECISION)
    assert peak is not None
    flops = PASSES_OF_TRAINING * gflop_per_minute * 1e9 * TUSZ_EEG_S / 60
    hours = flops / (mfu * peak) / 3600
    return hours, hours * a100_usd_per_hour()


def _cost(windows_per_s: float, flops: int, window_s: int, name: str) -> dict[str, float | None]:
    """Return MFU, the hours of TUSZ here and on an A100 of the same MFU, and its dollars."""
    hours = windows_in(TUSZ_EEG_S, window_s) / windows_per_s / 3600
    here, there = peak_flops(name, _PRECISION), peak_flops(A100, _PRECISION)
    a100_hours = hours * here / there if here and there else None
    return {
        "mfu": flops * windows_per_s / here if here else None,
        "tusz_hours": hours,
        "a100_hours": a100_hours,
        "a100_usd": None if a100_hours is None else a100_hours * a100_usd_per_hour(),
    }


def noise_split(device: torch.device, gigabytes: float) -> DeviceSplit:
    """Fill the device with recordings of 20 minutes, one seizure each."""
    shape = (SIGNAL.num_channels, SIGNAL.rate_hz)
    count = max(1, int(gigabytes * 1e9 / (2 * RECORDING_S * shape[0] * shape[1])))
    tiles = torch.empty((count * RECORDING_S + 1, *shape), dtype=torch.int16, device=device)
    for piece in tiles.split(10 * RECORDING_S):
        piece.random_(-500, 500)
    tiles[-1] = 0
    return DeviceSplit(
        tiles_NCR=tiles,
        first_P=torch.arange(count, device=device) * RECORDING_S,
        seconds_P=torch.full((count,), RECORDING_S, device=device),
        present_PC=torch.ones((count, shape[0]), dtype=torch.bool, device=device),
        durations_P=np.full(count, float(RECORDING_S)),
        seizures_P=(np.array([[400.0, 440.0]]),) * count,
    )


def _drawn(split: DeviceSplit, detector: Detector, size: int) -> Callable[[], WindowBatch]:
    """Return what gathers a fresh batch, as the loader of a training does."""
    generator = np.random.default_rng(0)
    before_s, judged_s = detector.context_s[0], detector.window_s - sum(detector.context_s)

    def draw() -> WindowBatch:
        return split.batch(
            generator.integers(0, len(split.first_P), size).tolist(),
            generator.integers(0, RECORDING_S - judged_s, size).tolist(),
            judged_s=judged_s,
            num_steps=round(judged_s * detector.out_rate_hz),
            first_sample=0,
            read_s=detector.window_s,
            before_s=before_s,
        )

    return draw


def _training(
    detector: Detector, split: DeviceSplit, size: int, sizes: Sizes
) -> Callable[[], object]:
    """Return one optimiser step."""
    detector.train()
    draw, forward = _drawn(split, detector, size), _forward(detector, sizes)
    on_gpu = split.device.type == "cuda"
    groups = parameter_groups(detector, 0.01)
    optimizer = torch.optim.AdamW(groups, 1e-4, fused=True if on_gpu else None)

    def step() -> None:
        batch = draw()
        with torch.autocast(split.device.type, torch.bfloat16):
            logits_BK = forward(batch.tiles_BSCR, batch.present_BC)
        loss = StepLoss().sum(logits_BK.float(), batch.labels_BK, batch.valid_BK)
        (loss / batch.valid_BK.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _scoring(
    detector: Detector, split: DeviceSplit, size: int, sizes: Sizes
) -> Callable[[], object]:
    """Return the judging of one batch."""
    detector.eval()
    draw, forward = _drawn(split, detector, size), _forward(detector, sizes)

    def score() -> None:
        batch = draw()
        with torch.inference_mode(), torch.autocast(split.device.type, torch.bfloat16):
            forward(batch.tiles_BSCR, batch.present_BC)

    return score


def _forward(detector: Detector, sizes: Sizes) -> Callable[..., torch.Tensor]:
    if not sizes.compiled:
        return detector.forward
    torch.compiler.reset()  # of another size or option
    return torch.compile(detector.forward, dynamic=False, fullgraph=detector.is_one_graph)


def _seconds(work: Callable[[], object], sizes: Sizes) -> float:
    """Return the seconds of one call: the median over rounds, after the warm-up."""

    def timed(count: int) -> float:
        _wait()
        began = time.perf_counter()
        for _ in range(count):
            work()
        _wait()
        return (time.perf_counter() - began) / count

    timed(sizes.warm_up)
    return median(timed(sizes.steps) for _ in range(sizes.rounds))


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _circumstances(device: torch.device) -> dict[str, Any]:  # Any: JSON
    name = device_name(device)
    here, there = peak_flops(name, _PRECISION), peak_flops(A100, _PRECISION)
    return {
        "device": name,
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "peak_ratio": here / there if here and there else None,
        "usd_per_hour": a100_usd_per_hour(),
        "prices": TABLE.source,
    }


def a100_usd_per_hour() -> float:
    """Return the price of the machine that conf/infra/modal_a100.yaml rents."""
    words = ["+infra=modal_a100", "model=eegnet"]
    return usd_per_hour(compose("train", words).infra, TABLE)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda, or cpu with --tiny")
    parser.add_argument("--tiny", action="store_true", help="as little as runs, to try it")
    parser.add_argument("--options", nargs="+", help="options of conf/model; none = all")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("gpu.json"))
    words = parser.parse_args()
    if words.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here: these figures are owed (--device cpu --tiny tries it)")
    if words.device != "cuda" and not words.tiny:
        parser.error("figures of another device than a GPU say nothing: add --tiny to try it")
    return words


if __name__ == "__main__":
    main()
