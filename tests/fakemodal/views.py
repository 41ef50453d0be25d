"""What a test sees of apps, calls and containers: frozen copies of the server's records."""

from dataclasses import dataclass

from tests.fakemodal.state import State


@dataclass(frozen=True)
class App:
    """`state`: initializing, ephemeral, detached, deployed or stopped."""

    app_id: str
    name: str
    state: str


@dataclass(frozen=True)
class Call:
    """`status`: pending, running, success, failure, terminated, timeout or init_failure.

    `attempts` counts how often one of its inputs was handed to a container.
    """

    call_id: str
    function_name: str
    status: str
    attempts: int


@dataclass(frozen=True)
class Container:
    """`call_id` is the call it works on or worked on last; `alive` ends after its last commit."""

    task_id: str
    function_name: str
    call_id: str | None
    pid: int | None
    alive: bool
    started_at: float


def apps_of(state: State) -> list[App]:
    """Return every app that was made, the oldest first."""
    return [App(app.app_id, app.name, app.state) for app in list(state.apps.values())]


def calls_of(state: State) -> list[Call]:
    """Return every function call, the oldest first."""
    calls = []
    for call in list(state.calls.values()):
        records = list(call.inputs.values())
        status = _status([record.status for record in records])
        attempts = sum(record.attempts for record in records)
        name = state.functions[call.function_id].name
        calls.append(Call(call.call_id, name, status, attempts))
    return calls


def containers_of(state: State) -> list[Container]:
    """Return every container, the oldest first, ended ones too."""
    return [
        Container(
            task.task_id,
            state.functions[task.function_id].name,
            task.last_call_id or None,
            task.process.pid if task.process else None,
            task.process is not None and not task.ended,
            task.started_at,
        )
        for task in list(state.tasks.values())
    ]


def _status(statuses: list[str]) -> str:
    if "running" in statuses:
        return "running"
    if not statuses or "pending" in statuses or "retrying" in statuses:
        return "pending"
    return next((status for status in statuses if status != "success"), "success")
