"""How long `python -m bgb.train --cfg job` takes beside a bare Hydra program.

    python experiments/startup/run.py

Whole processes, alternated; the ratio is the median of the ratios of the rounds.
"""

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

from rich.console import Console
from rich.table import Table

ROUNDS = 15
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


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bare.py").write_text(BARE)
        (folder / "conf").mkdir()
        (folder / "conf" / "config.yaml").write_text("a: 1\n")
        for words in COMMANDS.values():
            seconds(words, folder)  # byte code
        rounds = [
            {title: seconds(words, folder) for title, words in COMMANDS.items()}
            for _ in range(ROUNDS)
        ]
    report(rounds)


def seconds(words: list[str], folder: Path) -> float:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    started = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True)
    return time.perf_counter() - started


def report(rounds: list[dict[str, float]]) -> None:
    table = Table("command", "median ms", "times bare Hydra")
    results = {}
    for title in COMMANDS:
        bare = "bare Hydra --help" if title.endswith("--help") else "bare Hydra --cfg job"
        ratio = median(row[title] / row[bare] for row in rounds)
        results[title] = {"ms": 1000 * median(row[title] for row in rounds), "ratio": ratio}
        table.add_row(title, f"{results[title]['ms']:.0f}", f"{ratio:.2f}")
    Console().print(table)
    facts = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "hydra-core": version("hydra-core"),
        "date": date.today().isoformat(),
        "rounds": ROUNDS,
    }
    path = Path(__file__).with_name("results.json")
    path.write_text(json.dumps({**facts, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
