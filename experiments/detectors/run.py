"""Measure every option of conf/model, read the sweep, write results.json and docs/detectors.md.

    python -m experiments.detectors.run [speed] [scores] [page]

speed    each option scores an hour of noise on two cores, in a process of its own
scores   reads the runs of the sweep and scores the Helsinki clips with them
page     writes docs/detectors.md from results.json and gpu.json, without measuring
"""

import argparse
import os
import platform
from dataclasses import asdict
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bgb.files import read_json, write_json, write_text
from experiments.detectors.measure import measure
from experiments.detectors.options import facts_of, names
from experiments.detectors.scores import read_sweep
from experiments.detectors.table import render

HERE = Path(__file__).parent
RESULTS, GPU = HERE / "results.json", HERE / "gpu.json"
PAGE = HERE.parents[1] / "docs" / "detectors.md"
PARTS = ("speed", "scores", "page")


def main() -> None:
    words = _arguments()
    parts = words.parts or PARTS
    results = _read(words.results_file)
    if "speed" in parts:
        results |= _speed(words, results.get("speed", {}))
        write_json(words.results_file, results)
    if "scores" in parts:
        sweep = read_sweep(Path(words.results), words.clips, threads=words.threads)
        write_json(words.results_file, results := {**results, "sweep": asdict(sweep)})
    if "page" in parts:
        facts = {name: facts_of(name) for name in names()}
        write_text(words.page, render(facts, results, _read(GPU)))


def _speed(words: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Measure the options asked for, in turns, and take medians; the figures of others stay."""
    rounds: dict[str, list[dict[str, float]]] = {}
    for number in range(words.rounds):
        for name in words.options or names():
            if isinstance(why := facts_of(name), str):
                print(f"{name}: left out, {why}")
                continue
            taken = measure(name, minutes=words.minutes, threads=words.threads)
            rounds.setdefault(name, []).append(taken)
            print(f"round {number + 1}, {name}: {taken}", flush=True)
    speed = {
        name: {key: median(each[key] for each in taken) for key in taken[0]}
        for name, taken in rounds.items()
    }
    return {
        "speed": before | speed,
        "rounds": words.rounds,
        "machine": f"{words.threads} threads, {_processor()}",
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "minutes": words.minutes,
    }


def _processor() -> str:
    """Return the processor's name where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _read(path: Path) -> dict[str, Any]:  # Any: JSON
    return read_json(path) if path.exists() else {}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder = os.environ.get("BGB_TEST_DATA")
    clips = Path(folder) / "helsinki_neonatal" if folder else None
    parser.add_argument("parts", nargs="*", help="speed, scores, page; none = all")
    parser.add_argument("--results", default=os.environ.get("BGB_RESULTS", "runs"))
    parser.add_argument("--clips", type=Path, default=clips, help="BIDS tree of the neonates")
    parser.add_argument("--options", nargs="+", help="whose speed is measured; none = all")
    parser.add_argument("--minutes", type=int, default=60, help="EEG that each scores")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each speed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results-file", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    words = parser.parse_args()
    if unknown := set(words.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    return words


if __name__ == "__main__":
    main()
