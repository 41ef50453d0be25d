"""What jobs cost at most, said before they start, and the refusal above `infra.max_cost_usd`."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bgb.config.infra import InfraConfig
from bgb.errors import InfraError
from bgb.infra.prices import Rates, usd_per_hour

SLACK_H = 0.25  # for a job that is stopped and writes its checkpoint


@dataclass(frozen=True)
class Bound:
    """The most that jobs may cost.

    Attributes
    ----------
    hours_per_job : all attempts together: after `infra.max_hours` the worker stops its job, and
        Modal ends one that does not stop `SLACK_H` later.
    machine : what one job has, for people.
    source : where the rates come from.
    """

    num_jobs: int
    hours_per_job: float
    usd_per_hour: float
    machine: str
    source: str

    @property
    def usd(self) -> float:
        return self.num_jobs * self.hours_per_job * self.usd_per_hour

    def text(self) -> str:
        """Return one line: the product and where its factors come from."""
        jobs = "1 job" if self.num_jobs == 1 else f"{self.num_jobs} jobs"
        return (
            f"{jobs} x at most {self.hours_per_job:.3g} h x {dollars(self.usd_per_hour)}/h "
            f"({self.machine}) = at most {dollars(self.usd)} (rates: {self.source})"
        )


def upper_bound(infra: InfraConfig, num_jobs: int, rates: Rates) -> Bound:
    """Return the most that `num_jobs` may cost; caches that are built before come on top."""
    return Bound(
        num_jobs=num_jobs,
        hours_per_job=infra.max_hours + SLACK_H,
        usd_per_hour=usd_per_hour(infra, rates),
        machine=machine_text(infra),
        source=rates.source,
    )


def check_budget(
    bound: Bound, infra: InfraConfig, *, besides: Mapping[str, float] = MappingProxyType({})
) -> None:
    """Refuse jobs that may cost more than `infra.max_cost_usd`.

    Parameters
    ----------
    besides : further dollars that count against the limit, by what they are for.

    Raises
    ------
    InfraError : the bound is above the limit; the message names the ways out.
    """
    others = sum(besides.values())
    if bound.usd + others <= infra.max_cost_usd:
        return
    if bound.usd <= infra.max_cost_usd:
        parts = " and ".join(f"{dollars(usd)} {what}" for what, usd in besides.items() if usd)
        raise InfraError(
            f"{bound.text()}, and {parts}, are more than infra.max_cost_usd="
            f"{infra.max_cost_usd:g}; lower infra.max_hours={infra.max_hours:g} or raise "
            "infra.max_cost_usd"
        )
    affordable = int(infra.max_cost_usd / (bound.hours_per_job * bound.usd_per_hour))
    hours = max(0, infra.max_cost_usd / (bound.num_jobs * bound.usd_per_hour) - SLACK_H)
    raise InfraError(
        f"{bound.text()} is more than infra.max_cost_usd={infra.max_cost_usd:g}: "
        f"sweep over fewer jobs ({affordable} fit), lower infra.max_hours={infra.max_hours:g} "
        f"({_rounded_down(hours)} fit), or raise infra.max_cost_usd; "
        "`python -m bgb.plan` with the same overrides tells what the jobs are likely to cost"
    )


def machine_text(infra: InfraConfig) -> str:
    """Return what a job has: GPUs, cores, memory, region."""
    parts = [f"{infra.cpu:g} cores", f"{infra.memory_gib:g} GiB"]
    if infra.gpu_name:
        count = f"{infra.num_gpus} x " if infra.num_gpus > 1 else ""
        parts.insert(0, f"{count}{infra.gpu_name}")
    if infra.region:
        parts.append(infra.region)
    return ", ".join(parts)


def dollars(usd: float) -> str:
    """Return an amount for people: cents, and more digits below a dollar."""
    if usd >= 1 or usd == 0:
        return f"${usd:,.2f}"
    return f"${usd:.3f}" if usd >= 0.01 else f"${usd:.2g}"


def _rounded_down(hours: float) -> str:
    digits = 2 if hours >= 0.01 else 4
    return f"{int(hours * 10**digits) / 10**digits:g}"
