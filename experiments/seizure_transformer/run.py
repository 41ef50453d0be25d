"""Seconds that SeizureTransformer takes for an hour of EEG on the CPU: ours and the published code.

    python experiments/seizure_transformer/run.py [--published FOLDER] [--rounds 3]

FOLDER is a checkout of keruiwu/SeizureTransformer; without it only ours is measured. The hour is
noise and the weights are random: neither changes the time. All variants alternate; medians.
Writes results.json.
"""

# Shapes: B batch, C channels, T samples, S seconds, R samples a second

import argparse
import importlib
import importlib.util
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from bgb.config.data import PreprocessConfig
from bgb.config.evaluation import EvaluationConfig, PostprocessConfig
from bgb.config.model import FrontendConfig, SeizureTransformerConfig
from bgb.data.tiles import TiledRecording, tile_recording
from bgb.detectors import Detector, build_detector
from bgb.detectors.seizure_transformer import SeizureTransformer
from bgb.eeg.montage import ELECTRODES
from bgb.eeg.recording import Recording
from bgb.evaluation.postprocess import to_events
from bgb.evaluation.stitching import stitch_recording
from bgb.training.build import predict

HERE = Path(__file__).parent
RATE_HZ, WINDOW_S, THRESHOLD = 256, 60, 0.8
PARTS = ("equal", "network", "recording")
Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--published", type=Path, help="checkout of keruiwu/SeizureTransformer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=int, default=60, help="of EEG")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    torch.manual_seed(0)
    published = Published(words.published) if words.published else None
    path = HERE / "results.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if published and "equal" in words.parts:
        results["largest difference of a probability"] = largest_difference(published.network)
    for part, runs_of in (("network", network_runs), ("recording", recording_runs)):
        if part in words.parts:
            runs = alternate(runs_of(published, words.minutes), words.rounds)
            results[part] = facts() | {"minutes": words.minutes, "runs": runs}
            Console().print(table(part, words.minutes, runs))
        path.write_text(json.dumps(results, indent=1) + "\n")


class Published:
    """The published network, with random weights, and its own way through a recording."""

    def __init__(self, folder: Path) -> None:
        warnings.filterwarnings("ignore", message="enable_nested_tensor")
        architecture = _module(folder / "time_step_level" / "model.py")
        # Its script imports the network from a module that is not in the repository.
        sys.modules["wu_2025.architecture"] = architecture
        sys.path.append(str(folder / "wu_2025" / "src"))
        self.script = importlib.import_module("wu_2025.utils")
        self.network: nn.Module = architecture.SeizureTransformer().eval()

    def detect(self, signal_CT: NDArray[np.float32]) -> object:
        """Do what its `main` does between reading the EDF file and writing the events."""
        loader = self.script.get_dataloader(signal_CT, RATE_HZ, batch_size=512)
        return self.script.predict(self.network, loader, "cpu", signal_CT.shape[1])


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("published_architecture", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def largest_difference(published: nn.Module) -> float:
    """Give ours the published weights and return by how much a probability then differs."""
    network = SeizureTransformer(19, rate_hz=RATE_HZ, window_s=WINDOW_S, out_rate_hz=RATE_HZ)
    dead = ("transformer_encoder_layer.", "position_encoding.pe")
    weights = [value for name, value in published.state_dict().items() if not name.startswith(dead)]
    network.load_state_dict(dict(zip(network.state_dict(), weights, strict=True)))
    signal_BCT = torch.randn(2, 19, WINDOW_S * RATE_HZ)
    with torch.inference_mode():
        difference = network.eval()(signal_BCT).sigmoid() - published(signal_BCT)
    return float(difference.abs().max())


def network_runs(published: Published | None, minutes: int) -> dict[str, Run]:
    """Return the networks alone."""
    ours = our_detector().network
    signal_BCT = torch.randn(minutes, 19, WINDOW_S * RATE_HZ)
    runs: dict[str, Run] = {
        "ours, batch 4": partial(_in_batches, ours, signal_BCT, 4),
        "ours, batch 16": partial(_in_batches, ours, signal_BCT, 16),
        "ours, batch 4, bfloat16 autocast": partial(_in_bfloat16, ours, signal_BCT, 4),
    }
    if published:
        for name, batch in (("published, batch 4", 4), ("published, all at once", minutes)):
            runs[name] = partial(_in_batches, published.network, signal_BCT, batch)
    return runs


@torch.inference_mode()
def _in_batches(network: nn.Module, signal_BCT: Tensor, batch: int) -> None:
    for part_BCT in signal_BCT.split(batch):
        network(part_BCT)


def _in_bfloat16(network: nn.Module, signal_BCT: Tensor, batch: int) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        _in_batches(network, signal_BCT, batch)


def recording_runs(published: Published | None, minutes: int) -> dict[str, Run]:
    """Return the ways from a recording to its events."""
    shape = (19, minutes * 60 * RATE_HZ)
    signal_CT = 30 * np.random.default_rng(0).standard_normal(shape, np.float32)
    recording = Recording(signal_CT, RATE_HZ, ELECTRODES, (), 60.0 * minutes)
    tiles, detector = tiled(recording), our_detector()
    runs: dict[str, Run] = {"ours, preprocessing alone": partial(tiled, recording)}
    for overlap, batch in ((0.0, 4), (0.0, 16), (0.5, 16)):  # the last is the default
        options = EvaluationConfig(overlap=overlap, batch_size=batch)
        name = f"ours, evaluation.overlap={overlap:g}, batch_size={batch}"
        runs[name] = partial(our_events, detector, tiles, options)
    if published:
        runs["published, preprocessing alone"] = partial(_windows, published, signal_CT)
        runs["published"] = partial(published.detect, signal_CT)
    return runs


def tiled(recording: Recording) -> TiledRecording:
    """Filter and quantise the recording, as for the cache."""
    return tile_recording(recording, PreprocessConfig(), max_missing=0)


def _windows(published: Published, signal_CT: NDArray[np.float32]) -> None:
    for _ in published.script.get_dataloader(signal_CT, RATE_HZ, batch_size=512):
        pass


def our_detector() -> Detector:
    """Build the published size at 19 channels, with the defaults of the configuration."""
    signal = tiled(Recording(np.zeros((19, 2560), np.float32), RATE_HZ, ELECTRODES, (), 10)).spec
    frontend = FrontendConfig(montage="average")
    config = SeizureTransformerConfig()
    return build_detector(config, frontend, signal, window_s=WINDOW_S).eval()


def our_events(detector: Detector, tiles: TiledRecording, options: EvaluationConfig) -> object:
    """Go from tiles to events, as `bgb.detect` does."""
    series = stitch_recording(partial(predict, detector), detector, tiles, options)
    return to_events(
        series.probability_K, series.rate_hz, series.duration_s, PostprocessConfig(), THRESHOLD
    )


def alternate(runs: Mapping[str, Run], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Time every run once a round, in turn, forwards and backwards."""
    times: dict[str, dict[str, list[float]]] = {name: {"s": [], "cpu_s": []} for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            wall, cpu = time.perf_counter(), time.process_time()
            runs[name]()
            times[name]["s"].append(round(time.perf_counter() - wall, 3))
            times[name]["cpu_s"].append(round(time.process_time() - cpu, 3))
    return times


def table(part: str, minutes: int, runs: Mapping[str, Mapping[str, Sequence[float]]]) -> Table:
    """Return the medians, for an hour of EEG."""
    made = Table(part, "s / h", "CPU s / h", title=f"an hour of EEG, measured on {minutes} min")
    for name, times in runs.items():
        made.add_row(name, *(f"{median(times[key]) * 60 / minutes:.2f}" for key in ("s", "cpu_s")))
    return made


def facts() -> dict[str, Any]:
    """Return what was measured where."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    (cpu, *_) = (line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    words = ["<checkout>" if Path(word).is_dir() else word for word in sys.argv[1:]]
    return {
        "command": " ".join(["python", "experiments/seizure_transformer/run.py", *words]),
        "date": date.today().isoformat(),
        "machine": f"{cpu}, {os.cpu_count()} cores, shared, Linux {platform.release()}",
        "load_before": round(os.getloadavg()[0], 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
