"""Leases: which call writes which run folder of a Volume, in a Dict that all our apps share.

A lock file means nothing between containers: each sees the Volume as it was at its start. Two
sweeps with an equal job would write one folder, and pay for it twice (lesson 42). A lease that was
not renewed for a while is that of a container that is gone.
"""

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bgb.errors import RunError

if TYPE_CHECKING:
    import modal

DICT = "bgb-leases"
EXPIRES_S = 180.0  # a living container renews its own every 20 s


@dataclass(frozen=True)
class Lease:
    """Who writes a run folder; `seen_s` is Unix time."""

    call: str
    sweep: str
    job: str
    seen_s: float


def take(entries: "modal.Dict", run: str, *, call: str, sweep: str, job: str) -> None:
    """Take the lease of a run folder, given as its path on the Volume.

    Raises
    ------
    RunError : another living call has it.
    """
    mine = asdict(Lease(call, sweep, job, time.time()))
    if entries.put(run, mine, skip_if_exists=True):
        return
    there = Lease(**entries.get(run, mine))
    age_s = time.time() - there.seen_s
    if there.call != call and age_s < EXPIRES_S:
        raise RunError(
            f"run {run} is being written by job {there.job} of sweep {there.sweep} (call "
            f"{there.call}, last seen {age_s:.0f} s ago); wait for it, watch it again by repeating "
            "its command with its hydra.sweep.dir=, or set another title= or run="
        )
    entries[run] = mine


def renew(entries: "modal.Dict", run: str, *, call: str, sweep: str, job: str) -> None:
    """Say that the call that has a lease is alive."""
    entries[run] = asdict(Lease(call, sweep, job, time.time()))


def release(entries: "modal.Dict", run: str, *, call: str) -> None:
    """Give a lease back; that of another call stays."""
    there = entries.get(run)
    if there is not None and there["call"] == call:
        entries.pop(run, None)
