"""Runs containers: arguments, environment, mounts and Volumes, the process, and its end."""

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from modal_proto import api_pb2

from tests.fakemodal import packages, sandbox
from tests.fakemodal.images import image_environment
from tests.fakemodal.layout import layout
from tests.fakemodal.rpc import TASK_HEADER
from tests.fakemodal.state import FunctionRecord, State, TaskRecord, new_id
from tests.fakemodal.stores import Stores

ARGUMENTS = "/__modal/arguments.bin"


class Runner:
    """Starts and ends container processes; `on_end` is awaited once for each."""

    on_end: Callable[[TaskRecord, int], Coroutine[Any, Any, None]]

    def __init__(
        self,
        root: Path,
        state: State,
        stores: Stores,
        *,
        server_url: str,
        heartbeat_s: float,
        shared: Sequence[Path],
    ) -> None:
        self._root = root
        self._state = state
        self._stores = stores
        self._server_url = server_url
        self._heartbeat_s = heartbeat_s
        self._loop = asyncio.get_running_loop()
        self._shared = tuple(shared)

    def new_task(self, function: FunctionRecord) -> TaskRecord:
        """Register a container that is about to start."""
        task_id = new_id("ta")
        log = self._root / "logs" / f"{task_id}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        folder = self._root / "tasks" / task_id
        task = TaskRecord(task_id, function.function_id, function.version, folder, log)
        self._state.tasks[task_id] = task
        return task

    async def start(self, task: TaskRecord, function: FunctionRecord) -> None:
        """Lay out the container's files and start its process."""
        if task.killed_because or task.stopping:
            await self.on_end(task, 1)
            return
        self._write_arguments(task, function)
        binds = await asyncio.to_thread(self._lay_out, task, function.definition)
        environment = self._environment(task, function.definition)
        if task.killed_because:
            await self.on_end(task, 1)
            return
        task.started_at = time.time()
        task.process = sandbox.start(task.folder, binds, environment, log=task.log)
        threading.Thread(target=self._wait, args=(task,), daemon=True).start()

    def interrupt(self, task: TaskRecord, reason: str) -> None:
        """Send SIGINT to the container's main process, as a preemption does."""
        task.interrupted = True
        self._note(task, f"Runner interrupted: {reason}")
        if task.process is not None and not task.ended:
            task.process.send_signal(signal.SIGINT)

    def kill(self, task: TaskRecord, reason: str) -> None:
        """Send SIGKILL to the container's whole process group."""
        if task.ended or task.killed_because:
            return
        task.killed_because = reason
        self._note(task, f"Runner killed: {reason}")
        if task.process is not None:
            sandbox.kill(task.process)

    async def clean_up(self, task: TaskRecord, exit_code: int) -> None:
        """Commit (after a clean exit only) and remove what the container left."""
        if task.process is not None:
            sandbox.kill(task.process)
        clean = exit_code == 0 and not task.killed_because
        await asyncio.to_thread(self._stores.volumes.finish, task.task_id, commit=clean)
        await asyncio.to_thread(shutil.rmtree, task.folder, ignore_errors=True)

    def _lay_out(self, task: TaskRecord, definition: api_pb2.Function) -> list[sandbox.Bind]:
        image = task.folder / "image"
        (image / "root").mkdir(parents=True, exist_ok=True)
        packages.add_modal(image, self._state.images[definition.image_id].builder_version)
        self._stores.mounts.mount_files(definition.mount_ids, image)
        binds = [sandbox.Bind(path, f"/{path.name}") for path in sorted(image.iterdir())]
        binds += [sandbox.Bind(path, str(path)) for path in self._shared]
        for mount in definition.volume_mounts:
            copy = self._stores.volumes.working_copy(
                mount.volume_id,
                task.task_id,
                read_only=mount.read_only,
                sub_path=mount.sub_path,
            )
            binds.append(sandbox.Bind(copy, mount.mount_path, read_only=mount.read_only))
        for bucket in definition.cloud_bucket_mounts:
            folder = self._stores.bucket_folder(bucket.bucket_name, bucket.key_prefix)
            binds.append(sandbox.Bind(folder, bucket.mount_path, read_only=True))
        return binds

    def _write_arguments(self, task: TaskRecord, function: FunctionRecord) -> None:
        app = self._state.apps[function.app_id]
        arguments = api_pb2.ContainerArguments(
            task_id=task.task_id,
            function_id=function.function_id,
            app_id=app.app_id,
            function_def=function.definition,
            serialized_params=function.serialized_params,
            app_layout=layout(app, self._state, self._stores),
            environment_name="main",
        )
        path = task.folder / "image" / ARGUMENTS.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(arguments.SerializeToString())

    def _environment(self, task: TaskRecord, definition: api_pb2.Function) -> dict[str, str]:
        environment = image_environment(self._state, definition.image_id)
        environment |= self._stores.secrets.secret_env(definition.secret_ids)
        return environment | {
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONUNBUFFERED": "1",
            "MODAL_CONTAINER_ARGUMENTS_PATH": ARGUMENTS,
            "MODAL_SERVER_URL": self._server_url,
            "MODAL_IS_REMOTE": "1",
            "MODAL_TASK_ID": task.task_id,
            "MODAL_IMAGE_ID": definition.image_id,
            "MODAL_ENVIRONMENT": "main",
            "MODAL_REGION": "us-east-1",
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_AWS",
            "MODAL_OVERRIDE_HEADERS": f"{TASK_HEADER}:{task.task_id}",
            "MODAL_HEARTBEAT_INTERVAL": str(self._heartbeat_s),
            "MODAL_DISABLE_API_PROXY": "1",
            "MODAL_CONFIG_PATH": "/no/such/file",
        }

    def _wait(self, task: TaskRecord) -> None:
        assert task.process is not None
        exit_code = task.process.wait()

        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self.on_end(task, exit_code), self._loop)

    def _note(self, task: TaskRecord, line: str) -> None:
        descriptor = os.open(task.log, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)
