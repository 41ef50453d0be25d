"""RPCs of function calls, as a client sees them: put inputs, get outputs, retry, cancel."""

import asyncio
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.fakemodal import tokens
from tests.fakemodal.scheduler import Scheduler
from tests.fakemodal.state import CallRecord, InputRecord, State, new_id

_OUTSTANDING = 1000


class CallRpcs:
    """Needs `state` and `scheduler`."""

    state: State
    scheduler: Scheduler

    async def FunctionMap(self, stream: Any) -> None:
        request = await stream.recv_message()
        function = self.scheduler.function(request.function_id)
        if self.state.app_of(function.function_id).state == "stopped":
            raise GRPCError(Status.FAILED_PRECONDITION, f"App {function.app_id} is stopped")
        call = CallRecord(new_id("fc"), function.function_id, request.function_call_invocation_type)
        self.state.calls[call.call_id] = call
        items = await self._add(call, request.pipelined_inputs)
        await stream.send_message(
            api_pb2.FunctionMapResponse(
                function_call_id=call.call_id,
                pipelined_inputs=items,
                retry_policy=function.definition.retry_policy,
                function_call_jwt=tokens.encode({"call": call.call_id}),
                sync_client_retries_enabled=True,
                max_inputs_outstanding=_OUTSTANDING,
            )
        )

    async def FunctionPutInputs(self, stream: Any) -> None:
        request = await stream.recv_message()
        items = await self._add(self._call(request.function_call_id), request.inputs)
        await stream.send_message(api_pb2.FunctionPutInputsResponse(inputs=items))

    async def FunctionFinishInputs(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(Empty())

    async def FunctionRetryInputs(self, stream: Any) -> None:
        request = await stream.recv_message()
        renewed = []
        for item in request.inputs:
            record = self.state.inputs[tokens.decode(item.input_jwt)["input"]]
            call = self.state.calls[record.call_id]
            call.outputs = [o for o in call.outputs if o[1].input_id != record.input_id]
            record.message, record.retry_count = item.input, item.retry_count
            self.scheduler.enqueue(record)
            renewed.append(_token(record))
        await self.state.notify()
        await stream.send_message(api_pb2.FunctionRetryInputsResponse(input_jwts=renewed))

    async def FunctionGetOutputs(self, stream: Any) -> None:
        request = await stream.recv_message()
        call = self._call(request.function_call_id)
        deadline = asyncio.get_running_loop().time() + request.timeout
        async with self.state.changed:
            while not (found := _outputs(call, request)):
                rest_s = deadline - asyncio.get_running_loop().time()
                if rest_s <= 0:
                    break
                try:
                    await asyncio.wait_for(self.state.changed.wait(), rest_s)
                except TimeoutError:
                    break
        response = api_pb2.FunctionGetOutputsResponse(
            idxs=[item.idx for _, item in found],
            outputs=[item for _, item in found],
            last_entry_id=f"{found[-1][0]}-0" if found else request.last_entry_id,
            num_unfinished_inputs=sum(not record.done for record in call.inputs.values()),
        )
        if request.clear_on_success:
            call.outputs = [pair for pair in call.outputs if pair not in found]
        await stream.send_message(response)

    async def FunctionCallFromId(self, stream: Any) -> None:
        request = await stream.recv_message()
        call = self._call(request.function_call_id)
        response = api_pb2.FunctionCallFromIdResponse(
            function_call_id=call.call_id, num_inputs=len(call.inputs)
        )
        response.metadata.function_id = call.function_id
        response.metadata.app_id = self.state.functions[call.function_id].app_id
        await stream.send_message(response)

    async def FunctionCallGetInfo(self, stream: Any) -> None:
        request = await stream.recv_message()
        call = self._call(request.function_call_id)
        info = api_pb2.FunctionCallInfo(
            function_call_id=call.call_id,
            created_at=call.created_at,
            total_inputs=len(call.inputs),
        )
        counters = {
            "success": info.succeeded_inputs,
            "failure": info.failed_inputs,
            "init_failure": info.failed_inputs,
            "timeout": info.timeout_inputs,
            "terminated": info.cancelled_inputs,
        }
        for record in call.inputs.values():
            counters.get(record.status, info.pending_inputs).total += 1
        await stream.send_message(api_pb2.FunctionCallGetInfoResponse(info=info))

    async def FunctionCallCancel(self, stream: Any) -> None:
        request = await stream.recv_message()
        await self.scheduler.cancel(
            self._call(request.function_call_id),
            terminate_containers=request.terminate_containers,
        )
        await stream.send_message(Empty())

    async def _add(
        self, call: CallRecord, items: Any
    ) -> list[api_pb2.FunctionPutInputsResponseItem]:
        replies = []
        for item in items:
            record = InputRecord(new_id("in"), call.call_id, item.idx, item.input)
            self.state.payloads.append(item.input.args)
            call.inputs[record.input_id] = record
            self.state.inputs[record.input_id] = record
            self.scheduler.enqueue(record)
            replies.append(
                api_pb2.FunctionPutInputsResponseItem(
                    idx=item.idx, input_id=record.input_id, input_jwt=_token(record)
                )
            )
        await self.state.notify()
        return replies

    def _call(self, call_id: str) -> CallRecord:
        call = self.state.calls.get(call_id)
        if call is None:
            raise GRPCError(Status.NOT_FOUND, f"FunctionCall {call_id} not found")
        return call


def _token(record: InputRecord) -> str:
    claims = {"idx": record.index, "input": record.input_id, "retry": record.retry_count}
    return tokens.encode(claims)


def _outputs(
    call: CallRecord, request: api_pb2.FunctionGetOutputsRequest
) -> list[tuple[int, api_pb2.FunctionGetOutputsItem]]:
    if call.expired:
        return []
    after = int((request.last_entry_id or "0-0").split("-")[0])
    first = request.start_idx if request.HasField("start_idx") else 0
    last = request.end_idx if request.HasField("end_idx") else max(len(call.inputs), 1) - 1
    return [pair for pair in call.outputs if pair[0] > after and first <= pair[1].idx <= last]
