"""Carry out a few short calls in containers of one infrastructure, within a bound, and wait.

Whoever plans measures with this: no ledger, no resume; when it ends, nothing is left running.
"""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
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


def run_calls(
    session: Session,
    function: Callable[..., Any],  # Any: whatever it returns
    arguments: Sequence[tuple[Any, ...]],
    rates: Rates,
) -> list[Any]:
    """Call a function once for each tuple of arguments; return what the calls return, in order.

    Raises
    ------
    InfraError : the calls may cost more than `infra.max_cost_usd`, or Modal refuses them.
    BaseException : what the first failing call raised; the others are cancelled.
    """
    bound = upper_bound(session.infra, len(arguments), rates)
    check_budget(bound, session.infra)
    session.deploy()
    _LOG.info("measuring: %s", bound.text())
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


def new_session(infra: InfraConfig) -> Session:
    """Return a session under a name of its own: nobody else's app is touched."""
    return Session(infra, sweep_id=f"plan-{uuid.uuid4().hex[:8]}", packages=infra.packages)
