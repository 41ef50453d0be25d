"""Kill a small run at random points, many times, and compare its end with an undisturbed run.

    python experiments/resume/run.py [--kills 100] [--seed 0] [--out FOLDER] [override ...]

A process that has imported everything forks one child a session, so that a session costs no start.
Each session is sent SIGKILL, SIGTERM or Ctrl-C at a random moment, most of them once they reach a
phase that is drawn too; the next one has another number of loader threads, another residency and
other times of checkpoints. Averaged weights and early
stopping are on. Prints a table and exits with 1 if anything differs.
"""

import argparse
import json
import mmap
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

import bgb.training.checkpoint as checkpoint_module
from bgb.config.compose import compose
from bgb.config.schema import TrainConfig
from bgb.files import read_json, write_json
from bgb.training import build, fit
from bgb.training.checkpoint import AtomicCheckpointIO, load_checkpoint
from bgb.training.module import SeizureModule
from bgb.training.provenance import Spending
from bgb.training.run_folder import RunFolder, open_run, run_folder

PHASES = ("start", "between", "step", "validation", "last.ckpt", "best.ckpt", "end")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# What each kind of end may say: killed, terminated before Lightning listened, stopped orderly.
ORDERLY = {-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM, 128 + signal.SIGINT}
# Improves once and never by so much again: stops after three epochs of six.
SMALL = """model=eegnet model.rate_hz=64 data.preprocess.rate_hz=128 data.window_s=12
    data.preprocess.lowpass_hz=40 data.preprocess.notch_hz=null data.batch_size=8
    data.workers=1 data.sampling.windows_per_epoch=48 trainer.accelerator=cpu trainer.threads=1
    trainer.max_epochs=6 trainer.patience=2 trainer.min_delta=0.9 trainer.ema_decay=0.9
    trainer.log_every_steps=1 logger=csv disable_progress=true""".split()
SYNTHETIC = """data=synthetic data.corpus.hours=0.1 data.corpus.train_patients=2
    data.corpus.dev_patients=2 data.corpus.eval_patients=1""".split()

# Shared with the children: the phase, and how many phases were entered.
shared = memoryview(mmap.mmap(-1, 8)).cast("I")


class Kill(NamedTuple):
    """When a session is sent a signal: after so many phases, at the next such one, a bit later."""

    after: int
    phase: str | None
    later_s: float
    by: signal.Signals


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for report.json and the runs")
    parser.add_argument("overrides", nargs="*", help="of the small run; none = a synthetic corpus")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        out = options.out or Path(name)
        corpus = options.overrides or [*SYNTHETIC, f"data.root={out}/corpus"]
        config = compose("train", [*SMALL, f"data.cache_root={out}/cache", *corpus])
        report = experiment(replace(config, results=str(out)), options.kills, options.seed)
        write_json(out / "report.json", report)
    show(report)
    sys.exit(1 if report["differences"] else 0)


def experiment(config: TrainConfig, num_kills: int, seed: int) -> dict[str, Any]:  # Any: JSON
    """Kill runs one after the other until `num_kills` signals were sent; compare each end."""
    generator = random.Random(seed)
    straight = replace(config, run="straight")
    session(straight)  # builds the cache
    first = replace(config, run="second")
    code, _ = session(first)
    assert code == 0
    num_phases = shared[1]
    kills: Counter[tuple[str, str]] = Counter()
    differences, num_runs = [], 0
    while kills.total() < num_kills:
        num_runs += 1
        run = replace(config, run=f"killed-{num_runs}")
        code = None
        while code != 0:
            # The last run is let finish, so that it too is compared.
            may_kill = kills.total() < num_kills
            kill = draw_kill(generator, num_phases) if may_kill else None
            code, where = session(disturbed(run, generator), kill)
            if kill and where:
                kills[kill.by.name, where] += 1
            assert code == 0 or code in ORDERLY, f"{run.run} ended with {code}"
        differences += compare(run_folder(straight), run_folder(run))
    differences += compare(run_folder(straight), run_folder(first))
    return {
        "kills": [[by, where, count] for (by, where), count in sorted(kills.items())],
        "runs": num_runs,
        "differences": differences,
    }


def disturbed(config: TrainConfig, generator: random.Random) -> TrainConfig:
    """Change what must not change the result."""
    minutes = generator.choice((1e-6, 1e-3, 5.0))
    data = replace(
        config.data,
        threads=generator.choice((1, 2, 3)),
        residency=generator.choice(("disk", "memory")),
    )
    return replace(config, data=data, trainer=replace(config.trainer, checkpoint_minutes=minutes))


def draw_kill(generator: random.Random, num_phases: int) -> Kill:
    """Draw a moment of a session, and in most cases a phase that is to be met."""
    return Kill(
        after=generator.randrange(num_phases // 2),  # a resumed session has fewer
        phase=generator.choice((None, *PHASES[2:-1])),
        later_s=generator.uniform(0, 0.005),
        by=generator.choice(SIGNALS),
    )


def session(config: TrainConfig, kill: Kill | None = None) -> tuple[int, str | None]:
    """Train in a child; return its exit code and the phase in which it was sent a signal."""
    shared[0], shared[1] = PHASES.index("start"), 0
    log = Path(config.results) / f"{config.run}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        os._exit(_carry_out(config, log))
    where = None
    if kill is not None:
        while now() != "end" and (shared[1] < kill.after or kill.phase not in (None, now())):
            time.sleep(0.0005)
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break  # it failed
        time.sleep(kill.later_s)
        where = now()
        os.kill(child, kill.by)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if kill is not None and code == -signal.SIGKILL:
        where = now()  # where it really died
    if code == 0:
        where = None  # it was done already
    if code != 0 and code not in ORDERLY:
        sys.stderr.write(log.read_text())
    return code, where


def now() -> str:
    """Return the phase in which the child is."""
    return PHASES[shared[0]]


def _carry_out(config: TrainConfig, log: Path) -> int:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        _mark_phases()
        with open_run(config) as folder:
            spending = Spending(folder)
            fit.fit(config, folder, build.build_data(config), spending)
        shared[0] = PHASES.index("end")
        return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SystemExit as stop:
        return int(stop.code or 0)
    except BaseException:  # noqa: BLE001 - the child must not go on as its parent
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]  # there is one
        return 1


def _mark_phases() -> None:
    checkpoint_module.LARGEST_SHARE = 1e9  # as often as the configuration says
    wrap(fit, "_train", lambda _: "between")
    wrap(SeizureModule, "training_step", lambda _: "step")
    wrap(build, "validate", lambda _: "validation")
    wrap(AtomicCheckpointIO, "save_checkpoint", lambda arguments: Path(arguments[2]).name)


def wrap(owner: Any, name: str, phase_of: Callable[[Any], str]) -> None:  # Any: module or class
    """Let a function say in which phase it is."""
    function = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:  # Any: those of the function
        before = shared[0]
        shared[0] = PHASES.index(phase_of(args))
        shared[1] += 1
        try:
            return function(*args, **kwargs)
        finally:
            shared[0] = before

    setattr(owner, name, wrapped)


def compare(expected: RunFolder, got: RunFolder) -> list[str]:
    """Return what differs: in both checkpoints, the metrics, and why the training ended."""
    differences = []
    for one, other in ((expected.last, got.last), (expected.best, got.best)):
        ours, theirs = load_checkpoint(one), load_checkpoint(other)
        for checkpoint in (ours, theirs):
            del checkpoint["callbacks"]["Deadline"]  # seconds
            del checkpoint["config"]  # of the last session
        name = f"{got.name}/{one.name}"
        differences += [f"{name}:{where}" for where in unequal(ours, theirs)]
    if expected.metrics.read_bytes() != got.metrics.read_bytes():
        differences.append(f"{got.name}/metrics.csv")
    ends = [read_json(each.provenance)["stopped"] for each in (expected, got)]
    if ends != ["patience", "patience"]:
        differences.append(f"{got.name}/stopped:{ends}")
    return differences


def unequal(one: Any, other: Any, where: str = "") -> Iterator[str]:  # Any: parts of a checkpoint
    """Name every place where two checkpoints differ, bit for bit."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.dtype != other.dtype or not torch.equal(one, other):
            yield where
    elif isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in one.keys() | other.keys():
            yield from unequal(one.get(key), other.get(key), f"{where}.{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            yield where
        for index, (left, right) in enumerate(zip(one, other, strict=False)):
            yield from unequal(left, right, f"{where}[{index}]")
    elif one != other:
        yield where


def show(report: Mapping[str, Any]) -> None:  # Any: JSON
    """Print how many kills fell where."""
    counts = {(by, where): count for by, where, count in report["kills"]}
    table = Table("signal", *PHASES[:-1], "all")
    for by in sorted({by for by, _ in counts}):
        row = [counts.get((by, where), 0) for where in PHASES[:-1]]
        table.add_row(by, *map(str, row), str(sum(row)))
    console = Console()
    console.print(table)
    console.print(
        f"{sum(counts.values())} kills, {report['runs']} runs, "
        f"{len(report['differences'])} differences"
    )
    console.print(json.dumps(report["differences"][:20]))


if __name__ == "__main__":
    main()
