"""How fast windows are loaded, by the loader that training uses, beside a memcpy and peers.

    python experiments/loading/run.py                       # all; about 4 GB of temporary files
    python experiments/loading/run.py --parts warm cold     # some; the others stay in results.json

Ratios are medians of the ratios of the rounds; all variants alternate in one process.
"""

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import measure
import torch
from against import against_peers, peer_plot, peer_table, verdict
from corpus import write_recordings
from readers import plain_readers
from rich.console import Console
from rich.table import Table
from timing import Cost, median_ms, median_ratio

HERE = Path(__file__).parent
PARTS = ("warm", "peers", "cold", "frontend", "first", "flat")


def main() -> None:
    arguments = _arguments()
    path, results = HERE / "results.json", {}
    with TemporaryDirectory(dir=arguments.work) as work:
        for part in arguments.parts:
            measured = {**_facts(), **_measure(part, Path(work), arguments)}
            results = json.loads(path.read_text()) if path.exists() else {}
            results[part] = measured
            path.write_text(json.dumps(results, indent=1) + "\n")
    for table in _tables(results):
        Console().print(table)
    if "peers" in results:
        Console(width=200).print(peer_table(results["peers"]), verdict(results["peers"]))
        peer_plot(results["peers"], HERE / "peers.svg")
    _plot(results, HERE / "loading.svg")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batches", type=int, default=100_000, help="of the part flat")
    parser.add_argument("--work", type=Path, help="folder for temporary files")
    return parser.parse_args()


def _measure(part: str, work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    rounds = arguments.rounds
    match part:
        case "warm":
            recordings = write_recordings(work / "small", 20, 1200)
            plain = plain_readers(recordings)
            measure.check(recordings, plain)
            return {"costs": measure.warm(recordings, plain, rounds)}
        case "peers":
            recordings = write_recordings(work / "small", 20, 1200)
            return against_peers(recordings, work / "peers", rounds)
        case "cold":
            recordings = write_recordings(work / "large", 200, 1200)
            os.sync()
            return {"costs": measure.cold(recordings, max(5, rounds // 2))}
        case "frontend":
            recordings = write_recordings(work / "small", 20, 1200)
            return {"costs": measure.frontend(recordings, rounds)}
        case "first":
            return measure.first(work / "holes", 7364)
        case _:
            recordings = write_recordings(work / "many", 300, 120)
            return {"curve": measure.flat(recordings, arguments.batches)}


def _facts() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    (cpu, *_) = (line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    return {
        "command": shlex.join(["python", "experiments/loading/run.py", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "machine": f"{cpu}, {os.cpu_count()} cores, shared, Linux {platform.release()}",
        "load_before": round(os.getloadavg()[0], 1),
        "versions": {
            "python": platform.python_version(),
            "numpy": version("numpy"),
            "torch": torch.__version__,
        },
    }


def _tables(results: Mapping[str, Any]) -> list[Table]:
    tables = []
    for part, references in (
        ("warm", ("memcpy int16", "memcpy float32")),
        ("cold", ("O_DIRECT, 1 at once", "O_DIRECT, 8 at once")),
        ("frontend", ("int16",)),
    ):
        if part in results:
            tables.append(_table(part, results[part]["costs"], references))
    if "first" in results:
        table = Table("first batch of a large corpus", "value")
        for name, value in results["first"].items():
            if isinstance(value, int | float):
                table.add_row(name, f"{value:,.3f}" if isinstance(value, float) else f"{value:,}")
        tables.append(table)
    return tables


def _table(title: str, costs: Mapping[str, Sequence[Cost]], references: Sequence[str]) -> Table:
    ratios = [f"x {name}" for name in references]
    table = Table(title, "ms", *ratios, "CPU ms", *(f"CPU {ratio}" for ratio in ratios))
    for name, values in costs.items():
        row = []
        for kind in (0, 1):
            row.append(f"{median_ms(values, kind):.1f}")
            row += [f"{median_ratio(values, costs[one], kind):.2f}" for one in references]
        table.add_row(name, *row)
    return table


def _plot(results: Mapping[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "bgb"
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    if "warm" in results:
        costs = results["warm"]["costs"]
        times_ms = {name: median_ms(values) for name, values in costs.items()}
        names = sorted(times_ms, key=lambda name: -times_ms[name])
        left.barh(
            names,
            [times_ms[name] for name in names],
            color=["C0" if "bgb" in name else "C7" for name in names],
        )
        left.set(xscale="log", xlabel="ms a batch of 64 windows of 60 s, warm (median)")
    if "flat" in results:
        curve = results["flat"]["curve"]
        batches = [point["batch"] for point in curve]
        right.plot(batches, [point["rss_mb"] for point in curve], label="resident memory, MB")
        right.plot(batches, [point["open_files"] for point in curve], label="open files")
        right.set(xlabel="batches of 16 windows", ylim=(0, None))
        right.legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
