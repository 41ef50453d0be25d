"""How long a command takes before it does what it was asked for.

    python experiments/startup/run.py                          # both parts
    python experiments/startup/run.py --parts training --rounds 15

`configuration`: `--cfg job`, a typo and `--help` beside a bare Hydra program. `training`: from the
command to the first training step beside a plain Lightning program, `imports`: what its imports
take, one by one. Whole processes, alternated; a ratio is the median of the ratios of the rounds.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import training
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results.json")
PARTS = ("configuration", "training", "imports")
BARE = """
import hydra
from omegaconf import DictConfig
@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(config: DictConfig) -> None: ...
main()
"""
# sys.executable -m: the very commands that a user types
COMMANDS = {
    "bare Hydra --cfg job": ["bare.py", "--cfg", "job"],
    "bgb.train --cfg job": ["-m", "bgb.train", "--cfg", "job"],
    "bgb.train, a typo": ["-m", "bgb.train", "modle=eegnet"],
    "bare Hydra --help": ["bare.py", "--help"],
    "bgb.train --help": ["-m", "bgb.train", "--help"],
}
# In this order: what each adds to those before it.
MODULES = ("hydra", "torch", "torch._dynamo", "torchmetrics", "pytorch_lightning")
OURS = "bgb.training.fit"
IMPORTS = """
import gc, time
{gc}
for name in {modules}:
    started = time.process_time()
    __import__(name)
    print(name, time.process_time() - started)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in arguments.parts:
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as folder:
            measured = _measure(part, Path(folder), arguments.rounds)
        results[part] = {**facts(load), **measured}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def facts(load: float) -> dict[str, Any]:  # Any: JSON
    packages = ("hydra-core", "torch", "pytorch-lightning", "torchmetrics", "tensorboard")
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the start",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "date": date.today().isoformat(),
    }


def _measure(part: str, folder: Path, num_rounds: int) -> dict[str, Any]:  # Any: JSON
    match part:
        case "configuration":
            return configuration(folder, num_rounds)
        case "training":
            found = training.summary(training.measure(folder, num_rounds))
            show_training(found)
            return found
        case _:
            return imports(folder, num_rounds)


def configuration(folder: Path, num_rounds: int) -> dict[str, Any]:  # Any: JSON
    (folder / "bare.py").write_text(BARE)
    (folder / "conf").mkdir()
    (folder / "conf" / "config.yaml").write_text("a: 1\n")
    for words in COMMANDS.values():
        seconds(words, folder)  # byte code
    rounds = [
        {title: seconds(words, folder) for title, words in COMMANDS.items()}
        for _ in range(num_rounds)
    ]
    table = Table("command", "median ms", "times bare Hydra")
    results = {}
    for title in COMMANDS:
        bare = "bare Hydra --help" if title.endswith("--help") else "bare Hydra --cfg job"
        ratio = median(row[title] / row[bare] for row in rounds)
        results[title] = {"ms": 1000 * median(row[title] for row in rounds), "ratio": ratio}
        table.add_row(title, f"{results[title]['ms']:.0f}", f"{ratio:.2f}")
    Console().print(table)
    return {"rounds": num_rounds, "results": results}


def seconds(words: list[str], folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *words], cwd=folder, env=_environment(), capture_output=True, check=False
    )
    return time.perf_counter() - started


def imports(folder: Path, num_rounds: int) -> dict[str, Any]:  # Any: JSON
    """Print CPU seconds of each import, with and without collection."""
    rounds = [
        {how: _imported(folder, code) for how, code in (("on", ""), ("off", "gc.disable()"))}
        for _ in range(num_rounds)
    ]
    table = Table("import", "CPU s, collector on", "CPU s, collector off")
    medians = {
        name: {how: median(row[how][name] for row in rounds) for how in ("on", "off")}
        for name in rounds[0]["on"]
    }
    medians["sum"] = {
        how: median(sum(row[how].values()) for row in rounds) for how in ("on", "off")
    }
    for name, values in medians.items():
        table.add_row(name, *(f"{values[how]:.2f}" for how in ("on", "off")))
    Console().print(table)
    return {"rounds": num_rounds, "cpu_s": medians}


def _imported(folder: Path, code: str) -> dict[str, float]:
    text = IMPORTS.format(gc=code, modules=(*MODULES, OURS))
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=folder, env=_environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {
        name: float(value) for name, value in (line.split() for line in done.stdout.splitlines())
    }


def show_training(found: dict[str, Any]) -> None:  # Any: JSON
    table = Table("to the first step", training.BGB, training.PLAIN, "ratio (goal 0.5)")
    ours, theirs = (found["medians"][title] for title in (training.BGB, training.PLAIN))
    for name, ratio in found["ratio"].items():
        table.add_row(name, f"{ours[name]:.2f}", f"{theirs[name]:.2f}", f"{ratio:.2f}")
    for part, part_s in ours["parts"].items():
        table.add_row(f"  {part}", f"{part_s:.2f}")
    Console().print(table)


def _environment() -> dict[str, str]:
    """Return an environment in which the code beside this file is what is imported."""
    return {**os.environ, "PYTHONPATH": str(training.ROOT)}


if __name__ == "__main__":
    main()
