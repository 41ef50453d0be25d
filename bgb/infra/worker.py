"""The one function that every container runs: bytes in, bytes out, shipped by its name.

A job's own error is a reply like any other, so that Modal does not try it again. A preempted job
sends nothing and ends with KeyboardInterrupt, upon which Modal gives its input to another
container. The reply also lies on the Volume, where it outlives Modal's seven days and the laptop.
"""

import logging
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bgb import job as current_job
from bgb.errors import InfraError
from bgb.files import write_bytes
from bgb.infra import attempts, claims, container
from bgb.infra.attempts import Attempt
from bgb.infra.container import Container
from bgb.infra.payload import (
    Done,
    Failure,
    Request,
    Ticket,
    failure_of,
    pack_reply,
    unpack,
    unpack_reply,
)
from bgb.infra.preemption import BUDGET, PREEMPTED, OrderlyStop
from bgb.infra.remote_job import (
    ContainerJob,
    RemoteJob,
    commit,
    not_writable,
    progress_dict,
)

_log = logging.getLogger(__name__)
RESULT = "result.pkl"


def run(request: bytes) -> bytes:
    """Carry out a packed request and return the packed reply."""
    os.environ["BGB_JOB"] = "1"
    logging.basicConfig(level=logging.INFO)
    here = Container.of_environ()
    refused = _check(here)
    if refused is not None:
        return pack_reply(refused)
    call = unpack(request)
    try:
        if call.ticket is None:
            return _run_once(call, here)
        return _run_attempt(call, call.ticket, here)
    except InfraError as error:  # the Volume cannot be committed
        return pack_reply(failure_of(error, kind="storage"))
    except OSError as error:  # of the worker's own files: the job's errors are replies
        return pack_reply(failure_of(not_writable(here, error), kind="storage"))


def load_result(data: bytes, fingerprint: str) -> Done | Failure | None:
    """Read what lies in result.pkl: a reply, or None when it belongs to another configuration."""
    stored = pickle.loads(data)  # noqa: S301 - written by `_store`, in the user's own Volume
    return unpack_reply(stored["reply"]) if stored["fingerprint"] == fingerprint else None


def _check(here: Container) -> Failure | None:
    """Return why this container cannot serve: no other can (init), or this machine (machine)."""
    lock_text = container.LOCK_FILE.read_text()
    try:
        container.check_versions(lock_text)
    except InfraError as error:
        return failure_of(error, kind="init")
    try:
        container.check_gpu(here, lock_text)
    except InfraError as error:
        return failure_of(error, kind="machine")
    return None


def _run_once(request: Request, here: Container) -> bytes:
    current_job.set_current(ContainerJob(here))
    reply = _outcome(request)
    commit(here)  # before the reply: whoever gets it may look at the files
    return pack_reply(reply)


def _run_attempt(request: Request, ticket: Ticket, here: Container) -> bytes:
    job_dir = Path(ticket.job_dir)
    stored = _stored(job_dir / RESULT, ticket.fingerprint)
    if stored is not None:
        _log.info("job %s was finished by an earlier attempt", ticket.name)
        return pack_reply(stored)
    call_id, task_id = _modal_ids()
    owner = _claim(ticket, call_id, here)
    if owner != call_id:
        return pack_reply(_duplicate(ticket, owner))
    before = attempts.earlier(job_dir, call_id)
    seconds = attempts.spent_s(before, longest_s=ticket.attempt_hours * 3600)
    refused = _refusal(ticket, len(before), seconds)
    if refused is not None:
        return _store(replace(refused, attempts=len(before), seconds=seconds), ticket, here)
    attempt = attempts.begin(job_dir, call_id, number=len(before) + 1, task=task_id)
    commit(here)
    return _store(_attempt(request, ticket, attempt, here, earlier_s=seconds), ticket, here)


def _attempt(
    request: Request, ticket: Ticket, attempt: Attempt, here: Container, *, earlier_s: float
) -> Done | Failure:
    """Run the job until it ends, is preempted (KeyboardInterrupt) or out of hours."""
    stop = OrderlyStop(ticket.max_hours * 3600 - earlier_s, attempt_s=ticket.attempt_hours * 3600)
    job = RemoteJob(here, ticket, attempt, stop, earlier_s=earlier_s)
    current_job.set_current(job)
    with job.reporting():
        try:
            with stop:
                reply = _outcome(request)
        except KeyboardInterrupt:
            reply = Failure("task", "interrupted")
        except BaseException:  # Modal's InputCancellation
            job.finish("cancelled")
            raise
        if stop.reason == PREEMPTED:
            job.finish(PREEMPTED)
            _commit_what_is_there(here)
            raise KeyboardInterrupt
        if stop.reason == BUDGET:
            reply = _out_of_hours(ticket)
        job.finish("done" if isinstance(reply, Done) else "failed")
    return replace(reply, attempts=attempt.number, seconds=job.seconds)


def _outcome(request: Request) -> Done | Failure:
    """Run the function; every end but KeyboardInterrupt and Modal's cancellation is an outcome."""
    try:
        function = request.load()
    except InfraError as error:
        return failure_of(error, kind="unpickle")
    return _call(function)


def _call(function: Callable[[], Any]) -> Done | Failure:
    try:
        return Done(function())
    except SystemExit as error:
        return replace(failure_of(error), message=f"the job ended itself, exit code {error.code}")
    # The job is foreign code: whatever it raises goes to whoever sent it.
    except Exception as error:  # noqa: BLE001
        _log.exception("the job failed")
        return failure_of(error)


def _claim(ticket: Ticket, call_id: str, here: Container) -> str:
    """Return the call that has the job; this one too when that cannot be told."""
    return claims.try_to(
        lambda: claims.claim(progress_dict(here), ticket.name, call_id=call_id), otherwise=call_id
    )


def _duplicate(ticket: Ticket, owner: str) -> Failure:
    message = f"job {ticket.name} was sent twice, and call {owner} has it; repeat the command"
    return Failure("duplicate", message, attempts=0, owner=owner)


def _refusal(ticket: Ticket, num_attempts: int, seconds: float) -> Failure | None:
    if num_attempts >= ticket.max_attempts:
        return Failure(
            "attempts",
            f"job {ticket.name} was started {num_attempts} times and never ended: preempted, "
            "killed for its memory, or crashed; its log says which. Raise infra.memory_gib or "
            "infra.max_attempts, then repeat the command: it goes on from its last checkpoint",
        )
    return _out_of_hours(ticket) if seconds >= ticket.max_hours * 3600 else None


def _out_of_hours(ticket: Ticket) -> Failure:
    return Failure(
        "budget",
        f"job {ticket.name} used up infra.max_hours={ticket.max_hours:g} and was stopped; raise "
        "infra.max_hours and repeat the command: it goes on from its last checkpoint",
    )


def _store(reply: Done | Failure, ticket: Ticket, here: Container) -> bytes:
    data = pack_reply(reply)
    stored = {"fingerprint": ticket.fingerprint, "reply": data}
    write_bytes(Path(ticket.job_dir) / RESULT, pickle.dumps(stored))
    commit(here)
    return data


def _stored(path: Path, fingerprint: str) -> Done | None:
    """Return the value of an earlier attempt; a failure is worth another try."""
    try:
        reply = load_result(path.read_bytes(), fingerprint)
    except (OSError, pickle.UnpicklingError, EOFError, KeyError):
        return None
    return reply if isinstance(reply, Done) else None


def _commit_what_is_there(here: Container) -> None:
    try:
        commit(here)
    except InfraError:
        _log.exception("preempted, and the last files could not be kept")


def _modal_ids() -> tuple[str, str]:
    """Return the ids of this call and of this container."""
    import modal

    return modal.current_function_call_id() or "", os.environ.get("MODAL_TASK_ID", "")
