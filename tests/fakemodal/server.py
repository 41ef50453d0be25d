"""`FakeModal`: a loopback Modal in a thread of this process, containers as real processes.

It speaks the gRPC protocol that the unmodified modal client and its container entrypoint expect.
What it cannot tell about the real service is listed in `docs/modal.md`.
"""

import asyncio
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from grpclib.protocol import H2Protocol
from grpclib.server import Server

from tests.fakemodal import sandbox
from tests.fakemodal.apps import AppRpcs
from tests.fakemodal.billing import BillingRpcs
from tests.fakemodal.blobs import BlobRpcs, BlobServer
from tests.fakemodal.calls import CallRpcs
from tests.fakemodal.client import connected
from tests.fakemodal.container_rpcs import ContainerRpcs
from tests.fakemodal.dicts import DictRpcs
from tests.fakemodal.functions import FunctionRpcs
from tests.fakemodal.images import ImageRpcs
from tests.fakemodal.logs import LogBook, LogRpcs
from tests.fakemodal.mounts import MountRpcs
from tests.fakemodal.options import options_of
from tests.fakemodal.rpc import Servable, task_of
from tests.fakemodal.runner import Runner
from tests.fakemodal.scheduler import Scheduler
from tests.fakemodal.secrets import SecretRpcs
from tests.fakemodal.state import Knobs, State
from tests.fakemodal.stores import Stores
from tests.fakemodal.volume_rpcs import VolumeRpcs

T = TypeVar("T")
_START_S = 30.0


@dataclass(frozen=True)
class App:
    app_id: str
    name: str
    state: str


@dataclass(frozen=True)
class Call:
    """`status`: pending, running, success, failure, terminated, timeout or init_failure."""

    call_id: str
    function_name: str
    status: str
    attempts: int


@dataclass(frozen=True)
class Container:
    """`call_id` is the call that it works on, None while it has none."""

    task_id: str
    function_name: str
    call_id: str | None
    pid: int | None
    alive: bool
    started_at: float


class Servicer(
    AppRpcs,
    FunctionRpcs,
    CallRpcs,
    ImageRpcs,
    ContainerRpcs,
    LogRpcs,
    MountRpcs,
    BlobRpcs,
    SecretRpcs,
    VolumeRpcs,
    DictRpcs,
    BillingRpcs,
):
    """All RPC handlers over one state; made in the server's loop."""

    def __init__(self, state: State, stores: Stores, knobs: Knobs, runner: Runner) -> None:
        self.state = state
        self.stores = stores
        self.knobs = knobs
        self.runner = runner
        self.scheduler = Scheduler(state, knobs, runner)
        self.logs = LogBook(state)

    def task_of(self, stream: Any) -> str | None:
        return task_of(stream)


class FakeModal:
    """A loopback Modal; use it as a context manager, one or several at once.

    Parameters
    ----------
    root
        Folder for everything that it keeps (Volumes, blobs, logs, container folders).
    buckets
        Local folder by the name of the S3 bucket that it stands for.
    secrets
        Variables by the name of the Secret; the client asks for them by name.
    shared
        Host folders that every container sees, writable, at the same path.
    """

    def __init__(
        self,
        root: Path,
        *,
        buckets: Mapping[str, Path] | None = None,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        heartbeat_s: float = 1.0,
        shared: Sequence[Path] = (),
    ) -> None:
        self.root = Path(root)
        self.knobs = Knobs(heartbeat_s=heartbeat_s)
        self.rpcs: Counter[str] = Counter()
        self.environment: dict[str, str] = {}
        self._buckets = dict(buckets or {})
        self._secrets = {name: dict(values) for name, values in (secrets or {}).items()}
        self._shared = tuple(shared)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servicer: Servicer
        self._closing: list[Callable[[], Any]] = []

    def __enter__(self) -> "FakeModal":
        reason = sandbox.why_not()
        if reason is not None:
            raise RuntimeError(reason)
        self.root.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        try:
            self._on_loop(self._open())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._on_loop(self._close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def connected(self) -> AbstractContextManager[None]:
        """Point the modal client of this process here while the context lasts."""
        return connected(self.environment)

    @property
    def start_delay_s(self) -> float:
        return self.knobs.start_delay_s

    @start_delay_s.setter
    def start_delay_s(self, value: float) -> None:
        self.knobs.start_delay_s = value

    @property
    def fail_image(self) -> str | None:
        return self.knobs.fail_image

    @fail_image.setter
    def fail_image(self, value: str | None) -> None:
        self.knobs.fail_image = value

    @property
    def rates(self) -> dict[str, str] | None:
        return self._servicer.stores.rates

    @rates.setter
    def rates(self, value: dict[str, str] | None) -> None:
        self._servicer.stores.rates = value

    @property
    def stores(self) -> Stores:
        return self._servicer.stores

    def apps(self) -> list[App]:
        """Return every app that was made, the oldest first."""
        apps = list(self._state.apps.values())
        return [App(app.app_id, app.name, app.state) for app in apps]

    def calls(self) -> list[Call]:
        """Return every function call, the oldest first."""
        return [
            Call(
                call.call_id,
                self._state.functions[call.function_id].name,
                _status([record.status for record in call.inputs.values()]),
                sum(record.attempts for record in call.inputs.values()),
            )
            for call in list(self._state.calls.values())
        ]

    def containers(self) -> list[Container]:
        """Return every container, the oldest first, ended ones too."""
        return [
            Container(
                task.task_id,
                self._state.functions[task.function_id].name,
                task.last_call_id or None,
                task.process.pid if task.process else None,
                task.process is not None and task.process.returncode is None and not task.ended,
                task.started_at,
            )
            for task in list(self._state.tasks.values())
        ]

    def preempt(self, task_id: str, grace_s: float = 5.0) -> None:
        """Interrupt a container as a preemption does; its input starts again in another."""
        task = self._state.tasks[task_id]

        async def interrupt() -> None:
            reason = "worker preemption; its input will be restarted"
            self._servicer.scheduler.interrupt(task, reason, grace_s=grace_s)

        self._on_loop(interrupt())

    def kill(self, task_id: str) -> None:
        """Kill a container without warning; what it had not committed is lost."""
        task = self._state.tasks[task_id]

        async def kill() -> None:
            self._servicer.runner.kill(task, "lost")

        self._on_loop(kill())

    def expire(self, call_id: str) -> None:
        """Forget a call's outputs, as Modal does after seven days."""
        self._state.calls[call_id].expired = True

    def volume(self, name: str) -> Path:
        """Return the committed tree of a Volume."""
        return self.stores.volumes.path(name)

    def fill_volume(self, name: str) -> None:
        """Let every later commit of a Volume fail: no space left on device."""
        self.stores.volumes.fill(name)

    def log(self, task_id: str) -> str:
        """Return what a container wrote to stdout and stderr."""
        return self._state.tasks[task_id].log.read_text(errors="replace")

    def payloads(self) -> list[bytes]:
        """Return all that clients uploaded, secrets apart: inputs, blobs, files, definitions."""
        stores = self.stores
        return [*self._state.payloads, *stores.blobs.payloads(), *stores.mounts.payloads()]

    def function_options(self) -> list[dict[str, Any]]:
        """Return what each created function asked for, in plain words."""
        functions = list(self._state.functions.values())
        return [options_of(f, self._state, self.stores) for f in functions if f.version]

    def wait_until(self, condition: Callable[[], T], timeout_s: float = 30.0) -> T:
        """Poll until `condition` is true and return its value; fail after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"still not so after {timeout_s} s: {self.calls()}")
            time.sleep(0.05)
        return value

    @property
    def _state(self) -> State:
        return self._servicer.state

    def _on_loop(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_START_S)

    async def _open(self) -> None:
        blobs = BlobServer(self.root)
        base_url = await blobs.start()
        self._closing.append(blobs.stop)
        state = State()
        stores = Stores(self.root, base_url, self._secrets, self._buckets)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        heartbeat_s = self.knobs.heartbeat_s
        runner = Runner(self.root, state, stores, server_url=url, heartbeat_s=heartbeat_s)
        runner.shared = self._shared
        self._servicer = Servicer(state, stores, self.knobs, runner)
        server = _GrpcServer([Servable(self._servicer, self.rpcs)])
        await server.start(sock=listener)
        self._closing.append(lambda: _stop(server))
        watcher = asyncio.create_task(self._watch_clients())
        self._closing.append(lambda: _cancel(watcher))
        self._closing.append(self._kill_all)
        self.environment = {
            "MODAL_SERVER_URL": url,
            "MODAL_TOKEN_ID": "ak-fake",
            "MODAL_TOKEN_SECRET": "as-fake",
            "MODAL_CONFIG_PATH": os.fspath(self.root / "no-modal.toml"),
            "MODAL_DISABLE_API_PROXY": "1",
        }

    async def _close(self) -> None:
        while self._closing:
            await self._closing.pop()()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await self._loop.shutdown_default_executor()

    async def _kill_all(self) -> None:
        state = self._servicer.state
        for app in state.apps.values():
            app.state = "stopped"
        for task in state.tasks.values():
            self._servicer.runner.kill(task, "the loopback Modal ends")
        while any(task.process and not task.ended for task in state.tasks.values()):
            await asyncio.sleep(0.01)

    async def _watch_clients(self) -> None:
        """Stop ephemeral apps whose client no longer sends heartbeats."""
        while True:
            await asyncio.sleep(0.5)
            for app in list(self._state.apps.values()):
                allowed_s = self.knobs.client_timeout_s
                if app.beats > 1:
                    allowed_s = min(allowed_s, 5 * app.beat_interval_s + 2)
                silent_s = time.monotonic() - app.last_beat
                if app.state in ("ephemeral", "initializing") and silent_s > allowed_s:
                    await self._servicer.scheduler.stop_app(app.app_id)


def _status(statuses: list[str]) -> str:
    if any(status in ("running",) for status in statuses):
        return "running"
    if not statuses or any(status in ("pending", "retrying") for status in statuses):
        return "pending"
    return next((status for status in statuses if status != "success"), "success")


class _GrpcServer(Server):
    """A gRPC server that also closes its connections, whose clients may outlive it."""

    def __init__(self, handlers: list[Servable]) -> None:
        super().__init__(handlers)
        self._protocols: list[H2Protocol] = []

    def _protocol_factory(self) -> H2Protocol:
        self._protocols.append(super()._protocol_factory())
        return self._protocols[-1]

    def hang_up(self) -> None:
        for protocol in self._protocols:
            if hasattr(protocol, "connection"):  # set when the connection was made
                protocol.connection.close()


async def _stop(server: _GrpcServer) -> None:
    server.close()
    await server.wait_closed()
    server.hang_up()
    await asyncio.sleep(0)  # transports close in the loop's next round


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
