"""How RPCs reach handlers: count, authenticate, dispatch; unknown ones answer UNIMPLEMENTED.

`ModalClientBase` is generated and abstract. Its `__mapping__` is called on `_Router` instead of
on an instance, so that a method nobody wrote still answers, with its name.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from grpclib import GRPCError, Status
from grpclib.const import Handler
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream
from modal_proto.api_grpc import ModalClientBase

from tests.fakemodal.state import Knobs

log = logging.getLogger(__name__)

TASK_HEADER = "x-fake-task"
_WITHOUT_CREDENTIALS = frozenset({"ClientHello"})


def task_of(stream: Stream[Any, Any]) -> str | None:
    """Return the id of the container that calls, None for a client on the laptop."""
    value = (stream.metadata or {}).get(TASK_HEADER)
    return str(value) if value else None


class Servable:
    """What `grpclib.server.Server` serves: every RPC of the protocol, through `servicer`."""

    def __init__(self, servicer: object, rpcs: Counter[str], knobs: Knobs) -> None:
        self._servicer = servicer
        self._rpcs = rpcs
        self._knobs = knobs

    def __mapping__(self) -> dict[str, Handler]:
        return ModalClientBase.__mapping__(_Router(self._servicer, self._rpcs, self._knobs))  # type: ignore[arg-type]


class GrpcServer(Server):
    """A gRPC server that also closes its connections, whose clients may outlive it."""

    def __init__(self, handlers: list[Servable]) -> None:
        super().__init__(handlers)
        self._protocols: list[H2Protocol] = []

    async def hang_up(self) -> None:
        """Stop listening and close every connection."""
        self.close()
        await self.wait_closed()
        for protocol in self._protocols:
            if hasattr(protocol, "connection"):  # set when the connection was made
                protocol.connection.close()
        await asyncio.sleep(0)  # transports close in the loop's next round

    def _protocol_factory(self) -> H2Protocol:
        self._protocols.append(super()._protocol_factory())
        return self._protocols[-1]


class _Router:
    def __init__(self, servicer: object, rpcs: Counter[str], knobs: Knobs) -> None:
        self._servicer = servicer
        self._rpcs = rpcs
        self._knobs = knobs

    def __getattr__(self, name: str) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        handler = getattr(self._servicer, name, None)

        async def call(stream: Stream[Any, Any]) -> None:
            self._rpcs[name] += 1
            if self._knobs.offline and task_of(stream) is None:
                raise GRPCError(Status.UNAVAILABLE, "the network is down")
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
