"""Session: one deployed Modal app, through which a command sends work to containers.

The app is found again by its name, so that nothing depends on the life of the process that made
it. It has two pools of the same function (worker.py): "job" with the GPU, and "cpu" for caches.
Every container serves one input and ends: the next one sees the Volume as it is by then.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgb.config.infra import InfraConfig
from bgb.errors import InfraError
from bgb.infra import claims, deployment, worker
from bgb.infra.modal_errors import (
    LOG_LINES,
    NETWORK_ERRORS,
    UnreachableError,
    explain,
    explained,
    image_log,
    service_errors,
)
from bgb.infra.payload import Done, Failure, Ticket, failure_of, pack, unpack_reply

if TYPE_CHECKING:
    import modal

_log = logging.getLogger(__name__)
UNREACHABLE_S = 600.0  # `look` waits so long for a network that is gone
DEPLOY_TRIES = 3
_DEPLOYED = "_deployed"  # key in the Dict of progress: digest of what was deployed


class Session:
    """One app of one sweep; cheap to make, and nothing is sent before `deploy`.

    Parameters
    ----------
    packages : further Python packages to ship, by import name.

    Attributes
    ----------
    open_calls : calls that were sent or seen here and have not ended, as far as is known.
    promised_usd : what other work of this command may cost; held against `infra.max_cost_usd`.
    spent_usd : what filling caches has cost.
    """

    def __init__(self, infra: InfraConfig, *, sweep_id: str, packages: Sequence[str] = ()) -> None:
        self.infra = infra
        self.sweep_id = sweep_id
        self.name = f"{infra.app}-{sweep_id}"
        self._packages = tuple(packages)
        self.open_calls: set[str] = set()
        self.promised_usd = self.spent_usd = 0.0
        self._unreachable_since: float | None = None

    def deploy(self) -> None:
        """Make the app ready for work; one that is deployed as it should be is left alone.

        Raises
        ------
        InfraError : credentials, GPU, secret, Volume or image are not as they must be.
        """
        digest = deployment.digest(self.infra, self._packages)
        with explained(self.infra):
            if self._deployed_digest() == digest:
                _log.info("app %s is deployed already", self.name)
                return
            _log.info("deploying app %s; a new image takes some minutes, once", self.name)
            self._deploy()
            self._dict()[_DEPLOYED] = digest

    def submit(
        self,
        function: Callable[..., Any],
        *args: Any,
        pool: str = "job",
        ticket: Ticket | None = None,
    ) -> str:
        """Send a call to a container and return its id; it runs whether or not we live on.

        Raises
        ------
        InfraError : function or arguments cannot be sent, or Modal takes no more.
        """
        assert pool in (deployment.JOB, deployment.CPU)
        request = pack(function, args, ticket)
        with explained(self.infra):
            call_id = str(self._function(pool).spawn(request).object_id)
        self.open_calls.add(call_id)
        return call_id

    def look(self, call_id: str) -> Done | Failure | None:
        """Return how a call ended, or None while it has not; never waits.

        Raises
        ------
        InfraError : Modal refuses, or has not been reached for some minutes.
        """
        try:
            reply = self._look(call_id)
        except UnreachableError as error:
            now = time.monotonic()
            if self._unreachable_since is None:
                self._unreachable_since = now
                _log.warning("%s", error)
            if now - self._unreachable_since > UNREACHABLE_S:
                raise
            return None
        self._unreachable_since = None
        if reply is None:
            self.open_calls.add(call_id)
        else:
            self.open_calls.discard(call_id)
        return reply

    def stored(self, ticket: Ticket) -> Done | Failure | None:
        """Return the reply that the worker left on the Volume, if it is of this fingerprint."""
        import modal

        path = Path(ticket.job_dir).relative_to(self.infra.volume.mount) / worker.RESULT
        with explained(self.infra):
            try:
                data = b"".join(self.volume.read_file(path.as_posix()))
            except (FileNotFoundError, modal.exception.NotFoundError):
                return None
        return worker.load_result(data, ticket.fingerprint)

    def cancel(self, call_id: str) -> None:
        """End a call and its container; one that has ended is left alone."""
        import modal

        with explained(self.infra):
            call = modal.FunctionCall.from_id(call_id)
            call.cancel(terminate_containers=True)
        self.open_calls.discard(call_id)

    def stop(self) -> None:
        """End the app, and whatever runs in it; an app that is gone is left alone."""
        import modal

        environment = self.infra.environment
        with explained(self.infra), contextlib.suppress(modal.exception.NotFoundError):
            modal.App.lookup(self.name, environment_name=environment).stop()
        with explained(self.infra):
            modal.Dict.objects.delete(self.name, allow_missing=True, environment_name=environment)
        self.open_calls.clear()

    def progress(self) -> dict[str, dict[str, Any]]:
        """Return what each job last reported, by `Ticket.name`; empty when it cannot be had."""
        import modal

        try:
            entries = dict(self._dict().items())
        except (modal.exception.Error, *NETWORK_ERRORS) as error:
            _log.debug("no progress: %s", error)
            return {}
        entries.pop(_DEPLOYED, None)
        return claims.without_claims(entries)

    def owner(self, name: str) -> str | None:
        """Return the call that began a job, by `Ticket.name`; None when it cannot be had."""
        return claims.try_to(lambda: claims.owner(self._dict(), name), otherwise=None)

    def release(self, name: str, *, ended: str) -> None:
        """Let a job be carried out anew after the call that had it ended."""
        claims.try_to(lambda: claims.release(self._dict(), name, ended=ended), otherwise=None)

    @property
    def volume(self) -> "modal.Volume":
        """The Volume as seen from here: what was committed."""
        return deployment.find_volume(self.infra)

    def task_logs(self, call_id: str, lines: int) -> str:
        """Return the last lines that a call printed; empty when they cannot be had."""
        import modal

        try:
            entries = list(modal.FunctionCall.from_id(call_id).logs.tail(lines))
        except (modal.exception.Error, *NETWORK_ERRORS) as error:
            _log.debug("no log of %s: %s", call_id, error)
            return ""
        return "".join(entry.message for entry in entries)

    def _look(self, call_id: str) -> Done | Failure | None:
        import modal
        from modal import exception as of_modal

        try:
            return unpack_reply(modal.FunctionCall.from_id(call_id).get(timeout=0))
        except TimeoutError:
            return None
        except (of_modal.OutputExpiredError, of_modal.NotFoundError):
            return Failure("expired", f"Modal no longer keeps the result of {call_id}")
        except of_modal.FunctionTimeoutError as error:
            return _timed_out(self.infra, str(error))
        except (of_modal.InputCancellation, of_modal.RemoteError) as error:
            return _ended_by_modal(str(error))
        except service_errors() as error:
            raise explain(error, self.infra) from error
        except (ImportError, SyntaxError) as error:
            return _never_began(error)
        # The worker answers with bytes, whatever the job does: the container did not come so far.
        except Exception as error:  # noqa: BLE001
            return _lost(failure_of(error, kind="machine"))

    def _deployed_digest(self) -> str | None:
        """Return what is deployed under this name, or None."""
        import modal

        try:
            self._function(deployment.JOB).hydrate()
        except modal.exception.NotFoundError:
            return None
        digest: str | None = self._dict().get(_DEPLOYED)
        return digest

    def _deploy(self) -> None:
        import modal

        for left in reversed(range(DEPLOY_TRIES)):
            try:
                self._deploy_once()
            except modal.exception.ExecutionError as error:
                # Somebody saved a file of ours meanwhile; Modal ships no mixture of old and new.
                if left == 0 or "modified during build" not in str(error):
                    raise
                _log.info("%s Trying again", error)
            else:
                return

    def _deploy_once(self) -> None:
        import modal

        app = deployment.build_app(self.infra, name=self.name, packages=self._packages)
        lines: list[str] = []
        try:
            with image_log() as lines:
                app.deploy(environment_name=self.infra.environment)
        except modal.exception.ImageBuildError as error:
            log = "\n".join(lines[-LOG_LINES:])
            raise InfraError(f"{explain(error, self.infra)}\nits last lines:\n{log}") from error

    def _function(self, pool: str) -> "modal.Function[..., Any, Any]":
        import modal

        return modal.Function.from_name(self.name, pool, environment_name=self.infra.environment)

    def _dict(self) -> "modal.Dict":
        import modal

        environment = self.infra.environment
        return modal.Dict.from_name(self.name, environment_name=environment, create_if_missing=True)


def _timed_out(infra: InfraConfig, text: str) -> Failure:
    return Failure(
        "timeout",
        f"Modal ended the job ({text}): it did not stop by itself within its hours; raise "
        f"infra.max_hours={infra.max_hours:g} (infra.timeout_h={infra.timeout_h:g} an attempt) and "
        "repeat the command: it goes on from its last checkpoint",
    )


def _ended_by_modal(text: str) -> Failure:
    """Tell a cancelled call from a container that Modal gave up; both come without a type."""
    if not text or "cancel" in text.lower() or "terminat" in text.lower():
        return Failure("cancelled", text or "the call was cancelled")
    return _lost(Failure("machine", text))


def _lost(failure: Failure) -> Failure:
    message = (
        f"its container was lost, or ended without an answer ({failure.message}); repeat the "
        "command: the job goes on from its last checkpoint"
    )
    return replace(failure, message=message)


def _never_began(error: Exception) -> Failure:
    failure = failure_of(error, kind="init")
    message = (
        f"the container could not begin ({failure.message}); a package that is missing belongs "
        "into the lock file (infra.lock=), or into infra.packages if it is a local one"
    )
    return replace(failure, message=message)
