"""The server's inside: all RPC handlers, and their start and end in the server's event loop."""

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.fakemodal.apps import AppRpcs
from tests.fakemodal.billing import BillingRpcs
from tests.fakemodal.blobs import BlobRpcs, BlobServer
from tests.fakemodal.calls import CallRpcs
from tests.fakemodal.container_rpcs import ContainerRpcs
from tests.fakemodal.dicts import DictRpcs
from tests.fakemodal.functions import FunctionRpcs
from tests.fakemodal.images import ImageRpcs
from tests.fakemodal.logs import LogBook, LogRpcs
from tests.fakemodal.mounts import MountRpcs
from tests.fakemodal.rpc import GrpcServer, Servable, task_of
from tests.fakemodal.runner import Runner
from tests.fakemodal.scheduler import Scheduler
from tests.fakemodal.secrets import SecretRpcs
from tests.fakemodal.state import Knobs, State
from tests.fakemodal.stores import Stores
from tests.fakemodal.volume_rpcs import VolumeRpcs


class Control(
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
    """Every RPC handler over one state; made, opened and closed in one event loop."""

    def __init__(self, root: Path, knobs: Knobs) -> None:
        self.root = root
        self.knobs = knobs
        self.state = State()
        self.logs = LogBook(self.state)
        self._closing: list[Callable[[], Any]] = []

    def task_of(self, stream: Any) -> str | None:
        return task_of(stream)

    async def open(
        self,
        rpcs: Counter[str],
        *,
        secrets: Mapping[str, Mapping[str, str]],
        buckets: Mapping[str, Path],
        shared: Sequence[Path],
    ) -> str:
        """Start serving and return the address for clients."""
        # A killed container's open requests are no news.
        logging.getLogger("grpclib.server").setLevel(logging.WARNING)
        blobs = BlobServer(self.root)
        self.stores = Stores(self.root, await blobs.start(), secrets, buckets)
        self._closing.append(blobs.stop)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.runner = Runner(
            self.root,
            self.state,
            self.stores,
            server_url=url,
            heartbeat_s=self.knobs.heartbeat_s,
            shared=shared,
        )
        self.scheduler = Scheduler(self.state, self.knobs, self.runner)
        server = GrpcServer([Servable(self, rpcs, self.knobs)])
        await server.start(sock=listener)
        self._closing.append(server.hang_up)
        self._watcher = asyncio.create_task(self._watch_clients())
        self._closing.append(self._kill_all)
        return url

    async def close(self) -> None:
        """Kill every container and stop serving."""
        while self._closing:
            await self._closing.pop()()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()

    async def _kill_all(self) -> None:
        for app in self.state.apps.values():
            app.state = "stopped"
        for task in self.state.tasks.values():
            self.runner.kill(task, "the loopback Modal ends")
        while any(task.process and not task.ended for task in self.state.tasks.values()):
            await asyncio.sleep(0.01)

    async def _watch_clients(self) -> None:
        """Stop ephemeral apps whose client no longer sends heartbeats."""
        while True:
            await asyncio.sleep(0.5)
            for app in list(self.state.apps.values()):
                allowed_s = self.knobs.client_timeout_s
                if app.beats > 1:
                    allowed_s = min(allowed_s, 5 * app.beat_interval_s + 2)
                silent_s = time.monotonic() - app.last_beat
                if app.state in ("ephemeral", "initializing") and silent_s > allowed_s:
                    await self.scheduler.stop_app(app.app_id)
