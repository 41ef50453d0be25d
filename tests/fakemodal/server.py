"""`FakeModal`: a loopback Modal in a thread of this process, containers as real processes.

It speaks the gRPC protocol that the unmodified modal client and its container entrypoint expect.
What it cannot tell about the real service is listed in `docs/modal.md`.
"""

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from tests.fakemodal import sandbox, views
from tests.fakemodal.client import connected
from tests.fakemodal.control import Control
from tests.fakemodal.options import options_of
from tests.fakemodal.state import Knobs, State
from tests.fakemodal.stores import Stores

T = TypeVar("T")
_LOOP_S = 60.0


class _Knob:
    """An attribute that is kept in `knobs`, where the server reads it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, fake: "FakeModal", owner: type | None = None) -> Any:
        return getattr(fake.knobs, self._name)

    def __set__(self, fake: "FakeModal", value: Any) -> None:
        setattr(fake.knobs, self._name, value)


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

    start_delay_s = _Knob()  # how much longer every container takes to start
    fail_image = _Knob()  # the text with which image builds fail, None when they succeed
    offline = _Knob()  # clients get UNAVAILABLE, containers go on

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
        self._given = {
            "buckets": dict(buckets or {}),
            "secrets": {name: dict(values) for name, values in (secrets or {}).items()},
            "shared": tuple(shared),
        }
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._control: Control

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
            self._on_loop(self._control.close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def connected(self) -> AbstractContextManager[None]:
        """Point the modal client of this process here while the context lasts."""
        return connected(self.environment)

    @property
    def stores(self) -> Stores:
        return self._control.stores

    @property
    def rates(self) -> dict[str, str] | None:
        return self.stores.rates

    @rates.setter
    def rates(self, value: dict[str, str] | None) -> None:
        self.stores.rates = value

    def apps(self) -> list[views.App]:
        """Return every app that was made, the oldest first."""
        return views.apps_of(self._state)

    def calls(self) -> list[views.Call]:
        """Return every function call, the oldest first."""
        return views.calls_of(self._state)

    def containers(self) -> list[views.Container]:
        """Return every container, the oldest first, ended ones too."""
        return views.containers_of(self._state)

    def preempt(self, task_id: str, grace_s: float = 5.0) -> None:
        """Interrupt a container as a preemption does; its input starts again in another."""
        task = self._state.tasks[task_id]

        async def interrupt() -> None:
            reason = "worker preemption; its input will be restarted"
            self._control.scheduler.interrupt(task, reason, grace_s=grace_s)

        self._on_loop(interrupt())

    def kill(self, task_id: str) -> None:
        """Kill a container without warning; what it had not committed is lost."""
        task = self._state.tasks[task_id]

        async def kill() -> None:
            self._control.runner.kill(task, "lost")

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

    def wait_until(self, condition: Callable[[], T], timeout_s: float = 60.0) -> T:
        """Poll until `condition` is true and return its value; fail after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"still not so after {timeout_s} s: {self.calls()}")
            time.sleep(0.05)
        return value

    @property
    def _state(self) -> State:
        return self._control.state

    def _on_loop(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_LOOP_S)

    async def _open(self) -> None:
        self._control = Control(self.root, self.knobs)
        self.environment = {
            "MODAL_SERVER_URL": await self._control.open(self.rpcs, **self._given),
            "MODAL_TOKEN_ID": "ak-fake",
            "MODAL_TOKEN_SECRET": "as-fake",
            "MODAL_CONFIG_PATH": os.fspath(self.root / "no-modal.toml"),
            "MODAL_DISABLE_API_PROXY": "1",
        }
