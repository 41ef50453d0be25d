"""Claims: an entry in the app's Dict that says which call carries out a job.

A launcher that dies right after it sent a job does not know so, and its successor sends the job
again: both calls may start. The first to claim the job works, the other ends at once. A claim is
taken back only when its call is known to have ended and the job is sent again.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import modal

_log = logging.getLogger(__name__)
TRIES = 3
WAIT_S = 1.0  # between two tries
_PREFIX = "owner:"
_T = TypeVar("_T")


def claim(entries: "modal.Dict", name: str, *, call_id: str) -> str:
    """Claim a job for a call, and return the call that owns it: this one, unless another has it."""
    while not entries.put(_PREFIX + name, call_id, skip_if_exists=True):
        known = owner(entries, name)
        if known is not None:  # else taken back meanwhile
            return known
    return call_id


def owner(entries: "modal.Dict", name: str) -> str | None:
    """Return the call that claimed a job, or None."""
    known: str | None = entries.get(_PREFIX + name)
    return known


def release(entries: "modal.Dict", name: str, *, ended: str) -> None:
    """Take back the claim of a call that ended; that of any other call stays."""
    if owner(entries, name) == ended:
        entries.pop(_PREFIX + name, None)


def without_claims(entries: Mapping[str, Any]) -> dict[str, Any]:  # Any: what jobs report
    """Return the entries of a Dict that are no claims."""
    return {name: entry for name, entry in entries.items() if not name.startswith(_PREFIX)}


def try_to(action: Callable[[], _T], *, otherwise: _T) -> _T:
    """Do something with a Dict, a few times if need be; at worst warn and go on without."""
    for left in reversed(range(TRIES)):
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end a sweep
            if left == 0:
                _log.warning("jobs are not guarded against a second start: %s", error)
            else:
                time.sleep(WAIT_S)
    return otherwise
