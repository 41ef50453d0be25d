"""What a second of a rented machine costs: the workspace's own rates, or a dated table.

Modal tells each workspace its rates, in dollars an hour (keys as `modal billing rates --json`
prints them). Where it cannot be asked, the table below serves, and whoever shows a price says so.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime

from bgb.config.infra import InfraConfig
from bgb.errors import InfraError

_LOG = logging.getLogger(__name__)
_HOUR_S = 3600
_PATIENCE_S = 15.0
# modal.com/pricing as read on this day, dollars a second.
TABLE_DATE = "2026-08-10"
_TABLE_GPU = {
    "T4": 0.000164,
    "L4": 0.000222,
    "A10": 0.000306,
    "L40S": 0.000542,
    "A100-40GB": 0.000583,
    "A100-80GB": 0.000694,
    "RTX-PRO-6000": 0.000842,
    "H100": 0.001097,
    "H200": 0.001261,
    "B200": 0.001736,
}
_TABLE_CPU_CORE = 0.0000131
_TABLE_MEMORY_GIB = 0.00000222
# A pinned region multiplies everything, by 1.5 or 1.75: the larger one keeps bounds bounds.
REGION_FACTOR = 1.75
_CPU_KEY, _MEMORY_KEY, _GPU_KEY = "cpu_hour_cost", "mem_gib_hour_cost", "gpu_hour_cost_"
_GPU_SUFFIXES = {  # names that are not ours in lower case
    "a10g": "A10",
    "a100_40gb": "A100-40GB",
    "a100_80gb": "A100-80GB",
    "rtx6000": "RTX-PRO-6000",
}


@dataclass(frozen=True)
class Rates:
    """Dollars a second of one GPU, one physical core and one GiB of memory.

    Attributes
    ----------
    source : where they come from and of which day, for people.
    """

    source: str
    gpu_usd_per_s: Mapping[str, float]
    cpu_core_usd_per_s: float
    memory_gib_usd_per_s: float


TABLE = Rates(f"table of {TABLE_DATE}", _TABLE_GPU, _TABLE_CPU_CORE, _TABLE_MEMORY_GIB)


def load_rates(*, live: bool = True) -> Rates:
    """Ask Modal for the rates of this workspace; the dated table where it does not answer.

    Parameters
    ----------
    live : False takes the table without asking.
    """
    if not live:
        return TABLE
    import modal
    from grpclib.exceptions import GRPCError, StreamTerminatedError

    try:
        hourly = _within(_PATIENCE_S, _ask)
    except (modal.exception.Error, GRPCError, StreamTerminatedError, OSError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        _LOG.warning("Modal did not tell its rates (%s): prices of the %s", reason, TABLE.source)
        return TABLE
    return _parse(hourly)


def usd_per_hour(infra: InfraConfig, rates: Rates) -> float:
    """Return what one container of `infra` costs while it runs: GPUs, cores, memory, region.

    Raises
    ------
    InfraError : no rate is known for the GPU.
    """
    gpu = 0.0
    if infra.gpu_name:
        name = infra.gpu_name.rstrip("!")  # the mark forbids a replacement, it costs nothing
        if name not in rates.gpu_usd_per_s:
            raise InfraError(
                f"infra.gpu={infra.gpu}: {rates.source} has no price for {name}; "
                f"choose one of {', '.join(rates.gpu_usd_per_s)}"
            )
        gpu = infra.num_gpus * rates.gpu_usd_per_s[name]
    machine = machine_usd_per_hour(rates, cpu=infra.cpu, memory_gib=infra.memory_gib)
    return (gpu * _HOUR_S + machine) * (REGION_FACTOR if infra.region else 1.0)


def machine_usd_per_hour(rates: Rates, *, cpu: float, memory_gib: float) -> float:
    """Return what cores and memory cost an hour, without any GPU."""
    return _HOUR_S * (cpu * rates.cpu_core_usd_per_s + memory_gib * rates.memory_gib_usd_per_s)


def _ask() -> dict[str, float]:
    import modal

    rates = modal.Workspace.from_context().billing.rates()
    return {name: float(value) for name, value in rates.items()}


def _within(seconds: float, ask: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Give up after some seconds, with `TimeoutError`; without a network the client takes 60."""
    answer: Future[dict[str, float]] = Future()

    def work() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:  # noqa: BLE001 - raised again where the answer is awaited
            answer.set_exception(error)

    threading.Thread(target=work, name="bgb-rates", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError as error:
        raise TimeoutError(f"no answer within {seconds:g} s") from error


def _parse(hourly: Mapping[str, float]) -> Rates:
    """Read what Modal answers; the table fills in what the answer lacks, and is then named."""
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    gpus = {
        _gpu_name(key.removeprefix(_GPU_KEY)): value / _HOUR_S
        for key, value in hourly.items()
        if key.startswith(_GPU_KEY)
    }
    lacking = [name for name in TABLE.gpu_usd_per_s if name not in gpus]
    lacking += [key for key in (_CPU_KEY, _MEMORY_KEY) if key not in hourly]
    source = f"live, {day}"
    if lacking:
        source += f" ({', '.join(lacking)}: {TABLE.source})"
        _LOG.warning("Modal told no rate of %s: prices of the %s", lacking, TABLE.source)
    return Rates(
        source,
        {**TABLE.gpu_usd_per_s, **gpus},
        hourly.get(_CPU_KEY, _HOUR_S * TABLE.cpu_core_usd_per_s) / _HOUR_S,
        hourly.get(_MEMORY_KEY, _HOUR_S * TABLE.memory_gib_usd_per_s) / _HOUR_S,
    )


def _gpu_name(suffix: str) -> str:
    return _GPU_SUFFIXES.get(suffix, suffix.upper().replace("_", "-"))
