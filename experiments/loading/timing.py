"""What a batch costs, by the clock and of all cores, in rounds that alternate all variants."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

PAUSE_S = 0.05  # until a loader timed before has read ahead what it may


class Cost(NamedTuple):
    """Seconds a batch: by the clock, and of all cores (neighbours on the machine matter less)."""

    wall: float
    cpu: float


def alternate(variants: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Return one cost a round; all variants in random order in each round."""
    generator = np.random.default_rng(0)
    costs: dict[str, list[Cost]] = {name: [] for name in variants}
    for run in variants.values():
        run()
    for _ in range(rounds):
        for index in generator.permutation(len(variants)):
            name = list(variants)[index]
            time.sleep(PAUSE_S)
            costs[name].append(variants[name]())
    return costs


def mean(run: Callable[[], object], count: int) -> Cost:
    """Return what one of `count` runs costs."""
    started = time.perf_counter(), time.process_time()
    for _ in range(count):
        run()
    stopped = time.perf_counter(), time.process_time()
    return Cost(*((stop - start) / count for start, stop in zip(started, stopped)))


def median_ratio(costs: Sequence[Cost], others: Sequence[Cost], kind: int) -> float:
    """Return the median of the ratios of the rounds; `kind` 0 is wall, 1 is cpu."""
    pairs = zip(costs, others, strict=True)
    return statistics.median(one[kind] / other[kind] for one, other in pairs)


def median_ms(costs: Sequence[Cost], kind: int = 0) -> float:
    """Return the median of the rounds in milliseconds; `kind` as above."""
    return 1e3 * statistics.median(cost[kind] for cost in costs)
