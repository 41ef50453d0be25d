"""Container logs: one file each, read on demand, every line attributed to a call.

A line belongs to the input that was handed out last before the line's place in the file.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any

from modal_proto import api_pb2

from tests.fakemodal.state import State, TaskRecord


@dataclass(frozen=True)
class Line:
    """One line of a container's log; its number in the book is its entry id."""

    task_id: str
    function_id: str
    app_id: str
    call_id: str
    input_id: str
    text: str
    timestamp: float


class LogBook:
    """All lines of all containers in the order in which they were read."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._read: dict[str, int] = {}
        self.lines: list[Line] = []

    def refresh(self) -> list[Line]:
        """Read what the containers wrote since; a half line waits until its container ended."""
        for task in self._state.tasks.values():
            start = self._read.get(task.task_id, 0)
            with task.log.open("rb") as file:
                file.seek(start)
                data = file.read()
                written_at = os.fstat(file.fileno()).st_mtime
            if not task.ended:
                data = data[: data.rfind(b"\n") + 1]
            self._read[task.task_id] = start + len(data)
            for text in data.splitlines(keepends=True):
                self.lines.append(self._line(task, start, text, written_at))
                start += len(text)
        return self.lines

    def _line(self, task: TaskRecord, offset: int, text: bytes, written_at: float) -> Line:
        app_id = self._state.functions[task.function_id].app_id
        before = [d for d in task.deliveries if d[0] <= offset] or [(0, "", "")]
        _, call_id, input_id = before[-1]
        decoded = text.decode(errors="replace")
        return Line(task.task_id, task.function_id, app_id, call_id, input_id, decoded, written_at)


class LogRpcs:
    """AppGetLogs (follows) and AppFetchLogs (what is there); needs `state` and `logs`."""

    state: State
    logs: LogBook

    async def AppGetLogs(self, stream: Any) -> None:
        request = await stream.recv_message()
        number = int((request.last_entry_id or "0-0").split("-")[0])
        deadline = time.monotonic() + request.timeout
        while True:
            over = self._is_over(request.app_id)
            lines = self.logs.refresh()
            while number < len(lines):
                line, number = lines[number], number + 1
                if _wanted(line, request):
                    await stream.send_message(_batch(line, f"{number}-0"))
            if over:
                await stream.send_message(api_pb2.TaskLogsBatch(app_done=True))
                return
            if time.monotonic() >= deadline:
                return
            await asyncio.sleep(0.1)

    async def AppFetchLogs(self, stream: Any) -> None:
        request = await stream.recv_message()
        first = request.since.ToNanoseconds() / 1e9
        last = request.until.ToNanoseconds() / 1e9 or float("inf")
        lines = [
            line
            for line in self.logs.refresh()
            if _wanted(line, request)
            and first <= line.timestamp <= last
            and request.search_text in line.text
        ]
        batches = [_batch(line, "") for line in lines[-(request.limit or len(lines)) :]]
        await stream.send_message(api_pb2.AppFetchLogsResponse(batches=batches))

    def _is_over(self, app_id: str) -> bool:
        app = self.state.apps.get(app_id)
        tasks = (t for t in self.state.tasks.values() if not t.ended)
        alive = any(self.state.functions[t.function_id].app_id == app_id for t in tasks)
        return app is not None and app.state == "stopped" and not alive


def _wanted(line: Line, request: Any) -> bool:
    pairs = (
        (request.app_id, line.app_id),
        (request.function_id, line.function_id),
        (request.function_call_id, line.call_id),
        (request.task_id, line.task_id),
    )
    return all(asked in ("", value) for asked, value in pairs)


def _batch(line: Line, entry_id: str) -> api_pb2.TaskLogsBatch:
    item = api_pb2.TaskLogs(
        data=line.text,
        timestamp=line.timestamp,
        file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT,
        function_call_id=line.call_id,
        input_id=line.input_id,
        container_id=line.task_id,
    )
    return api_pb2.TaskLogsBatch(
        task_id=line.task_id,
        items=[item],
        entry_id=entry_id,
        function_id=line.function_id,
        input_id=line.input_id,
    )
