"""RPCs that containers send: heartbeats, inputs, outputs, a failed import, stopping."""

from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.fakemodal.scheduler import Scheduler
from tests.fakemodal.state import State, TaskRecord


class ContainerRpcs:
    """Needs `state`, `scheduler` and `task_of`."""

    state: State
    scheduler: Scheduler

    async def ContainerHello(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(Empty())

    async def ContainerHeartbeat(self, stream: Any) -> None:
        await stream.recv_message()
        task = self._task(stream)
        response = api_pb2.ContainerHeartbeatResponse()
        if task.to_cancel:
            response.cancel_input_event.input_ids.extend(task.to_cancel)
            task.to_cancel.clear()
        await stream.send_message(response)

    async def FunctionGetInputs(self, stream: Any) -> None:
        await stream.recv_message()
        task = self._task(stream)
        record = await self.scheduler.next_input(task)
        item = api_pb2.FunctionGetInputsItem(kill_switch=True)
        if record is not None:
            call = self.state.calls[record.call_id]
            item = api_pb2.FunctionGetInputsItem(
                input_id=record.input_id,
                input=record.message,
                function_call_id=record.call_id,
                function_call_invocation_type=call.invocation,
                retry_count=record.retry_count,
                function_map_idx=record.index,
            )
        await stream.send_message(api_pb2.FunctionGetInputsResponse(inputs=[item]))

    async def FunctionPutOutputs(self, stream: Any) -> None:
        request = await stream.recv_message()
        task = self._task(stream)
        for item in request.outputs:
            await self.scheduler.take_output(task, item)
        await stream.send_message(Empty())

    async def TaskResult(self, stream: Any) -> None:
        request = await stream.recv_message()
        await self.scheduler.fail_start(self._task(stream), request.result)
        await stream.send_message(Empty())

    async def ContainerStop(self, stream: Any) -> None:
        request = await stream.recv_message()
        task = self.state.tasks.get(request.task_id)
        if task is None:
            raise GRPCError(Status.NOT_FOUND, f"Container {request.task_id} not found")
        task.stopping = True
        if not request.graceful:
            self.scheduler.interrupt(task, "stopped by a client")
        await self.state.notify()
        await stream.send_message(api_pb2.ContainerStopResponse())

    async def TaskList(self, stream: Any) -> None:
        request = await stream.recv_message()
        tasks = [
            api_pb2.TaskStats(
                task_id=task.task_id,
                app_id=app.app_id,
                app_description=app.name,
                started_at=task.started_at,
                enqueued_at=task.enqueued_at,
            )
            for task in self.state.tasks.values()
            if not task.ended
            and (app := self.state.app_of(task.function_id))
            and request.app_id in ("", app.app_id)
        ]
        await stream.send_message(api_pb2.TaskListResponse(tasks=tasks))

    def _task(self, stream: Any) -> TaskRecord:
        task = self.state.tasks.get(self.task_of(stream) or "")
        if task is None:
            raise GRPCError(Status.PERMISSION_DENIED, "only a container may call this")
        return task

    def task_of(self, stream: Any) -> str | None:
        raise NotImplementedError
