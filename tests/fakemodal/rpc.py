"""How RPCs reach handlers: count, authenticate, dispatch; unknown ones answer UNIMPLEMENTED.

`ModalClientBase` is generated and abstract. Its `__mapping__` is called on `_Router` instead of
on an instance, so that a method nobody wrote still answers, with its name.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from grpclib import GRPCError, Status
from grpclib.const import Handler
from grpclib.server import Stream
from modal_proto.api_grpc import ModalClientBase

log = logging.getLogger(__name__)

TASK_HEADER = "x-fake-task"
_WITHOUT_CREDENTIALS = frozenset({"ClientHello"})


def task_of(stream: Stream[Any, Any]) -> str | None:
    """Return the id of the container that calls, None for a client on the laptop."""
    value = (stream.metadata or {}).get(TASK_HEADER)
    return str(value) if value else None


class Servable:
    """What `grpclib.server.Server` serves: every RPC of the protocol, through `servicer`."""

    def __init__(self, servicer: object, rpcs: Counter[str]) -> None:
        self._servicer = servicer
        self._rpcs = rpcs

    def __mapping__(self) -> dict[str, Handler]:
        return ModalClientBase.__mapping__(_Router(self._servicer, self._rpcs))  # type: ignore[arg-type]


class _Router:
    def __init__(self, servicer: object, rpcs: Counter[str]) -> None:
        self._servicer = servicer
        self._rpcs = rpcs

    def __getattr__(self, name: str) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        handler = getattr(self._servicer, name, None)

        async def call(stream: Stream[Any, Any]) -> None:
            self._rpcs[name] += 1
            if name not in _WITHOUT_CREDENTIALS:
                _authenticate(stream)
            if handler is None:
                raise GRPCError(Status.UNIMPLEMENTED, f"the loopback Modal has no {name}")
            try:
                await handler(stream)
            except (GRPCError, ConnectionError):
                raise
            except Exception as error:
                log.exception("%s failed in the loopback Modal", name)
                text = f"{name}: {type(error).__name__}: {error}"
                raise GRPCError(Status.FAILED_PRECONDITION, text) from error

        return call


def _authenticate(stream: Stream[Any, Any]) -> None:
    if task_of(stream) is not None:
        return
    metadata = stream.metadata or {}
    token_id = metadata.get("x-modal-token-id", "")
    if token_id in ("", "bad") or not metadata.get("x-modal-token-secret"):
        raise GRPCError(
            Status.UNAUTHENTICATED,
            "Token not found. Please re-run `modal token new` or check MODAL_TOKEN_ID.",
        )
