"""What the loopback Modal remembers: apps, functions, calls, their inputs, and containers.

Plain mutable records, changed only in the server's event loop. Ids carry Modal's prefixes
(ap-, fu-, fc-, in-, ta-, im-), which the client checks.
"""

import asyncio
import secrets
import subprocess
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from modal_proto import api_pb2

STATUS = api_pb2.GenericResult
STATUS_NAMES = {
    STATUS.GENERIC_STATUS_SUCCESS: "success",
    STATUS.GENERIC_STATUS_FAILURE: "failure",
    STATUS.GENERIC_STATUS_TERMINATED: "terminated",
    STATUS.GENERIC_STATUS_TIMEOUT: "timeout",
    STATUS.GENERIC_STATUS_INIT_FAILURE: "init_failure",
    STATUS.GENERIC_STATUS_INTERNAL_FAILURE: "failure",
}


def new_id(prefix: str) -> str:
    """Return a fresh id like `ap-Xy12...`, 22 letters and digits as Modal's are."""
    return f"{prefix}-{secrets.token_hex(11)}"


@dataclass
class Knobs:
    """What a test may set at any time."""

    heartbeat_s: float = 1.0
    start_delay_s: float = 0.0
    fail_image: str | None = None
    offline: bool = False
    idle_s: float = 2.0  # how long a container without work waits for more
    max_containers: int = 4  # of a function that does not say
    crash_limit: int = 5
    stop_grace_s: float = 3.0
    client_timeout_s: float = 45.0  # an ephemeral app's client that has sent one heartbeat


@dataclass
class AppRecord:
    """One App; `state` is "initializing", "ephemeral", "detached", "deployed" or "stopped"."""

    app_id: str
    name: str
    state: str
    intended: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    function_ids: dict[str, str] = field(default_factory=dict)
    class_ids: dict[str, str] = field(default_factory=dict)
    version: int = 0
    created_at: float = field(default_factory=time.time)
    deployed_at: float = 0.0
    stopped_at: float = 0.0
    last_beat: float = field(default_factory=time.monotonic)
    beat_interval_s: float = 0.0
    beats: int = 0


@dataclass
class FunctionRecord:
    """One function, or a variant of one (`with_options`): its definition and its queue."""

    function_id: str
    app_id: str
    name: str
    definition: api_pb2.Function = field(default_factory=api_pb2.Function)
    data: api_pb2.FunctionData = field(default_factory=api_pb2.FunctionData)
    schema: api_pb2.FunctionSchema = field(default_factory=api_pb2.FunctionSchema)
    input_formats: list[int] = field(default_factory=list)
    output_formats: list[int] = field(default_factory=list)
    serialized_params: bytes = b""
    base_function_id: str = ""
    bind_key: bytes = b""
    version: int = 0
    crashes: int = 0
    pending: deque["InputRecord"] = field(default_factory=deque)


@dataclass
class InputRecord:
    """One input of a call; `retry_count` counts what the retry policy allowed, not restarts."""

    input_id: str
    call_id: str
    index: int
    message: api_pb2.FunctionInput
    retry_count: int = 0
    attempts: int = 0
    crashes: int = 0
    delay_s: float = 0.0
    status: str = "pending"
    cancelled: bool = False

    @property
    def done(self) -> bool:
        return self.status not in ("pending", "running", "retrying")


@dataclass
class CallRecord:
    """One function call: a spawn, a remote, or a whole map."""

    call_id: str
    function_id: str
    invocation: int
    inputs: dict[str, InputRecord] = field(default_factory=dict)
    outputs: list[tuple[int, api_pb2.FunctionGetOutputsItem]] = field(default_factory=list)
    num_outputs: int = 0
    expired: bool = False
    created_at: float = field(default_factory=time.time)

    @property
    def retried_by_client(self) -> bool:
        return self.invocation == api_pb2.FUNCTION_CALL_INVOCATION_TYPE_SYNC


@dataclass
class TaskRecord:
    """One container: its process, the inputs it holds, and why it is being ended."""

    task_id: str
    function_id: str
    version: int
    folder: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = field(default_factory=time.time)
    enqueued_at: float = field(default_factory=time.time)
    asked: bool = False  # it has asked for an input at least once
    served: int = 0
    waiting: int = 0  # how many of its requests for an input are open
    stopping: bool = False  # no more inputs, it ends by itself
    killed_because: str = ""
    interrupted: bool = False
    ended: bool = False
    last_call_id: str = ""
    held: dict[str, InputRecord] = field(default_factory=dict)
    to_cancel: list[str] = field(default_factory=list)
    deliveries: list[tuple[int, str, str]] = field(default_factory=list)  # log offset, call, input


@dataclass
class ImageRecord:
    """One image layer: its commands are recorded, nothing is built."""

    image_id: str
    message: api_pb2.Image
    builder_version: str
    log: str = ""
    built: bool = True


class State:
    """Everything, plus one condition that is notified at every change."""

    def __init__(self) -> None:
        self.apps: dict[str, AppRecord] = {}
        self.functions: dict[str, FunctionRecord] = {}
        self.calls: dict[str, CallRecord] = {}
        self.inputs: dict[str, InputRecord] = {}
        self.tasks: dict[str, TaskRecord] = {}
        self.images: dict[str, ImageRecord] = {}
        self.payloads: list[bytes] = []
        self.changed = asyncio.Condition()

    def app_of(self, function_id: str) -> AppRecord:
        return self.apps[self.functions[function_id].app_id]

    def live_tasks(self, function_id: str) -> list[TaskRecord]:
        return [t for t in self.tasks.values() if t.function_id == function_id and not t.ended]

    async def notify(self) -> None:
        """Wake whoever waits for an output, an input or the end of a container."""
        async with self.changed:
            self.changed.notify_all()
