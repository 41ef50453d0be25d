"""`python -m bgb.plan` with the overrides of a training: jobs, hours, dollars and learning rate.

Hours come from a measurement of the very detector, window, batch and machine: `probe=true` takes
one now (with `+infra=...` in a short job on the rented machine), later plans find it again. Where
there is none the plan says so; it never guesses. Nothing is trained.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bgb.config.compose import command, to_frozen
from bgb.config.infra import InfraConfig
from bgb.config.schema import PlanConfig
from bgb.config.sweep import expand, first_job

if TYPE_CHECKING:
    from bgb.infra.plan_table import PlanRow
    from bgb.infra.prices import Rates
    from bgb.training.curve import RateCurve
    from bgb.training.estimate import Throughput

_log = logging.getLogger(__name__)
_MOST_CURVES = 4  # drawn; of the others the numbers are told


@dataclass(frozen=True)
class PlannedJob:
    """One job of a sweep, and what is known of its speed.

    Attributes
    ----------
    machine : where it would run, as measurements are filed.
    varied : the overrides in which it differs from other jobs.
    """

    number: int
    varied: tuple[str, ...]
    config: PlanConfig
    machine: str
    speed: "Throughput | None" = None

    def row(self) -> "PlanRow":
        """Return the job as the table shows it."""
        from bgb.infra.plan_table import PlanRow
        from bgb.training.estimate import estimate, num_steps

        hours, measured = None, ""
        if self.speed is not None:
            found = estimate(self.config, self.speed)
            hours = (found.train, found.validation, found.evaluation)
            where = f" on {self.machine}" if self.config.infra is not None else ""
            measured = f"{self.config.model.label}{where}: {self.speed.text()}"
        return PlanRow(
            number=self.number,
            overrides=" ".join(self.varied) or "-",
            infra=self.config.infra,
            steps=num_steps(self.config),
            hours=hours,
            measured=measured,
        )


def main() -> None:
    """Print the plan; a sweep needs no `--multirun` here."""
    words = sys.argv[1:]

    @command(PlanConfig, name="plan")
    def plan(config: PlanConfig) -> None:
        _print_plan(config, plan_jobs(words))

    # Hydra composes one job; the task composes them all.
    sys.argv[1:] = first_job(words)
    plan()


def plan_jobs(words: Sequence[str]) -> list[PlannedJob]:
    """Return every job that a command line stands for; Hydra must be set up.

    Raises
    ------
    ConfigError : a job's configuration is wrong, or the sweep cannot be known beforehand.
    """
    import hydra

    overrides = expand(words)
    configs = [to_frozen(hydra.compose("plan", each), PlanConfig) for each in overrides]
    jobs = []
    for number, (words_of_job, config) in enumerate(zip(overrides, configs, strict=True)):
        others = [set(each) for each in overrides if each != words_of_job]
        varied = tuple(word for word in words_of_job if any(word not in each for each in others))
        jobs.append(PlannedJob(number, varied, config, _machine(config)))
    return jobs


def find_speeds(jobs: Iterable[PlannedJob], folder: Path) -> list[PlannedJob]:
    """Return the jobs with the measurements that `folder` keeps of them."""
    from bgb.training.estimate import find_measurement

    return [replace(job, speed=find_measurement(folder, job.config, job.machine)) for job in jobs]


def measure_speeds(
    jobs: Sequence[PlannedJob], folder: Path, *, seconds: float, rates: "Rates"
) -> None:
    """Measure once for all jobs of the same speed, here or in containers; keep it in `folder`."""
    from bgb.training.estimate import identity, save_measurement
    from bgb.training.throughput import probe

    distinct = {json.dumps(identity(job.config, job.machine), sort_keys=True): job for job in jobs}
    by_infra: dict[str, list[PlannedJob]] = {}
    for job in distinct.values():
        by_infra.setdefault(repr(job.config.infra), []).append(job)
    for alike in by_infra.values():
        infra = alike[0].config.infra
        if infra is None:
            for job in alike:
                speed = probe(job.config, seconds)
                save_measurement(folder, job.config, job.machine, speed)
            continue
        _measure_remotely(infra, alike, folder, seconds=seconds, rates=rates)


def _measure_remotely(
    infra: InfraConfig,
    jobs: Sequence[PlannedJob],
    folder: Path,
    *,
    seconds: float,
    rates: "Rates",
) -> None:
    """Fill the caches as a training would, then send one short job for each configuration."""
    from bgb.data.snapshot import snapshot_path
    from bgb.infra.cache_build import fill_cache
    from bgb.infra.probe import announce, probe_infra, run_calls, temporary_session
    from bgb.training.estimate import save_measurement
    from bgb.training.throughput import probe

    def save(position: int, speed: "Throughput") -> None:
        """Keep what was paid for, whatever becomes of the others."""
        save_measurement(folder, jobs[position].config, jobs[position].machine, speed)

    configs = [job.config for job in jobs]
    progress = not configs[0].disable_progress
    short = probe_infra(infra, seconds=seconds)
    announce(short, len(configs), rates)
    # A cache may take longer than a measurement, whose limits end all else.
    caches = {str(snapshot_path(config.data)): config.data for config in configs}
    name = hashlib.sha256("\n".join(sorted(caches)).encode()).hexdigest()[:8]
    with temporary_session(infra, name=name) as session:
        for data in caches.values():
            fill_cache(session, data, progress=progress)
    ready = [replace(config, data=replace(config.data, check_source=False)) for config in configs]
    with temporary_session(short) as session:
        run_calls(session, probe, [(config, seconds) for config in ready], on_value=save)


def _print_plan(config: PlanConfig, jobs: list[PlannedJob]) -> None:
    from rich.console import Console

    from bgb.infra.plan_table import plan_notes, plan_table
    from bgb.infra.prices import load_rates

    rates = load_rates(live=any(job.config.infra is not None for job in jobs))
    folder = Path(config.probes).expanduser()
    if config.probe:
        measure_speeds(jobs, folder, seconds=config.probe_s, rates=rates)
    rows = [job.row() for job in find_speeds(jobs, folder)]
    console = Console()
    console.print(plan_table(rows, rates))
    for line in (*plan_notes(rows, rates), *_rate_lines(jobs)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _rate_lines(jobs: Sequence[PlannedJob]) -> list[str]:
    """Return the learning rate over the steps, once for all jobs that share it, and warnings."""
    from bgb.training.curve import draw, rate_curve, warnings_of

    curves: dict[RateCurve, list[int]] = {}
    for job in jobs:
        curves.setdefault(rate_curve(job.config), []).append(job.number)
    lines = []
    for position, (curve, numbers) in enumerate(curves.items()):
        whose = f" of jobs {', '.join(map(str, numbers))}" if len(curves) > 1 else ""
        lines.append(f"Learning rate{whose}: {curve.text()}.")
        lines += draw(curve) if position < _MOST_CURVES else []
        lines += [f"Warning: {warning}." for warning in warnings_of(curve)]
    return lines


def _machine(config: PlanConfig) -> str:
    """Return where a job would run: what a container has, or the device of this machine."""
    infra = config.infra
    if infra is not None:
        return f"Modal, {infra.gpu or 'no GPU'}, {infra.cpu:g} cores"
    import torch

    from bgb.training.provenance import device_name

    on_gpu = config.trainer.accelerator != "cpu" and torch.cuda.is_available()
    return device_name(torch.device("cuda" if on_gpu else "cpu"))


if __name__ == "__main__":
    main()
