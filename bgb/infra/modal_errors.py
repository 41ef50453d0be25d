"""Modal's errors in the words of the configuration: what is wrong, which key, what to do next."""

import contextlib
import io
import socket
from collections.abc import Iterator

from aiohttp import ClientError

from bgb.config.infra import InfraConfig
from bgb.errors import InfraError

# Large results, and the files of a Volume, come over HTTP.
NETWORK_ERRORS = (ConnectionError, TimeoutError, socket.gaierror, ClientError)
LOG_LINES = 30  # of a failed image


class UnreachableError(InfraError):
    """Modal does not answer; it may again, and jobs go on meanwhile."""


@contextlib.contextmanager
def explained(infra: InfraConfig) -> Iterator[None]:
    """Turn Modal's errors into `InfraError`."""
    import modal

    try:
        yield
    except (modal.exception.Error, *NETWORK_ERRORS) as error:
        raise explain(error, infra) from error


def service_errors() -> tuple[type[Exception], ...]:
    """Return the errors that tell of Modal's service, none of which a job or container raises."""
    from grpclib.exceptions import StreamTerminatedError
    from modal import exception as of_modal

    return (
        *(of_modal.AuthError, of_modal.PermissionDeniedError, of_modal.ResourceExhaustedError),
        *(of_modal.ConnectionError, of_modal.ServiceError, of_modal.InternalError),
        *(of_modal.VersionError, of_modal.UnimplementedError, of_modal.ClientClosed),
        *(StreamTerminatedError, *NETWORK_ERRORS),
    )


def explain(error: Exception, infra: InfraConfig) -> InfraError:
    """Say what an error of Modal means for somebody who runs a command."""
    from grpclib.exceptions import StreamTerminatedError
    from modal import exception as of_modal

    text = str(error)
    match error:
        case of_modal.PermissionDeniedError():
            return InfraError(f"Modal forbids it ({text}); ask whoever owns the workspace")
        case of_modal.AuthError():
            return InfraError(
                f"Modal does not know who you are ({text}); run `modal token new`, or set "
                "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"
            )
        case of_modal.NotFoundError():
            return _not_found(text, infra)
        case of_modal.ImageBuildError():
            return InfraError(
                f"the image cannot be built: {text}\nsee infra.lock, infra.apt and infra.python; "
                f"`modal image logs {error.image_id}` shows everything"
            )
        case of_modal.ResourceExhaustedError():
            return InfraError(f"Modal's limits are reached ({text}); wait, or start fewer jobs")
        case of_modal.InvalidError() | of_modal.VersionError():
            return _invalid(text, infra)
        case (
            of_modal.ConnectionError()
            | of_modal.ServiceError()
            | of_modal.InternalError()
            | StreamTerminatedError()
            | ClientError()
            | OSError()
        ):
            return UnreachableError(_unreachable(text, error))
    return InfraError(f"Modal reports {type(error).__name__}: {text}")


@contextlib.contextmanager
def image_log() -> Iterator[list[str]]:
    """Collect what Modal prints while it builds; the list is filled at the end."""
    import modal

    printed = io.StringIO()
    lines: list[str] = []
    try:
        with contextlib.redirect_stdout(printed), modal.enable_output():
            yield lines
    finally:
        lines += [line.rstrip() for line in printed.getvalue().splitlines() if line.strip()]


def _unreachable(text: str, error: Exception) -> str:
    return (
        f"Modal cannot be reached ({text or type(error).__name__}); check the network and "
        "status.modal.com, then repeat the command: jobs that run go on meanwhile"
    )


def _not_found(text: str, infra: InfraConfig) -> InfraError:
    secrets = [*infra.secrets, *([infra.bucket.secret] if infra.bucket.secret else [])]
    for secret in secrets:
        if secret in text:
            of_bucket = secret == infra.bucket.secret
            key = "infra.bucket.secret" if of_bucket else "infra.secrets"
            out = "set infra.bucket.secret=null" if of_bucket else "take it out of infra.secrets"
            return InfraError(
                f"{key}: there is no Modal secret {secret!r} ({text}); make it with `modal secret "
                f"create {secret} NAME=VALUE`, or {out}"
            )
    if infra.volume.name in text:
        return InfraError(
            f"infra.volume.name={infra.volume.name}: there is no such Volume ({text}); make it "
            f"with `modal volume create {infra.volume.name}`, or set infra.volume.create=true"
        )
    if infra.environment and infra.environment in text:
        return InfraError(
            f"infra.environment={infra.environment}: there is no such Modal environment ({text}); "
            "`modal environment list` shows them"
        )
    return InfraError(f"Modal does not find what the app needs: {text}")


def _invalid(text: str, infra: InfraConfig) -> InfraError:
    if "gpu" in text.lower():
        return InfraError(f"infra.gpu={infra.gpu}: {text}")
    if "volume" in text.lower() and "version" in text.lower():
        other = 3 - infra.volume.version
        return InfraError(
            f"infra.volume.version={infra.volume.version}: {text}; set infra.volume.version={other}"
        )
    return InfraError(f"Modal refuses the app: {text}")
