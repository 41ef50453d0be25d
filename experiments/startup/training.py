"""From the command to the first training step, and from the last line to the end of the process.

Whole processes, `bgb.train` and `plain.py`, in random order in each round; the cache is there.
"""

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
BATCH, STEPS, WINDOW_S = 2, 4, 60
PLAIN_CONFIG = f"""
cache: ???
out: ???
batch_size: {BATCH}
max_steps: {STEPS}
window_s: {WINDOW_S}
widths: [64, 128, 256]
hydra: {{run: {{dir: .}}, output_subdir: null}}
"""
BGB = "bgb.train"
PLAIN = "plain Lightning"
GOAL = 0.5


@dataclass(frozen=True)
class Start:
    """One process; `parts` as the program names them, `tear_down_s` after its last line."""

    first_step_s: float
    first_step_cpu_s: float
    tear_down_s: float
    total_cpu_s: float
    parts: dict[str, float]


def measure(folder: Path, num_rounds: int) -> dict[str, list[Start]]:
    """Build cache and byte code with one run of each, then alternate."""
    (folder / "conf").mkdir(exist_ok=True)
    (folder / "conf" / "config.yaml").write_text(PLAIN_CONFIG)
    (folder / "plain.py").write_text(Path(__file__).with_name("plain.py").read_text())
    starts: dict[str, list[Start]] = {BGB: [], PLAIN: []}
    one_start(bgb_command(folder, "warm-up"), folder)
    one_start(plain_command(folder, "warm-up"), folder)
    order = [BGB, PLAIN]
    for number in range(num_rounds):
        random.shuffle(order)
        for title in order:
            command = bgb_command if title == BGB else plain_command
            starts[title].append(one_start(command(folder, f"{number}"), folder))
    return starts


def bgb_command(folder: Path, run: str) -> list[str]:
    return [
        *("-m", "bgb.train", "+experiment=smoke", "model=eventnet_unet_small", f"run={run}"),
        *(f"data.root={folder}/data", f"data.cache_root={folder}/cache", f"results={folder}/runs"),
        *(f"data.batch_size={BATCH}", f"data.window_s={WINDOW_S}", "trainer.accelerator=cpu"),
        *(f"data.sampling.windows_per_epoch={BATCH * STEPS}", "trainer.max_epochs=1"),
        "evaluation.baseline=false",
    ]


def plain_command(folder: Path, run: str) -> list[str]:
    return ["plain.py", f"cache={folder}/cache", f"out={folder}/plain/{run}"]


def one_start(words: Sequence[str], folder: Path) -> Start:
    """Run a program and watch its lines."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    first_step, first_step_s, last_line_s, text = "", 0.0, 0.0, ""
    for line in process.stdout:
        last_line_s = time.perf_counter() - started
        text += line
        if not first_step and "first step" in line:
            first_step, first_step_s = line, last_line_s
    _, status, usage = os.wait4(process.pid, 0)
    tear_down_s = time.perf_counter() - started - last_line_s
    if status or not first_step:
        raise RuntimeError(f"{' '.join(words)} failed or never stepped:\n{text[-2000:]}")
    cpu = re.search(r"\((\d+\.\d+) s of CPU\)", first_step)
    assert cpu is not None
    named = re.findall(r"([a-z][a-z ]*) (\d+\.\d+)(?:,|$)", first_step.rpartition("): ")[2].strip())
    return Start(
        first_step_s,
        float(cpu[1]),
        tear_down_s,
        usage.ru_utime + usage.ru_stime,
        {name.strip(): float(seconds) for name, seconds in named},
    )


def summary(starts: dict[str, list[Start]]) -> dict[str, object]:
    """Return medians, and the medians of the ratios of the rounds."""
    ours, theirs = starts[BGB], starts[PLAIN]
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "rounds": len(pairs),
        "goal": GOAL,
        "ratio": {
            name: median(getattr(our, name) / getattr(their, name) for our, their in pairs)
            for name in ("first_step_s", "first_step_cpu_s", "tear_down_s")
        },
        "medians": {title: _medians(each) for title, each in starts.items()},
        "every start": {title: [asdict(start) for start in each] for title, each in starts.items()},
    }


def _medians(starts: Sequence[Start]) -> dict[str, object]:
    names = ("first_step_s", "first_step_cpu_s", "tear_down_s", "total_cpu_s")
    values: dict[str, object] = {
        name: median(getattr(start, name) for start in starts) for name in names
    }
    values["parts"] = {
        part: median(start.parts[part] for start in starts) for part in starts[0].parts
    }
    return values
