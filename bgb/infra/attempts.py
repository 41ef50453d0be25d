"""Attempts of a job: one small file each, on the Volume, so that no crash loop runs for ever.

A deployed Modal app starts a crashed job again without end, and nothing but the Volume outlives a
container. An attempt counts for the call that it belongs to: a job that is sent anew counts anew.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bgb.errors import RunError
from bgb.files import read_json, write_json

FOLDER = "attempts"


@dataclass(frozen=True)
class Attempt:
    """One start of a job; `seen_s` is when it was last known to be alive, `ended` in order."""

    call: str
    number: int
    task: str
    started_s: float  # Unix time, as all here
    seen_s: float
    ended: bool = False

    @property
    def seconds(self) -> float:
        return max(0.0, self.seen_s - self.started_s)


def earlier(job_dir: Path, call: str) -> list[Attempt]:
    """Return the attempts of a call, in order."""
    found = []
    for path in sorted((job_dir / FOLDER).glob(f"{call}-*.json")):
        try:
            found.append(Attempt(**read_json(path)))
        except (RunError, TypeError):  # torn by a crash of the machine: it still was an attempt
            found.append(Attempt(call, len(found) + 1, "", 0.0, 0.0, ended=True))
    return found


def spent_s(attempts: Sequence[Attempt], *, longest_s: float) -> float:
    """Return the time that attempts took, in seconds; never too little.

    One that did not end in order may have hung, silent but paid, until the next one began or until
    Modal ended it after `longest_s`.
    """
    next_starts = [attempt.started_s for attempt in attempts[1:]] + [time.time()]
    return sum(
        attempt.seconds if attempt.ended else min(max(0.0, start - attempt.started_s), longest_s)
        for attempt, start in zip(attempts, next_starts)
    )


def begin(job_dir: Path, call: str, *, number: int, task: str) -> Attempt:
    """Write that an attempt begins now."""
    now = time.time()
    return _write(job_dir, Attempt(call, number, task, started_s=now, seen_s=now))


def touch(job_dir: Path, attempt: Attempt, *, ended: bool = False) -> Attempt:
    """Write that an attempt is still alive, or ends in order now."""
    return _write(job_dir, replace(attempt, seen_s=time.time(), ended=ended))


def _write(job_dir: Path, attempt: Attempt) -> Attempt:
    name = f"{attempt.call}-{attempt.number:04d}.json"
    write_json(job_dir / FOLDER / name, asdict(attempt))
    return attempt
