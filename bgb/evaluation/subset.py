"""The part of a split that a validation scores: bounded in price, stratified, seeded."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from bgb.eeg.events import seizures
from bgb.evaluation.series import PatientTiles

Member = TypeVar("Member", bound=PatientTiles)


def bounded_subset(
    recordings: Sequence[Member], costs: Sequence[float], *, limit: float, seed: int
) -> tuple[Member, ...]:
    """Choose whole recordings that cost at most `limit` in all, in the same mix as the whole.

    Recordings with and without seizure are shuffled apart and dealt out evenly; one that does not
    fit is passed over. One with a seizure is always there: where none fits, the cheapest.
    """
    with_seizure = [bool(seizures(recording.events)) for recording in recordings]
    order = _dealt_out(with_seizure, seed)
    possible = [index for index in order if with_seizure[index]]
    fitting = [index for index in possible if costs[index] <= limit]
    if possible and not fitting:
        fitting = [min(possible, key=lambda index: costs[index])]
    chosen = set(fitting[:1])
    left = limit - sum(costs[index] for index in chosen)
    for index in order:
        if index not in chosen and costs[index] <= left:
            chosen.add(index)
            left -= costs[index]
    return tuple(recordings[index] for index in sorted(chosen))


def _dealt_out(with_seizure: Sequence[bool], seed: int) -> list[int]:
    """Return the order in which both kinds, each shuffled, come in their proportion."""
    generator = np.random.default_rng(seed)
    place = np.zeros(len(with_seizure))
    for kind in (True, False):
        members = np.flatnonzero(np.array(with_seizure, dtype=bool) == kind)
        shares = (np.arange(len(members)) + 0.5) / max(1, len(members))
        place[generator.permutation(members)] = shares
    return sorted(range(len(place)), key=lambda index: (place[index], not with_seizure[index]))
