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
        max_attempts=1,  # without a ticket nobody adds attempts up: the bound is one of them
    )


def announce(infra: InfraConfig, num_calls: int, rates: Rates) -> None:
    """Say what the calls may cost at most; refuse them above `infra.max_cost_usd`."""
    bound = upper_bound(infra, num_calls, rates)
    check_budget(bound, infra)
    _LOG.info("measuring: %s", bound.text())


@contextlib.contextmanager
def temporary_session(infra: InfraConfig, *, name: str | None = None) -> Iterator[Session]:
    """Deploy an app for a while, and stop it in the end.

    Parameters
    ----------
    name : where one is given, Ctrl-C leaves the app, so that containers end their work; it costs
        nothing then, and the command finds it again, and stops it, when it is repeated.
    """
    identity = name or uuid.uuid4().hex[:8]
    session = Session(infra, sweep_id=f"plan-{identity}", packages=infra.packages)
    is_left = False
    try:
        session.deploy()
        yield session
    except KeyboardInterrupt:
        is_left = name is not None
        raise
    finally:
        if not is_left:
            session.stop()


def run_calls(
    session: Session,
    function: Callable[..., Any],  # Any: whatever it returns
    arguments: Sequence[tuple[Any, ...]],
    *,
    on_value: Callable[[int, Any], None],
) -> None:
    """Call a function once for each tuple of arguments, and wait until all calls have ended.

    Parameters
    ----------
    on_value : gets the position of the arguments and what the call returned, as soon as it did.

    Raises
    ------
    InfraError : Modal refuses the calls; they are cancelled.
    BaseException : what the first failing call raised, once the others have ended, too.
    """
    waiting: dict[str, int] = {}
    failures: list[Failure] = []
    try:
        for index, each in enumerate(arguments):
            waiting[session.submit(function, *each)] = index
        while waiting:
            for call in list(waiting):
                reply = session.look(call)
                if isinstance(reply, Failure):
                    del waiting[call]
                    failures.append(reply)
                elif reply is not None:
                    on_value(waiting.pop(call), reply.value)
            time.sleep(session.infra.poll_s if waiting else 0)
    finally:
        for call in waiting:
            session.cancel(call)
    if failures:
        raise failures[0].error()
