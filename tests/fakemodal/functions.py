"""RPCs that define and look up functions, and what a definition asked for, in plain words."""

import copy
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.fakemodal.apps import find_deployed
from tests.fakemodal.layout import handle_metadata
from tests.fakemodal.scheduler import Scheduler
from tests.fakemodal.state import FunctionRecord, State, new_id

KNOWN_GPUS = (
    "T4 L4 A10 A10G L40S A100 A100-40GB A100-80GB RTX-PRO-6000 H100 H100! H200 B200 B200+ B300"
).split()
_SHARED_FIELDS = (
    "module_name function_name implementation_name function_type timeout_secs startup_timeout_secs "
    "concurrency_limit task_idle_timeout_secs warm_pool_size is_class is_method"
).split()


class FunctionRpcs:
    """Needs `state` and `scheduler`."""

    state: State
    scheduler: Scheduler

    async def FunctionPrecreate(self, stream: Any) -> None:
        request = await stream.recv_message()
        function = self.state.functions.get(request.existing_function_id)
        if function is None:
            function = FunctionRecord(new_id("fu"), request.app_id, request.function_name)
            self.state.functions[function.function_id] = function
        function.definition.function_name = request.function_name
        function.definition.function_type = request.function_type
        function.schema = request.function_schema
        function.input_formats = list(request.supported_input_formats)
        function.output_formats = list(request.supported_output_formats)
        await stream.send_message(
            api_pb2.FunctionPrecreateResponse(
                function_id=function.function_id, handle_metadata=handle_metadata(function)
            )
        )

    async def FunctionCreate(self, stream: Any) -> None:
        request = await stream.recv_message()
        function = self.state.functions.get(request.existing_function_id)
        if function is None:
            name = request.function.function_name or request.function_data.function_name
            function = FunctionRecord(new_id("fu"), request.app_id, name)
            self.state.functions[function.function_id] = function
        before = function.data.SerializeToString(deterministic=True)
        if request.HasField("function_data"):
            function.data = request.function_data
            function.definition = request.function_data.ranked_functions[0].function
        else:
            function.definition = request.function
            function.data = _data(request.function)
        for ranked in function.data.ranked_functions:
            _check_gpu(ranked.function.resources.gpu_config)
        # An unchanged function keeps its containers when its app is deployed again.
        function.version += function.data.SerializeToString(deterministic=True) != before
        function.crashes = 0
        self.state.payloads.append(request.SerializeToString())
        await stream.send_message(
            api_pb2.FunctionCreateResponse(
                function_id=function.function_id,
                function=function.definition,
                function_data=function.data,
                handle_metadata=handle_metadata(function),
            )
        )

    async def FunctionGet(self, stream: Any) -> None:
        request = await stream.recv_message()
        app = find_deployed(self.state, request.app_name)
        if app is None:
            text = f"App '{request.app_name}' not found in environment 'main'"
            raise GRPCError(Status.NOT_FOUND, text)
        function_id = app.function_ids.get(request.object_tag)
        if function_id is None:
            text = f"App '{request.app_name}' has no Function '{request.object_tag}'"
            raise GRPCError(Status.NOT_FOUND, text)
        function = self.state.functions[function_id]
        await stream.send_message(
            api_pb2.FunctionGetResponse(
                function_id=function_id,
                handle_metadata=handle_metadata(function),
                function=function.data,
            )
        )

    async def FunctionGetById(self, stream: Any) -> None:
        request = await stream.recv_message()
        function = self.scheduler.function(request.function_id)
        await stream.send_message(
            api_pb2.FunctionGetByIdResponse(
                handle_metadata=handle_metadata(function), function=function.data
            )
        )

    async def FunctionBindParams(self, stream: Any) -> None:
        request = await stream.recv_message()
        base = self.scheduler.function(request.function_id)
        key = f"{base.version}:".encode() + request.SerializeToString(deterministic=True)
        known = (f for f in self.state.functions.values() if f.bind_key == key)
        function = next(known, None) or self._bind(base, request, key)
        await stream.send_message(
            api_pb2.FunctionBindParamsResponse(
                bound_function_id=function.function_id, handle_metadata=handle_metadata(function)
            )
        )

    async def FunctionGetCurrentStats(self, stream: Any) -> None:
        request = await stream.recv_message()
        function = self.scheduler.function(request.function_id)
        tasks = self.state.live_tasks(function.function_id)
        await stream.send_message(
            api_pb2.FunctionStats(
                backlog=len(function.pending),
                num_total_tasks=len(tasks),
                num_running_inputs=sum(len(task.held) for task in tasks),
            )
        )

    def _bind(
        self, base: FunctionRecord, request: api_pb2.FunctionBindParamsRequest, key: bytes
    ) -> FunctionRecord:
        function = copy.copy(base)
        function.function_id = new_id("fu")
        function.base_function_id = base.function_id
        function.bind_key = key
        function.serialized_params = request.serialized_params
        function.pending = type(base.pending)()
        function.definition = _with_options(base.definition, request.function_options)
        function.data = _data(function.definition)
        _check_gpu(function.definition.resources.gpu_config)
        self.state.functions[function.function_id] = function
        return function


def _check_gpu(gpu: api_pb2.GPUConfig) -> None:
    if gpu.gpu_type and gpu.gpu_type not in KNOWN_GPUS:
        text = f"Unknown GPU type: {gpu.gpu_type!r}. Known GPU types: {', '.join(KNOWN_GPUS)}"
        raise GRPCError(Status.INVALID_ARGUMENT, text)
    most = 4 if gpu.gpu_type in ("A10", "A10G") else 8
    if gpu.count > most:
        text = f"{gpu.gpu_type}:{gpu.count} asks for more than {most} GPUs in one container"
        raise GRPCError(Status.INVALID_ARGUMENT, text)


def _data(definition: api_pb2.Function) -> api_pb2.FunctionData:
    # The client refuses a FunctionData without ranked functions.
    data = api_pb2.FunctionData(
        ranked_functions=[api_pb2.FunctionData.RankedFunction(rank=0, function=definition)]
    )
    for name in _SHARED_FIELDS:
        setattr(data, name, getattr(definition, name))
    data.autoscaler_settings.CopyFrom(definition.autoscaler_settings)
    return data


def _with_options(
    definition: api_pb2.Function, options: api_pb2.FunctionOptions
) -> api_pb2.Function:
    merged = api_pb2.Function()
    merged.CopyFrom(definition)
    if options.HasField("resources"):
        merged.resources.MergeFrom(options.resources)
    if options.HasField("retry_policy"):
        merged.retry_policy.CopyFrom(options.retry_policy)
    if options.HasField("timeout_secs"):
        merged.timeout_secs = options.timeout_secs
    if options.HasField("concurrency_limit"):
        merged.concurrency_limit = options.concurrency_limit
        merged.autoscaler_settings.max_containers = options.concurrency_limit
    if options.HasField("task_idle_timeout_secs"):
        merged.task_idle_timeout_secs = options.task_idle_timeout_secs
    for replace, name in (
        (options.replace_secret_ids, "secret_ids"),
        (options.replace_volume_mounts, "volume_mounts"),
        (options.replace_cloud_bucket_mounts, "cloud_bucket_mounts"),
    ):
        if replace:
            merged.ClearField(name)
            getattr(merged, name).extend(getattr(options, name))
    return merged
