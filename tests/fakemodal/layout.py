"""How functions and apps are described to clients and containers."""

from modal_proto import api_pb2

from tests.fakemodal.state import AppRecord, FunctionRecord, State
from tests.fakemodal.stores import Stores


def handle_metadata(function: FunctionRecord) -> api_pb2.FunctionHandleMetadata:
    """Return what the client keeps of a function."""
    return api_pb2.FunctionHandleMetadata(
        app_id=function.app_id,
        function_name=function.name,
        function_type=function.definition.function_type,
        is_method=function.definition.is_method,
        definition_id=f"de-{function.function_id[3:]}-{function.version}",
        function_schema=function.schema,
        supported_input_formats=function.input_formats,
        supported_output_formats=function.output_formats,
        base_function_id=function.base_function_id,
    )


def layout(app: AppRecord, state: State, stores: Stores) -> api_pb2.AppLayout:
    """Return an app's functions and everything that they depend on, with their metadata."""
    functions = [f for f in state.functions.values() if f.app_id == app.app_id]
    objects = {
        f.function_id: api_pb2.Object(
            object_id=f.function_id, function_handle_metadata=handle_metadata(f)
        )
        for f in functions
    }
    for function in functions:
        for dependency in function.definition.object_dependencies:
            found = api_pb2.Object(object_id=dependency.object_id)
            if dependency.object_id.startswith("vo-"):
                volume = stores.volumes.get(dependency.object_id)
                found.volume_metadata.CopyFrom(volume.metadata())
            objects.setdefault(dependency.object_id, found)
    return api_pb2.AppLayout(
        objects=list(objects.values()),
        function_ids=app.function_ids or {f.name: f.function_id for f in functions},
        class_ids=app.class_ids,
    )
