"""What building costs in memory, and what many builders and kills do to a cache."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from pipelines import ours
from recordings import write_recording

from bgb.data.npz import open_signal
from bgb.eeg.channels import assign_channels
from bgb.eeg.edf import read_edf

_ONE = """
import re, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import scipy.fft, edfio
from pipelines import ours
def largest_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before = largest_mb()
ours(Path({edf!r}), Path({folder!r}))
print(before, largest_mb())
"""
_BUILD = """
import sys
from pathlib import Path
from bgb.config.data import DataConfig, TuszCorpus
from bgb.corpora import find_corpus
from bgb.data.build import build_cache
if __name__ == "__main__":
    config = DataConfig(
        corpus=TuszCorpus(), root={root!r}, cache_root={cache!r}, workers={workers}
    )
    print(len(build_cache(config, find_corpus(config), progress=False).built))
"""


def memory(work: Path, hours: list[int]) -> list[dict[str, float]]:
    """Return the largest resident memory of a process that builds one recording, by length."""
    rows = []
    for length in hours:
        edf = write_recording(work / f"{length}h.edf", seconds=3600 * length, rate_hz=250)
        code = _ONE.format(here=str(Path(__file__).parent), edf=str(edf), folder=str(work / "one"))
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        imports, peak = map(float, done.stdout.split())
        seconds = time.perf_counter() - started
        mb = edf.stat().st_size / 1e6
        rows.append(
            {"hours": length, "edf_mb": mb, "imports_mb": imports, "peak_mb": peak, "s": seconds}
        )
        edf.unlink()
        (work / "one" / "train" / f"{length}h.npz").unlink()
    return rows


def streamed_and_whole(work: Path) -> dict[str, float]:
    """Compare an hour in the cache, built in blocks, with float64 and one FFT over all of it."""
    from pipelines import CONFIG

    from bgb.eeg.filters import preprocess_reference

    edf = write_recording(work / "whole.edf", seconds=3600, rate_hz=250)
    ours(edf, work / "whole")
    path = work / "whole" / "train" / "whole.npz"
    handle = open_signal(path, path.stat().st_mtime_ns)
    tiles = np.empty(handle.shape, np.int16)
    handle.read_into(tiles, 0)
    recording = read_edf(edf)
    rows = [source[0] for source in assign_channels(recording.channels).sources if source]
    quanta = np.concatenate(
        [preprocess_reference(recording.signals_CT[[row]], 250, CONFIG) * 10 for row in rows]
    )
    apart = np.abs(tiles.transpose(1, 0, 2).reshape(19, -1) - np.rint(quanta))
    return {"largest, quanta": float(apart.max()), "share": float((apart > 0).mean())}


def many_builders(work: Path, num_builders: int) -> dict[str, Any]:
    """Let processes build one cache together; every recording must be built exactly once."""
    root = _corpus(work / "many", 32)
    _build(root, work / "alone").communicate()
    builders = [_build(root, work / "together") for _ in range(num_builders)]
    built = [int(builder.communicate()[0]) for builder in builders]
    same = _digests_below(work / "together") == _digests_below(work / "alone")
    return {"builders": num_builders, "recordings": 32, "built": built, "same bytes": same}


def kills(work: Path, num_kills: int) -> dict[str, Any]:
    """Kill a build again and again at random moments; what is done stays, nothing is torn."""
    root, cache = work / "many", work / "killed"
    generator, finished = np.random.default_rng(0), []
    for _ in range(num_kills):
        before = set(cache.rglob("*.npz*"))
        builder = _build(root, cache)
        wanted = int(generator.integers(1, 4))  # new files, half-written ones counted too
        while len(set(cache.rglob("*.npz*")) - before) < wanted and builder.poll() is None:
            time.sleep(0.001)
        time.sleep(float(generator.uniform(0, 0.03)))
        os.kill(builder.pid, signal.SIGKILL)
        builder.communicate()
        finished.append(len(list(cache.rglob("*.npz"))))
    last = int(_build(root, cache).communicate()[0])
    return {
        "kills": num_kills,
        "recordings there after each": finished,
        "built by the last": last,
        "same bytes": _digests_below(cache) == _digests_below(work / "alone"),
        "leftovers": len(list(cache.rglob("*.partial"))),
    }


def _corpus(root: Path, number: int) -> Path:
    for index in range(number):
        split = "train" if index % 4 else ("dev" if index % 8 else "eval")
        patient = f"aaaa{split[0]}{chr(97 + index // 26)}{chr(97 + index % 26)}a"
        path = root / split / f"{patient}_s001_t000.edf"
        write_recording(path, seconds=120, rate_hz=250, seed=index)
    return root


def _build(root: Path, cache: Path) -> "subprocess.Popen[str]":
    code = _BUILD.format(root=str(root), cache=str(cache), workers=1)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def _digests_below(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.npz"))
    }
