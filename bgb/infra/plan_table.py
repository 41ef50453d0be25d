"""The plan as a person reads it: a row a job, the sum, and what the sum leaves out."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from bgb.config.infra import InfraConfig
from bgb.errors import InfraError
from bgb.infra.cost import check_budget, dollars, machine_text, upper_bound
from bgb.infra.deployment import JOB, num_containers
from bgb.infra.prices import Rates, usd_per_hour

_HOUR_S = 3600


@dataclass(frozen=True)
class PlanRow:
    """One planned job.

    Attributes
    ----------
    overrides : those in which it differs from the other jobs.
    infra : the container that is rented for it; None = it runs here.
    hours : of training, validation and evaluation; None = nothing was measured.
    measured : what the hours come from: speed, device, day; "" = nothing was measured.
    """

    number: int
    overrides: str
    infra: InfraConfig | None
    steps: int
    hours: tuple[float, float, float] | None
    measured: str

    @property
    def total_h(self) -> float:
        return sum(self.hours) if self.hours else 0.0

    def usd(self, rates: Rates) -> float | None:
        """Return what it is likely to cost; None where nothing is rented or measured."""
        if self.infra is None or self.hours is None:
            return None
        return self.total_h * usd_per_hour(self.infra, rates)


def plan_table(rows: Sequence[PlanRow], rates: Rates) -> Table:
    """Return the table of jobs, steps, time of each part, and dollars where machines are rented."""
    is_rented = any(row.infra is not None for row in rows)
    table = Table(title=_title(rows), title_justify="left")
    table.add_column("Job", justify="right")
    table.add_column("Overrides", overflow="fold")
    for name in ("Steps", "Train", "Valid.", "Eval.", "Total", *(["Cost"] if is_rented else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        parts = [duration_text(hours) for hours in (*row.hours, row.total_h)] if row.hours else []
        cells = [str(row.number), row.overrides, f"{row.steps:,}", *(parts or ["?"] * 4)]
        table.add_row(*cells, *([_cost(row.usd(rates))] if is_rented else []))
    if len(rows) > 1:
        table.add_section()
        table.add_row(*_sum_cells(rows, rates, is_rented=is_rented), style="bold")
    return table


def plan_notes(rows: Sequence[PlanRow], rates: Rates) -> list[str]:
    """Return what the table cannot hold: origin of the speeds, upper bound, limits, left-outs."""
    notes = [f"Measured: {text}." for text in dict.fromkeys(row.measured for row in rows) if text]
    unmeasured = [str(row.number) for row in rows if row.hours is None]
    if unmeasured:
        jobs = f"job {unmeasured[0]}" if len(unmeasured) == 1 else f"jobs {', '.join(unmeasured)}"
        notes.append(
            f"Nothing was measured for {jobs}, so that hours are not known: repeat the command "
            "with probe=true (a short job on the machine that would train)."
        )
    for infra, number in _by_infra(rows):
        notes += _notes_of_infra(infra, [row for row in rows if row.infra == infra], number, rates)
    if any(row.hours for row in rows):
        notes.append(
            "Not counted: building what a cache lacks, starts of containers and their repetition "
            "after a preemption, storage."
        )
    return notes


def duration_text(hours: float) -> str:
    """Return a time for people: hours, minutes or seconds."""
    if hours >= 1:
        return f"{hours:.1f} h"
    if hours >= 1 / 60:
        return f"{60 * hours:.1f} min"
    return f"{_HOUR_S * hours:.1f} s"


def wall_hours(hours: Sequence[float], *, num_at_once: int) -> float:
    """Return when the last job ends, each starting in turn on the machine that is free first."""
    free = [0.0] * num_at_once
    for each in hours:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def _notes_of_infra(
    infra: InfraConfig, rows: Sequence[PlanRow], num_jobs: int, rates: Rates
) -> list[str]:
    bound = upper_bound(infra, num_jobs, rates)
    notes = [f"Upper bound: {bound.text()}."]
    if num_jobs > 1 and all(row.hours for row in rows):
        num_at_once = num_containers(infra, JOB)
        end_h = wall_hours([row.total_h for row in rows], num_at_once=num_at_once)
        notes.append(
            f"With {num_at_once} jobs at once (infra.max_containers, infra.volume.version) the "
            f"last one ends after about {duration_text(end_h)}."
        )
    for row in rows:
        if row.total_h > infra.max_hours:
            notes.append(
                f"Job {row.number} needs {duration_text(row.total_h)}, but is stopped at "
                f"infra.max_hours={infra.max_hours:g}: raise it, or train less."
            )
    try:
        check_budget(bound, infra)
    except InfraError as error:
        notes.append(f"The training would be refused: {error}.")
    return notes


def _by_infra(rows: Sequence[PlanRow]) -> list[tuple[InfraConfig, int]]:
    found: list[InfraConfig] = []
    for row in rows:
        if row.infra is not None and row.infra not in found:
            found.append(row.infra)
    return [(infra, sum(row.infra == infra for row in rows)) for infra in found]


def _title(rows: Sequence[PlanRow]) -> str:
    machines = [machine_text(infra) for infra, _ in _by_infra(rows)]
    if any(row.infra is None for row in rows):
        machines.insert(0, "this machine")
    jobs = "1 job" if len(rows) == 1 else f"{len(rows)} jobs"
    return f"Plan: {jobs} on {'; '.join(machines)}"


def _sum_cells(rows: Sequence[PlanRow], rates: Rates, *, is_rented: bool) -> list[str]:
    measured = [row for row in rows if row.hours]
    label = "all" if len(measured) in (0, len(rows)) else f"the {len(measured)} measured"
    parts = zip(*(row.hours for row in measured if row.hours)) if measured else []
    sums = [sum(part) for part in parts]
    cells = ["", label, f"{sum(row.steps for row in measured or rows):,}"]
    cells += [duration_text(hours) for hours in (*sums, sum(sums))] if measured else ["?"] * 4
    if is_rented:
        costs = [cost for row in rows if (cost := row.usd(rates)) is not None]
        cells.append(_cost(sum(costs) if costs else None))
    return cells


def _cost(usd: float | None) -> str:
    return "?" if usd is None else dollars(usd)
