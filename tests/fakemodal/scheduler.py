"""Decides which input runs in which container, and what becomes of it when a container ends.

As Modal does: a failed or timed-out input of a spawn is retried here, by the function's policy,
one of a map or remote by the client; an input whose container was preempted, killed or crashed
starts again in a new one, which the policy does not count. In an ephemeral app an input that
crashes its container `crash_limit` times fails; a deployed app tries for ever.
"""

import asyncio
import time

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.fakemodal.runner import Runner
from tests.fakemodal.state import (
    STATUS,
    STATUS_NAMES,
    CallRecord,
    FunctionRecord,
    InputRecord,
    Knobs,
    State,
    TaskRecord,
)


class Scheduler:
    """Queues inputs, starts containers through `runner`, and takes what they report."""

    def __init__(self, state: State, knobs: Knobs, runner: Runner) -> None:
        self.state = state
        self.knobs = knobs
        self._runner = runner
        self._background: set[asyncio.Task[None]] = set()
        runner.on_end = self._ended

    def function(self, function_id: str) -> FunctionRecord:
        """Return a function, or refuse as Modal refuses an unknown id."""
        function = self.state.functions.get(function_id)
        if function is None:
            raise GRPCError(Status.NOT_FOUND, f"Function {function_id} not found")
        return function

    def enqueue(self, record: InputRecord, *, first: bool = False) -> None:
        """Queue an input and start a container when none is free for it."""
        function = self.state.functions[self.state.calls[record.call_id].function_id]
        record.status = "pending"
        if first:
            function.pending.appendleft(record)
        else:
            function.pending.append(record)
        self.fill(function)

    def fill(self, function: FunctionRecord) -> None:
        """Start as many containers as the queue needs and the limit allows."""
        if self.state.apps[function.app_id].state == "stopped":
            return
        live = self.state.live_tasks(function.function_id)
        single = function.definition.single_use_containers
        free = sum(
            not (t.stopping or t.killed_because or t.held or (single and t.served))
            and t.version == function.version
            for t in live
        )
        limit = (
            function.definition.autoscaler_settings.max_containers
            or function.definition.concurrency_limit
            or self.knobs.max_containers
        )
        for _ in range(min(len(function.pending) - free, limit - len(live))):
            task = self._runner.new_task(function)
            self._spawn(self._start(task, function))

    async def next_input(self, task: TaskRecord) -> InputRecord | None:
        """Wait for an input for this container; None tells it to end."""
        function = self.state.functions[task.function_id]
        loop = asyncio.get_running_loop()
        task.asked = True
        function.crashes = 0
        idle_s = min(function.definition.task_idle_timeout_secs or 60, self.knobs.idle_s)
        deadline = loop.time() + idle_s
        async with self.state.changed:
            while not (task.stopping or task.killed_because or task.version != function.version):
                if function.pending:
                    return self._deliver(task, function.pending.popleft())
                if loop.time() >= deadline and not task.held:
                    break
                rest_s = max(deadline - loop.time(), 0.05)
                try:
                    await asyncio.wait_for(self.state.changed.wait(), rest_s)
                except TimeoutError:
                    continue
        task.stopping = True
        self.fill(function)
        return None

    async def take_output(self, task: TaskRecord, item: api_pb2.FunctionPutOutputsItem) -> None:
        """Take what a container returned for an input; one it no longer holds is dropped."""
        record = task.held.pop(item.input_id, None)
        if record is not None:
            self._complete(record, item.result, task, data_format=item.data_format)
        await self.state.notify()

    async def fail_start(self, task: TaskRecord, result: api_pb2.GenericResult) -> None:
        """End every waiting input of a function that cannot start (its import failed)."""
        task.stopping = True
        failure = api_pb2.GenericResult()
        failure.CopyFrom(result)
        failure.status = STATUS.GENERIC_STATUS_INIT_FAILURE
        pending = self.state.functions[task.function_id].pending
        while pending:
            self._complete(pending.popleft(), failure, task)
        await self.state.notify()

    async def cancel(self, call: CallRecord, *, terminate_containers: bool) -> None:
        """Cancel a call: what waits ends now, what runs is told by its heartbeat or killed."""
        holders = {i: t for t in self.state.tasks.values() if not t.ended for i in t.held}
        for record in [r for r in call.inputs.values() if not r.done]:
            record.cancelled = True
            task = holders.get(record.input_id)
            if task is None:
                self._withdraw(record)
                self._complete(record, _terminated(), None)
            elif terminate_containers:
                task.held.pop(record.input_id)
                self._complete(record, _terminated(), task)
                self._runner.kill(task, "its call was cancelled")
            else:
                task.to_cancel.append(record.input_id)
        await self.state.notify()

    async def stop_app(self, app_id: str) -> None:
        """Stop an app: containers end (with a grace period where they work), inputs too."""
        app = self.state.apps[app_id]
        app.state, app.stopped_at = "stopped", time.time()
        for function in [f for f in self.state.functions.values() if f.app_id == app_id]:
            while function.pending:
                self._complete(function.pending.popleft(), _terminated(), None)
            for task in self.state.live_tasks(function.function_id):
                task.stopping = True
                if task.held:
                    self.interrupt(task, "its app was stopped")
                elif not task.asked:
                    self._runner.kill(task, "its app was stopped")
        await self.state.notify()

    def interrupt(self, task: TaskRecord, reason: str, *, grace_s: float | None = None) -> None:
        """Send SIGINT, and SIGKILL after the grace period."""
        task.stopping = True
        self._runner.interrupt(task, reason)
        seconds = self.knobs.stop_grace_s if grace_s is None else grace_s
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, self._runner.kill, task, f"{reason}; grace period over")

    async def _start(self, task: TaskRecord, function: FunctionRecord) -> None:
        await asyncio.sleep(self.knobs.start_delay_s)
        startup_s = function.definition.startup_timeout_secs or 300
        loop = asyncio.get_running_loop()
        try:
            await self._runner.start(task, function)
        except (GRPCError, OSError) as error:
            text = f"The container could not start: {error}"
            await self.fail_start(task, api_pb2.GenericResult(exception=text))
            await self._ended(task, 1)
            return
        loop.call_later(self.knobs.start_delay_s + startup_s, self._check_started, task)

    def _check_started(self, task: TaskRecord) -> None:
        if not task.asked and not task.ended:
            self._runner.kill(task, "it did not start within its startup_timeout")

    def _deliver(self, task: TaskRecord, record: InputRecord) -> InputRecord:
        record.status = "running"
        record.attempts += 1
        task.held[record.input_id] = record
        task.served += 1
        task.last_call_id = record.call_id
        task.deliveries.append((task.log.stat().st_size, record.call_id, record.input_id))
        timeout_s = self.state.functions[task.function_id].definition.timeout_secs or 300
        loop = asyncio.get_running_loop()
        loop.call_later(timeout_s, self._time_out, task, record, record.attempts)
        return record

    def _time_out(self, task: TaskRecord, record: InputRecord, attempt: int) -> None:
        if task.held.get(record.input_id) is not record or record.attempts != attempt:
            return
        del task.held[record.input_id]
        seconds = self.state.functions[task.function_id].definition.timeout_secs
        text = f"Task's current input {record.input_id} hit its timeout of {seconds}s"
        result = api_pb2.GenericResult(status=STATUS.GENERIC_STATUS_TIMEOUT, exception=text)
        self._complete(record, result, task)
        self._runner.kill(task, text)
        self._spawn(self.state.notify())

    def _complete(
        self,
        record: InputRecord,
        result: api_pb2.GenericResult,
        task: TaskRecord | None,
        *,
        data_format: int = 0,
    ) -> None:
        call = self.state.calls[record.call_id]
        if record.cancelled:
            result, data_format = _terminated(), 0
        if self._retry(record, call, result):
            return
        record.status = STATUS_NAMES.get(result.status, "failure")
        item = api_pb2.FunctionGetOutputsItem(
            result=result,
            idx=record.index,
            input_id=record.input_id,
            data_format=data_format,
            task_id=task.task_id if task else "",
            retry_count=record.retry_count,
        )
        call.num_outputs += 1
        call.outputs.append((call.num_outputs, item))

    def _retry(self, record: InputRecord, call: CallRecord, result: api_pb2.GenericResult) -> bool:
        policy = self.state.functions[call.function_id].definition.retry_policy
        failed = result.status in (STATUS.GENERIC_STATUS_FAILURE, STATUS.GENERIC_STATUS_TIMEOUT)
        if not failed or call.retried_by_client or record.retry_count >= policy.retries:
            return False
        delay_ms = policy.initial_delay_ms * (policy.backoff_coefficient or 1) ** record.retry_count
        record.retry_count += 1
        self._later(record, min(delay_ms, policy.max_delay_ms or 60_000) / 1000)
        return True

    def _later(self, record: InputRecord, delay_s: float) -> None:
        record.status = "retrying"

        def again() -> None:
            if record.status == "retrying":
                self.enqueue(record, first=True)
                self._spawn(self.state.notify())

        asyncio.get_running_loop().call_later(delay_s, again)

    def _withdraw(self, record: InputRecord) -> None:
        pending = self.state.functions[self.state.calls[record.call_id].function_id].pending
        if record in pending:
            pending.remove(record)

    async def _ended(self, task: TaskRecord, exit_code: int) -> None:
        """Clean up after a container and start what it held again."""
        function = self.state.functions[task.function_id]
        app = self.state.apps[function.app_id]
        await self._runner.clean_up(task, exit_code)
        task.ended = True
        held, task.held = list(task.held.values()), {}
        for record in held:
            crashed = not task.killed_because and not task.interrupted
            record.crashes += crashed
            if record.cancelled or app.state == "stopped":
                self._complete(record, _terminated(), task)
            elif app.state != "deployed" and record.crashes >= self.knobs.crash_limit:
                self._complete(record, _crash_loop(record, exit_code), task)
            elif crashed:
                self._later(record, min(0.1 * 2**record.crashes, 2.0))
            else:
                self.enqueue(record, first=True)
        if not task.asked and not task.stopping and not task.killed_because:
            function.crashes += 1
            if function.crashes >= self.knobs.crash_limit:
                text = f"Container exited with code {exit_code} before it asked for work"
                await self.fail_start(task, api_pb2.GenericResult(exception=text))
        self.fill(function)
        await self.state.notify()

    def _spawn(self, coroutine: "asyncio.Future[None] | object") -> None:
        background = asyncio.ensure_future(coroutine)  # type: ignore[arg-type]
        self._background.add(background)
        background.add_done_callback(self._background.discard)


def _terminated() -> api_pb2.GenericResult:
    text = "Input was cancelled by user"
    return api_pb2.GenericResult(status=STATUS.GENERIC_STATUS_TERMINATED, exception=text)


def _crash_loop(record: InputRecord, exit_code: int) -> api_pb2.GenericResult:
    text = f"Container exited with code {exit_code} in {record.crashes} attempts at this input"
    return api_pb2.GenericResult(status=STATUS.GENERIC_STATUS_FAILURE, exception=text)
