"""Speed and memory of one option on the CPU, in a process of its own: prints JSON.

    python -m experiments.detectors.measure eegnet [--minutes 60] [--threads 2]

An hour of noise goes the way of every recording: windows side by side, frontend, network, blending.
Weights are random: they decide neither time nor memory.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from bgb.config.data import windows_in
from bgb.config.evaluation import EvaluationConfig
from bgb.data.tiles import TiledRecording
from bgb.data.windows import WindowBatch
from bgb.detectors import Detector
from bgb.evaluation.causal import Watched
from bgb.evaluation.stitching import DetectorFacts, stitch_recording
from bgb.training.build import predict
from experiments.detectors.options import SIGNAL, build

BATCH_S = 240  # of EEG that the detector takes at once, or one window


def main() -> None:
    words = _arguments()
    torch.set_num_threads(words.threads)
    detector = build(words.option)
    timed = _Timed(detector)
    facts: DetectorFacts = detector
    if detector.is_causal:
        facts = Watched(detector, before=timed.begin, after=partial(timed.end, 1))
    with torch.inference_mode():
        stitch_recording(timed, facts, _noise(60 * words.minutes), _options(detector))
    print(json.dumps({"eeg_s_per_s": timed.eeg_s_per_s(), "peak_mib": _peak_mib()}))


def measure(name: str, *, minutes: float, threads: int) -> dict[str, float]:
    """Return the figures of an option, taken by a child process."""
    words = [name, "--minutes", str(minutes), "--threads", str(threads)]
    command = [sys.executable, "-m", "experiments.detectors.measure", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


class _Timed:
    """Predict, and keep the seconds that each full batch takes."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self._predict = partial(predict, detector)
        self._taken: list[tuple[int, float]] = []

    def __call__(self, batch: WindowBatch) -> Tensor:
        self.begin()
        logits_BK = self._predict(batch)
        self.end(len(batch.start_B))
        return logits_BK

    def begin(self) -> None:
        self._began = time.perf_counter()

    def end(self, num_windows: int) -> None:
        self._taken.append((num_windows, time.perf_counter() - self._began))

    def eeg_s_per_s(self) -> float:
        """Return judged seconds in a second: the median over full batches after the first."""
        judged_s = self.detector.window_s - sum(self.detector.context_s)
        size = self._taken[0][0]
        warm = [item for item in self._taken[1:] if item[0] == size] or self._taken
        return median(size * judged_s / seconds for size, seconds in warm)


def _options(detector: Detector) -> EvaluationConfig:
    return EvaluationConfig(overlap=0.0, batch_size=windows_in(BATCH_S, detector.window_s))


def _noise(seconds: float) -> TiledRecording:
    generator = np.random.default_rng(0)
    shape = (round(seconds), SIGNAL.num_channels, SIGNAL.rate_hz)
    return TiledRecording(
        "noise",
        tiles_SCR=generator.integers(-600, 600, shape, np.int16),
        spec=SIGNAL,
        present_C=np.ones(SIGNAL.num_channels, bool),
        duration_s=float(shape[0]),
        events=(),
    )


def _peak_mib() -> float:
    """Return the most memory that this process ever held, Python and torch included.

    Linux counts into `ru_maxrss` what the parent held when it started this process.
    """
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    status = Path("/proc/self/status").read_text()
    (peak_kib,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(peak_kib) / 2**10


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("option", help="an option of conf/model")
    parser.add_argument("--minutes", type=float, default=60.0, help="EEG to score")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
