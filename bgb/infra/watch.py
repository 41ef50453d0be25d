"""Watch jobs until they end: look at their calls, show them, fetch and record what each leaves.

Everything here can be cut off at any moment: a job counts as ended once its files and its result
are here and the ledger says so, in this order, and what comes before that is simply done again.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bgb.config.infra import InfraConfig
from bgb.errors import BgbError, InfraError
from bgb.infra.app import Session
from bgb.infra.hydra_job import HydraJob
from bgb.infra.ledger import CANCELLED, DONE, FAILED, SENT, Ledger
from bgb.infra.modal_errors import NETWORK_ERRORS
from bgb.infra.payload import Done, Failure, Ticket, pack_reply
from bgb.infra.sync import on_volume, sync_job
from bgb.infra.table import Board, Row

_LOG = logging.getLogger(__name__)
_LOG_LINES = 20  # of a container that ended without a traceback
# What Modal tells of calls that the worker did not answer: neither time nor attempts come along.
_NOT_OF_THE_WORKER = frozenset({"init", "machine", "timeout", "cancelled", "expired"})


@dataclass
class Sent:
    """A job of this batch and what is known of it; the one thing here that changes."""

    job: HydraJob
    ticket: Ticket
    call_id: str | None = None
    reply: Done | Failure | None = None
    progress: Mapping[str, float | str] = field(default_factory=dict)
    seen_s: float = 0.0  # when this progress was new, of this machine's clock

    @property
    def state(self) -> str:
        """One of the states of `Row`."""
        match self.reply:
            case Done():
                return DONE
            case Failure(kind="cancelled"):
                return CANCELLED
            case Failure():
                return FAILED
        state = str(self.progress.get("state", "queued"))
        return state if state in ("queued", "preempted") else "running"

    @property
    def seconds(self) -> float:
        """Seconds on the machine so far, all attempts together."""
        if self.reply is not None:
            return self.reply.seconds
        since = time.monotonic() - self.seen_s if self.state == "running" else 0.0
        return float(self.progress.get("seconds", 0.0)) + since

    @property
    def usd(self) -> float:
        return self.seconds / 3600 * self.ticket.usd_per_hour

    @property
    def attempt(self) -> int:
        return self.reply.attempts if self.reply else int(self.progress.get("attempt", 1))

    def row(self) -> Row:
        """Return the job's line in the table."""
        return Row(
            num=self.job.num,
            overrides=self.job.label,
            state=self.state,
            attempt=self.attempt,
            values=self.progress,
            elapsed_s=self.seconds,
            usd=self.usd,
        )


class Watch:
    """The jobs of one batch: `look` at them from time to time until `open_jobs` is empty."""

    def __init__(
        self, session: Session, infra: InfraConfig, *, jobs: Sequence[Sent], ledger: Ledger
    ) -> None:
        self._session, self._infra, self._ledger = session, infra, ledger
        self.jobs = jobs

    @property
    def open_jobs(self) -> list[Sent]:
        return [sent for sent in self.jobs if sent.reply is None]

    def show(self, board: Board) -> None:
        """Draw the table."""
        board.show([sent.row() for sent in self.jobs])

    def look(self) -> None:
        """Take notice of progress and of jobs that ended.

        Raises
        ------
        InfraError : a container could not begin, for a reason that keeps the others from it, too.
        """
        self.look_at_progress()
        for sent in self.open_jobs:
            reply = self.reply(sent)
            if isinstance(reply, Failure) and reply.kind == "expired":
                reply = self._session.stored(sent.ticket) or reply
            if reply is not None:
                self.end(sent, reply)
        self._fail_fast()

    def look_at_progress(self) -> None:
        """Take notice of what jobs report."""
        progress = self._session.progress()
        for sent in self.open_jobs:
            values = progress.get(sent.ticket.name, {})
            if values and values.get("call_id") == sent.call_id and values != sent.progress:
                sent.progress, sent.seen_s = values, time.monotonic()

    def reply(self, sent: Sent) -> Done | Failure | None:
        """Return how a job's call ended; where another call has the job, watch that one."""
        assert sent.call_id is not None
        reply = self._session.look(sent.call_id)
        if isinstance(reply, Failure) and reply.kind == "duplicate":
            sent.call_id = reply.owner
            self._ledger.write(sent.job.num, SENT, call_id=sent.call_id)
            self.look_at_progress()
            reply = self._session.look(sent.call_id)
        if isinstance(reply, Failure) and reply.kind in _NOT_OF_THE_WORKER:
            seconds = max(reply.seconds, sent.seconds)
            if reply.kind == "timeout":  # it may have hung, and reported nothing
                seconds = max(seconds, sent.ticket.attempt_hours * 3600)
            return replace(reply, seconds=seconds, attempts=max(reply.attempts, sent.attempt))
        return reply

    def end(self, sent: Sent, reply: Done | Failure) -> None:
        """Fetch what a job left and record how it ended."""
        num = sent.job.num
        synced = self.fetch(sent)
        sent.reply = reply
        if isinstance(reply, Done):
            self._ledger.save_result(num, pack_reply(reply))
        self._record(sent, reply, synced=synced)
        if isinstance(reply, Done):
            return
        if reply.kind == "init" or (reply.kind == "machine" and not self._has_any_begun()):
            self.cancel_all("a container could not begin")
            raise InfraError(f"job {num} could not begin, nor can any other: {reply.message}")
        _LOG.error(
            "job %d (%s) %s: %s", num, sent.job.label, sent.state, self._explain(sent, reply)
        )

    def charge(self, sent: Sent, failure: Failure) -> None:
        """Record what a call cost that is to be sent again."""
        self._ledger.write(
            sent.job.num,
            FAILED,
            kind=failure.kind,
            attempts=failure.attempts,
            seconds=failure.seconds,
            usd=failure.seconds / 3600 * sent.ticket.usd_per_hour,
        )

    def fetch(self, sent: Sent) -> bool:
        """Fetch a job's files; tell whether it worked. A result counts even if this fails."""
        from modal.exception import Error

        job_dir = on_volume(sent.ticket.job_dir, self._infra.volume.mount)
        exclude = self._infra.sync_exclude
        try:
            fetched = sync_job(self._session.volume, job_dir, sent.job.local, exclude=exclude)
        except (OSError, Error, InfraError, *NETWORK_ERRORS) as error:
            _LOG.error(
                "files of job %d were not fetched (%s); repeat the command, or run "
                "`modal volume get %s %s %s`",
                *(sent.job.num, error, self._infra.volume.name, job_dir, sent.job.local),
            )
            return False
        _LOG.debug("job %d: %d files, %d bytes", sent.job.num, fetched.num_files, fetched.num_bytes)
        return True

    def cancel_all(self, reason: str) -> None:
        """Cancel every job that has not ended."""
        for sent in self.open_jobs:
            if sent.call_id is not None:
                self._session.cancel(sent.call_id)
            sent.reply = Failure(
                "cancelled",
                f"job {sent.job.num} was cancelled: {reason}",
                attempts=sent.attempt,
                seconds=sent.seconds,
            )
            self._record(sent, sent.reply)

    def _record(self, sent: Sent, reply: Done | Failure, *, synced: bool = False) -> None:
        self._ledger.write(
            sent.job.num,
            sent.state,
            kind=reply.kind if isinstance(reply, Failure) else "",
            synced=synced,
            attempts=reply.attempts,
            seconds=reply.seconds,
            usd=sent.usd,
        )

    def _has_any_begun(self) -> bool:
        """Tell whether a container of this sweep ever came so far as to work."""
        answers = [one.reply for one in self.jobs if one.reply is not None]
        return (
            any(one.progress for one in self.jobs)
            or any(isinstance(one, Done) or one.kind not in _NOT_OF_THE_WORKER for one in answers)
            or any(record.seconds for record in self._ledger.records.values())
        )

    def _fail_fast(self) -> None:
        failed = sum(sent.state == FAILED for sent in self.jobs)
        most = self._infra.fail_fast
        if most is not None and failed >= most and self.open_jobs:
            reason = f"{failed} failed, infra.fail_fast={most}"
            _LOG.error("the other jobs are cancelled: %s", reason)
            self.cancel_all(reason)

    def _explain(self, sent: Sent, failure: Failure) -> str:
        if isinstance(failure.exception, BgbError):
            return failure.message  # says what to mend; where it was raised does not matter
        if failure.traceback_text:
            return f"{failure.message}\n{failure.traceback_text}"
        assert sent.call_id is not None
        logs = self._session.task_logs(sent.call_id, _LOG_LINES)
        return (
            f"{failure.message}\nlast lines of its container:\n{logs}" if logs else failure.message
        )
