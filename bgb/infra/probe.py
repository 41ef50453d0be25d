"""Carry out a few short calls in containers of one infrastructure, within a bound, and wait.

Whoever plans measures with this: no ledger, no resume; when it ends, nothing is left running.
"""

import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from bgb.config.infra import InfraConfig
from bgb.infra.app import Session
from bgb.infra.cost import check_budget, upper_bound
from bgb.infra.payload import Failure
from bgb.infra.prices import Rates

_LOG = logging.getLogger(__name__)
_HOUR_S = 3600
_SLACK_S = 900.0  # reading a cold cache, and what a measurement overruns


def probe_infra(infra: InfraConfig, *, seconds: float) -> InfraConfig:
    """Return the same machine with the hours of a short call of about `seconds`."""
    hours = (2 * seconds + _SLACK_S) / _HOUR_S
    return replace(
        infra,
        max_hours=min(infra.max_hours, hours),
        timeout_h=min(infra.timeout_h, hours),
        max_attempts=2,
    )


def announce(infra: InfraConfig, num_calls: int, rates: Rates) -> None:
    """Say what the calls may cost at most; refuse them above `infra.max_cost_usd`."""
    bound = upper_bound(infra, num_calls, rates)
    check_budget(bound, infra)
    _LOG.info("measuring: %s", bound.text())


@contextlib.contextmanager
def temporary_session(infra: InfraConfig, *, outlives_interrupt: bool = False) -> Iterator[Session]:
    """Deploy an app under a name that no other command uses, and stop it in the end.

    Parameters
    ----------
    outlives_interrupt : Ctrl-C leaves it, so that containers end their work; it costs nothing then.
    """
    session = Session(infra, sweep_id=f"plan-{uuid.uuid4().hex[:8]}", packages=infra.packages)
    is_left = False
    try:
        session.deploy()
        yield session
    except KeyboardInterrupt:
        is_left = outlives_interrupt
        raise
    finally:
        if not is_left:
            session.stop()


def run_calls(
    session: Session,
    function: Callable[..., Any],  # Any: whatever it returns
    arguments: Sequence[tuple[Any, ...]],
) -> list[Any]:
    """Call a function once for each tuple of arguments; return what the calls return, in order.

    Raises
    ------
    InfraError : Modal refuses the calls.
    BaseException : what the first failing call raised; the others are cancelled.
    """
    waiting: dict[str, int] = {}
    values: list[Any] = [None] * len(arguments)
    try:
        for index, each in enumerate(arguments):
            waiting[session.submit(function, *each)] = index
        while waiting:
            for call in list(waiting):
                reply = session.look(call)
                if isinstance(reply, Failure):
                    del waiting[call]
                    raise reply.error()
                if reply is not None:
                    values[waiting.pop(call)] = reply.value
            time.sleep(session.infra.poll_s if waiting else 0)
    finally:
        for call in waiting:
            session.cancel(call)
    return values
