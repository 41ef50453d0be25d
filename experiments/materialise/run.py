"""How fast EDF files become cached files, and what preprocessing does to the signal.

    python experiments/materialise/run.py                    # all; about 4 GB of temporary files
    python experiments/materialise/run.py --parts fidelity   # some; the others stay in results.json

Pipelines alternate in one process, one thread; hours a second are of processor time (the machine
may be shared) and of wall time. The process has large pages, as the workers of a build have.
"""

import argparse
import json
import logging
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import fidelity
import robustness
from pipelines import pipelines
from recordings import write_recording
from rich.console import Console
from rich.table import Table

from bgb.data.workers import large_pages

HERE = Path(__file__).parent
PARTS = ("speed", "fidelity", "reference", "memory", "builders")
RATES_HZ = (250, 256, 400, 512)
_MINUTES = 20


def main() -> None:
    arguments = _arguments()
    logging.getLogger("bgb").setLevel(logging.ERROR)  # remarks on the real recordings
    path = HERE / "results.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    with TemporaryDirectory(dir=arguments.work) as work:
        for part in arguments.parts:
            measured = MEASURES[part](Path(work), arguments)
            results[part] = {**_facts(), "measured": measured}
            path.write_text(json.dumps(results, indent=1) + "\n")
    _show(results)
    _plot(HERE / "fidelity.svg")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hours", nargs="+", type=int, default=[1, 6, 24])
    parser.add_argument("--builders", type=int, default=16)
    parser.add_argument("--real", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--work", type=Path, help="folder for temporary files")
    return parser.parse_args()


def _facts() -> dict[str, Any]:
    names = ("numpy", "scipy", "edfio", "pyEDFlib")
    return {
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": {"python": platform.python_version()} | {name: version(name) for name in names},
        "date": date.today().isoformat(),
    }


def _speed(work: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return hours a second of every pipeline and rate; slow pipelines run three rounds."""
    rows = []
    for rate_hz in RATES_HZ:
        edf = write_recording(work / f"{rate_hz}.edf", seconds=60 * _MINUTES, rate_hz=rate_hz)
        times: dict[str, list[tuple[float, float]]] = {title: [] for title in pipelines()}
        for turn in range(arguments.rounds + 1):
            for title, pipeline in pipelines().items():
                if turn > 3 and times[title][-1][0] > 1:
                    continue
                taken = _time(pipeline, edf, work / "out")
                if taken[0] < 1:  # once more: a worker does nothing else in between
                    taken = _time(pipeline, edf, work / "out")
                if turn:  # the first warms up
                    times[title].append(taken)
        rows += [_row(title, rate_hz, taken) for title, taken in times.items()]
        edf.unlink()
    return rows


def _time(pipeline: Callable[[Path, Path], object], edf: Path, folder: Path) -> tuple[float, float]:
    for file in folder.rglob("*.npz"):
        file.unlink()
    folder.mkdir(exist_ok=True)
    wall_s, processor_s = time.perf_counter(), time.process_time()
    pipeline(edf, folder)
    return time.process_time() - processor_s, time.perf_counter() - wall_s


def _row(title: str, rate_hz: int, taken: list[tuple[float, float]]) -> dict[str, Any]:
    hours = _MINUTES / 60
    processor_s, wall_s = zip(*taken, strict=True)
    return {
        "pipeline": title,
        "rate_hz": rate_hz,
        "rounds": len(taken),
        "hours_per_s": round(hours / median(processor_s), 2),
        "best_hours_per_s": round(hours / min(processor_s), 2),
        "wall_hours_per_s": round(hours / median(wall_s), 2),
    }


def _fidelity(work: Path, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    return {title: fidelity.measure(method) for title, method in fidelity.filters().items()}


def _reference(work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "real recordings": fidelity.against_reference(arguments.real),
        "an hour in blocks and whole": robustness.streamed_and_whole(work),
    }


def _memory(work: Path, arguments: argparse.Namespace) -> list[dict[str, float]]:
    return robustness.memory(work, arguments.hours)


def _builders(work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    many = robustness.many_builders(work, arguments.builders)
    return {"many": many, "killed": robustness.kills(work, 20)}


MEASURES = dict(zip(PARTS, (_speed, _fidelity, _reference, _memory, _builders), strict=True))


def _show(results: dict[str, Any]) -> None:
    console = Console()
    if "speed" in results:
        table = Table("pipeline", *(f"{rate} Hz" for rate in RATES_HZ), title="hours a second")
        rows = results["speed"]["measured"]
        for title in dict.fromkeys(row["pipeline"] for row in rows):
            cells = [row for row in rows if row["pipeline"] == title]
            table.add_row(
                title, *(f"{row['hours_per_s']} (best {row['best_hours_per_s']})" for row in cells)
            )
        console.print(table)
    if "fidelity" in results:
        measured = results["fidelity"]["measured"]
        table = Table("property", *measured)
        for name in next(iter(measured.values())):
            table.add_row(name, *(f"{values[name]:.4g}" for values in measured.values()))
        console.print(table)
    for part in ("reference", "memory", "builders"):
        if part in results:
            console.print(part, results[part]["measured"])


def _plot(path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    for title, method in fidelity.filters().items():
        for axis, rate_hz in zip(axes, (250, 512), strict=False):
            frequency_hz, gain_db, impulse = fidelity.response(method, rate_hz)
            axis.plot(frequency_hz, gain_db, label=title, linewidth=1)
            axis.set(title=f"gain, from {rate_hz} Hz", xlabel="Hz", ylabel="dB", ylim=(-130, 5))
        axes[2].plot((fidelity.np.arange(len(impulse)) - len(impulse) // 2) / 256, impulse)
    axes[2].set(title="impulse response, from 512 Hz", xlabel="s", xlim=(-0.2, 0.2))
    axes[0].legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    if "GLIBC_TUNABLES" not in os.environ:  # read when a process starts
        os.environ["OMP_NUM_THREADS"] = "1"
        with large_pages():
            os.execv(sys.executable, [sys.executable, *sys.argv])
    main()
