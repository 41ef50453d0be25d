"""RPCs of apps and environments: create, publish, look up, list, stop, heartbeats."""

import time
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.fakemodal.layout import layout
from tests.fakemodal.scheduler import Scheduler
from tests.fakemodal.state import AppRecord, State, new_id
from tests.fakemodal.stores import Stores

BUILDER_VERSION = "2025.06"
_STATES = {
    api_pb2.APP_STATE_EPHEMERAL: "ephemeral",
    api_pb2.APP_STATE_DETACHED: "detached",
    api_pb2.APP_STATE_DEPLOYED: "deployed",
    api_pb2.APP_STATE_INITIALIZING: "initializing",
}
_NUMBERS = {name: number for number, name in _STATES.items()} | {
    "stopped": api_pb2.APP_STATE_STOPPED
}


def find_deployed(state: State, name: str) -> AppRecord | None:
    """Return the deployed app of that name."""
    apps = (a for a in state.apps.values() if a.name == name and a.state == "deployed")
    return next(apps, None)


class AppRpcs:
    """Needs `state`, `stores` and `scheduler`."""

    state: State
    stores: Stores
    scheduler: Scheduler

    async def ClientHello(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(
            api_pb2.ClientHelloResponse(image_builder_version=BUILDER_VERSION)
        )

    async def EnvironmentGetOrCreate(self, stream: Any) -> None:
        request = await stream.recv_message()
        metadata = api_pb2.EnvironmentMetadata(
            name=request.deployment_name or "main",
            settings=api_pb2.EnvironmentSettings(image_builder_version=BUILDER_VERSION),
        )
        await stream.send_message(
            api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-main", metadata=metadata)
        )

    async def EnvironmentList(self, stream: Any) -> None:
        await stream.recv_message()
        item = api_pb2.EnvironmentListItem(name="main", default=True)
        await stream.send_message(api_pb2.EnvironmentListResponse(items=[item]))

    async def AppCreate(self, stream: Any) -> None:
        request = await stream.recv_message()
        app = AppRecord(
            new_id("ap"),
            request.description,
            "initializing",
            intended=_STATES.get(request.app_state, "ephemeral"),
            tags=dict(request.tags),
        )
        self.state.apps[app.app_id] = app
        await stream.send_message(
            api_pb2.AppCreateResponse(
                app_id=app.app_id, app_page_url=_url(app), app_logs_url=_url(app)
            )
        )

    async def AppGetOrCreate(self, stream: Any) -> None:
        request = await stream.recv_message()
        app = find_deployed(self.state, request.app_name)
        if app is None:
            if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                raise GRPCError(Status.NOT_FOUND, f"App '{request.app_name}' not found")
            app = AppRecord(new_id("ap"), request.app_name, "deployed")
            self.state.apps[app.app_id] = app
        await stream.send_message(api_pb2.AppGetOrCreateResponse(app_id=app.app_id))

    async def AppHeartbeat(self, stream: Any) -> None:
        request = await stream.recv_message()
        app = self._app(request.app_id)
        now = time.monotonic()
        app.beat_interval_s, app.last_beat = now - app.last_beat, now
        app.beats += 1
        await stream.send_message(Empty())

    async def AppPublish(self, stream: Any) -> None:
        request = await stream.recv_message()
        app = self._app(request.app_id)
        app.function_ids = dict(request.function_ids)
        app.class_ids = dict(request.class_ids)
        app.tags = dict(request.tags)
        app.state = _STATES.get(request.app_state, app.state)
        if request.name:
            app.name = request.name
        app.version += 1
        app.deployed_at = time.time() if app.state == "deployed" else 0.0
        await self.state.notify()  # containers of an older version end when they are free
        await stream.send_message(
            api_pb2.AppPublishResponse(url=_url(app), deployed_at=app.deployed_at)
        )

    async def AppClientDisconnect(self, stream: Any) -> None:
        request = await stream.recv_message()
        app = self._app(request.app_id)
        # Detached and deployed apps outlive their client; a deploy that failed half-way does not.
        if app.state in ("ephemeral", "initializing"):
            await self.scheduler.stop_app(app.app_id)
        await stream.send_message(Empty())

    async def AppStop(self, stream: Any) -> None:
        request = await stream.recv_message()
        await self.scheduler.stop_app(self._app(request.app_id).app_id)
        await stream.send_message(Empty())

    async def AppGetByDeploymentName(self, stream: Any) -> None:
        request = await stream.recv_message()
        app = find_deployed(self.state, request.name)
        response = api_pb2.AppGetByDeploymentNameResponse(environment_name="main")
        if app is not None:
            response.app_id = app.app_id
            response.lifecycle.CopyFrom(_lifecycle(app))
        await stream.send_message(response)

    async def AppGetLifecycle(self, stream: Any) -> None:
        request = await stream.recv_message()
        lifecycle = _lifecycle(self._app(request.app_id))
        await stream.send_message(api_pb2.AppGetLifecycleResponse(lifecycle=lifecycle))

    async def AppGetLayout(self, stream: Any) -> None:
        request = await stream.recv_message()
        found = layout(self._app(request.app_id), self.state, self.stores)
        await stream.send_message(api_pb2.AppGetLayoutResponse(app_layout=found))

    async def AppList(self, stream: Any) -> None:
        await stream.recv_message()
        items = [
            api_pb2.AppListResponse.AppListItem(
                app_id=app.app_id,
                description=app.name,
                name=app.name if app.state == "deployed" else "",
                state=_NUMBERS[app.state],
                created_at=app.created_at,
                stopped_at=app.stopped_at,
                n_running_tasks=sum(
                    len(self.state.live_tasks(f.function_id))
                    for f in self.state.functions.values()
                    if f.app_id == app.app_id
                ),
            )
            for app in self.state.apps.values()
        ]
        await stream.send_message(api_pb2.AppListResponse(apps=items))

    async def AppGetTags(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(api_pb2.AppGetTagsResponse(tags=self._app(request.app_id).tags))

    async def AppSetTags(self, stream: Any) -> None:
        request = await stream.recv_message()
        self._app(request.app_id).tags = dict(request.tags)
        await stream.send_message(Empty())

    def _app(self, app_id: str) -> AppRecord:
        app = self.state.apps.get(app_id)
        if app is None:
            raise GRPCError(Status.NOT_FOUND, f"App {app_id} not found")
        return app


def _url(app: AppRecord) -> str:
    return f"http://fake.modal.invalid/apps/{app.app_id}"


def _lifecycle(app: AppRecord) -> api_pb2.AppLifecycle:
    return api_pb2.AppLifecycle(
        app_state=_NUMBERS[app.state],
        created_at=app.created_at,
        deployed_at=app.deployed_at,
        version=app.version,
        stopped_at=app.stopped_at,
    )
