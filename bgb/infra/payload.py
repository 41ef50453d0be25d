"""What travels between laptop and container: a request there, a reply back.

Each is a plain dict of strings, numbers and separate pickles: that a function, a value or an
exception cannot be read on one side never hides the rest. What a request holds lies open in
Modal's storage, so that no secret belongs into it.
"""

import pickle
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import cloudpickle

from bgb.errors import InfraError
from bgb.redact import secret_variables

MAX_REQUEST_BYTES = 256 * 2**20
# What a job may end with: its own error; a container that cannot serve; Modal's limit of one
# attempt; cancelled; too many attempts; `infra.max_hours`; a result that Modal no longer keeps; a
# request or reply that the other side cannot read; another call that has the job; a Volume that
# takes no more; a machine that is not as ordered, or was lost.
KINDS = (
    *("task", "init", "timeout", "cancelled", "attempts", "budget", "expired", "unpickle"),
    *("duplicate", "storage", "machine"),
)


@dataclass(frozen=True)
class Ticket:
    """What the worker must know of a job that may be interrupted and goes on."""

    name: str  # key of the job's progress, unique in the sweep: its sub-folder, e.g. "0"
    job_dir: str  # absolute folder on the Volume, as the container sees it
    sweep_id: str
    max_attempts: int
    max_hours: float  # all attempts together
    usd_per_hour: float
    rates_source: str
    fingerprint: str  # a stored result counts only for the same fingerprint
    attempt_hours: float = 24.0  # after which Modal ends one attempt
    arguments: tuple[str, ...] = ()  # overrides of the job, for its provenance
    code: Mapping[str, str | bool] | None = None  # of bgb.checkout.git_state, likewise


@dataclass(frozen=True)
class Done:
    """A job that returned."""

    value: Any  # Any: whatever the function returned
    attempts: int = 1
    seconds: float = 0.0  # all attempts together


@dataclass(frozen=True)
class Failure:
    """A job that did not return; `kind` is one of `KINDS`, `message` says what to do."""

    kind: str
    message: str
    traceback_text: str = ""
    exception: BaseException | None = None  # None: none was raised, or its class is unknown here
    attempts: int = 1
    seconds: float = 0.0
    owner: str = ""  # of a duplicate: the call that has the job

    def error(self) -> BaseException:
        """Return the job's own exception, or an `InfraError` that says as much."""
        if self.exception is not None:
            return self.exception
        return InfraError("\n".join(part for part in (self.message, self.traceback_text) if part))


@dataclass(frozen=True)
class Request:
    """What the container is to do; `call` reads the function, which may fail."""

    ticket: Ticket | None
    function: bytes
    arguments: bytes

    def call(self) -> Any:  # Any: whatever the function returns
        """Run the function with its arguments."""
        return self.load()()

    def load(self) -> Callable[[], Any]:  # Any: whatever the function returns
        """Read function and arguments.

        Raises
        ------
        InfraError : one of them needs a module that the container lacks.
        """
        function = _read(self.function, "the function")
        arguments = _read(self.arguments, f"the arguments of {_name(function)}")
        return lambda: function(*arguments)


def pack(function: Callable[..., Any], args: Sequence[Any], ticket: Ticket | None = None) -> bytes:
    """Turn a call into bytes; what `__main__` defines travels by value, the rest by name.

    Raises
    ------
    InfraError : something cannot be pickled (it is named), all is too large, or it holds a secret.
    """
    request = {
        "ticket": asdict(ticket) if ticket else None,
        "function": _write(function, f"the function {_name(function)}"),
        "arguments": _write_arguments(args, _name(function)),
    }
    data = pickle.dumps(request)
    _refuse_secrets(data, _name(function))
    if len(data) > MAX_REQUEST_BYTES:
        raise InfraError(
            f"the call of {_name(function)} has {len(data) / 2**20:.0f} MiB, at most "
            f"{MAX_REQUEST_BYTES / 2**20:.0f} can be sent; pass paths instead of data"
        )
    return data


def unpack(data: bytes) -> Request:
    """Read a request as far as the worker needs it; function and arguments stay pickled."""
    request = pickle.loads(data)  # noqa: S301 - it comes from `pack`, through the user's own app
    ticket = request["ticket"]
    return Request(
        ticket=Ticket(**ticket) if ticket else None,
        function=request["function"],
        arguments=request["arguments"],
    )


def pack_reply(reply: Done | Failure) -> bytes:
    """Turn an outcome into bytes; a value that cannot be pickled becomes a `Failure`."""
    plain: dict[str, Any] = {"attempts": reply.attempts, "seconds": reply.seconds}
    if isinstance(reply, Done):
        try:
            return pickle.dumps({**plain, "value": _write(reply.value, "what the job returned")})
        except InfraError as error:
            failure = failure_of(error, kind="unpickle")
            reply = replace(failure, attempts=reply.attempts, seconds=reply.seconds)
    plain |= {
        "kind": reply.kind,
        "message": reply.message,
        "traceback_text": reply.traceback_text,
        "exception": _write_exception(reply.exception),
        "owner": reply.owner,
    }
    return pickle.dumps(plain)


def unpack_reply(data: bytes) -> Done | Failure:
    """Read an outcome; what cannot be read here is said in a `Failure` or left out of it."""
    plain = pickle.loads(data)  # noqa: S301 - it comes from `pack_reply` of the user's own app
    if "value" not in plain:
        return Failure(**{**plain, "exception": _read_exception(plain["exception"])})
    try:
        return Done(**{**plain, "value": _read(plain["value"], "what the job returned")})
    except InfraError as error:
        return Failure("unpickle", str(error), "", None, plain["attempts"], plain["seconds"])


def failure_of(error: BaseException, *, kind: str = "task") -> Failure:
    """Describe an exception with its traceback."""
    text = "".join(traceback.format_exception(error))
    message = str(error) if isinstance(error, InfraError) else f"{type(error).__name__}: {error}"
    return Failure(kind, message, text, error)


def _refuse_secrets(data: bytes, function: str) -> None:
    for name, value in secret_variables().items():
        if value.encode(errors="surrogateescape") in data:
            raise InfraError(
                f"the call of {function} holds the value of the environment variable {name}; what "
                "is sent lies open in Modal's storage, and in the job's folder: make a Modal "
                f"secret of it (`modal secret create my-secret {name}=...`), add it to "
                "infra.secrets, and read the variable inside the job"
            )


def _write_arguments(args: Sequence[Any], function: str) -> bytes:
    try:
        return _dumps(tuple(args))
    except _PICKLE_ERRORS:
        for position, value in enumerate(args):  # the one to blame
            _write(value, f"argument {position} of {function} ({type(value).__name__})")
        raise


# Classes raise what they like in __getstate__, __reduce__ and __setstate__.
_PICKLE_ERRORS = (Exception,)


def _write(value: Any, what: str) -> bytes:
    try:
        return _dumps(value)
    except _PICKLE_ERRORS as error:
        raise InfraError(
            f"{what} cannot be pickled ({type(error).__name__}: {error}); open files, locks, "
            "connections and generators cannot travel: make them inside the job"
        ) from error


def _read(data: bytes, what: str) -> Any:
    try:
        return pickle.loads(data)  # noqa: S301 - see `unpack`
    except ModuleNotFoundError as error:
        top = (error.name or "").partition(".")[0]
        raise InfraError(
            f"{what} cannot be read: no module named {error.name!r}; ship it with "
            f"infra.packages=[{top}] if it is a local package, or add it to the lock file "
            "(infra.lock=) if it comes from PyPI"
        ) from error
    except _PICKLE_ERRORS as error:
        raise InfraError(
            f"{what} cannot be read ({type(error).__name__}: {error}); both sides must have the "
            "same versions: install the lock file here, and repeat the command"
        ) from error


def _dumps(value: Any) -> bytes:
    data: bytes = cloudpickle.dumps(value)
    return data


def _write_exception(error: BaseException | None) -> bytes | None:
    if error is None:
        return None
    try:
        data = _dumps(error)
        pickle.loads(data)  # noqa: S301 - written in the line above; many only fail when read
    except _PICKLE_ERRORS:
        return None
    return data


def _read_exception(data: bytes | None) -> BaseException | None:
    if data is None:
        return None
    try:
        error = pickle.loads(data)  # noqa: S301 - see `unpack_reply`
    except _PICKLE_ERRORS:
        return None
    return error if isinstance(error, BaseException) else None


def _name(function: object) -> str:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '?')}.{name}"
