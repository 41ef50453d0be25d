"""A Hydra multirun on Modal, from the composed jobs to what each of them returned.

1. compose and check every job; look up which of them ended, or were sent before and still run
2. say what the others may cost, refuse above `infra.max_cost_usd`
3. deploy the app, let the task prepare its data, send one call a job
4. watch until all have ended; Ctrl-C leaves them running, twice cancels them
"""

import atexit
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from bgb.config.infra import InfraConfig
from bgb.errors import InfraError
from bgb.infra.app import Session
from bgb.infra.cost import check_budget, dollars, upper_bound
from bgb.infra.hydra_job import (
    compose_jobs,
    job_return,
    remote_config,
    remote_sweep_dir,
    run_hydra_job,
    task_config,
    with_task,
)
from bgb.infra.interrupt import Interrupts, resume_command
from bgb.infra.ledger import DONE, SENDING, SENT, Ledger, Record
from bgb.infra.payload import Done, Failure
from bgb.infra.prices import Rates, load_rates, usd_per_hour
from bgb.infra.recall import recall, shipped_digests, warn_of_other_code
from bgb.infra.table import Board
from bgb.infra.watch import Sent, Watch
from bgb.locks import hold, owner

_LOG = logging.getLogger(__name__)
_DOUBLE_CTRL_C_S = 5.0
_NOTICE = f"Ctrl-C: jobs go on; once more within {_DOUBLE_CTRL_C_S:g} s cancels them all"
_POLL_A_JOB_S = 0.02
_SEND_AGAIN = frozenset({"expired", "cancelled", "timeout", "init", "machine"})
_sweeps: list["Sweep"] = []


class Sweep:
    """One multirun; a sweeper may launch many batches of it, which share one app."""

    def __init__(
        self, infra: InfraConfig, *, context: HydraContext, task: TaskFunction, config: DictConfig
    ) -> None:
        self.infra = infra
        self._context, self._task, self._config = context, task, config
        self._dir = Path(str(config.hydra.sweep.dir)).absolute()
        self._session: Session | None = None
        self._is_deployed = False

    def launch(self, overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Carry out one batch; return what each job returned or raised, in order.

        Raises
        ------
        InfraError : nothing could be sent, or no container could begin.
        SystemExit : Ctrl-C; the jobs go on unless it was pressed twice.
        """
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        jobs = compose_jobs(self._context, self._config, overrides=overrides, first=first)
        check: Callable[..., None] | None = getattr(self._task, "check", None)
        if check is not None:
            for job in jobs:
                check(task_config(job))
        lock = self._dir / ".modal" / "lock"
        with hold(lock, wait=False) as mine:
            if not mine:
                raise InfraError(
                    f"{self._dir} is being watched by {owner(lock)}; stop that launcher (its jobs "
                    "go on), or set another hydra.sweep.dir="
                )
            ledger = Ledger(self._dir)
            sent = [recall(ledger, job, infra=self.infra, sweep_dir=self._dir) for job in jobs]
            self._fetch_rest(ledger, sent)
            if any(one.reply is None for one in sent):
                self._carry_out(ledger, sent)
        _LOG.info("%s", _outcome(sent, ledger, self._dir))
        self._show(sent)
        return [_returned(one) for one in sent]

    def _show(self, sent: Sequence[Sent]) -> None:
        """Let the task show what its finished jobs left here."""
        show: Callable[[Path], None] | None = getattr(self._task, "show", None)
        for one in sent:
            if show is not None and isinstance(one.reply, Done):
                show(one.job.local)

    def close(self) -> None:
        """Stop the app, unless jobs of it go on."""
        session = self._session
        if session is None or session.open_calls:
            return
        self._session = None
        try:
            session.stop()
        except InfraError as error:
            _LOG.warning(
                "app %s was not stopped (%s); it costs nothing while no job runs; "
                "`modal app stop %s` removes it",
                *(session.name, error, session.name),
            )

    def _fetch_rest(self, ledger: Ledger, sent: Sequence[Sent]) -> None:
        """Fetch the files of finished jobs that could not be fetched when they ended."""
        rest = [one for one in sent if one.reply and not ledger.records[one.job.num].synced]
        if not rest:
            return
        session = Session(self.infra, sweep_id=ledger.sweep_id)
        watch = Watch(session, self.infra, jobs=rest, ledger=ledger)
        for one in rest:
            if watch.fetch(one):
                ledger.write(one.job.num, DONE, synced=True)

    def _carry_out(self, ledger: Ledger, sent: list[Sent]) -> None:
        rates = load_rates()
        price = usd_per_hour(self.infra, rates)
        for one in sent:
            one.ticket = replace(one.ticket, usd_per_hour=price, rates_source=rates.source)
        session = self._session or Session(self.infra, sweep_id=ledger.sweep_id)
        watch = Watch(session, self.infra, jobs=sent, ledger=ledger)
        try:
            self._attach(session, watch, ledger)
            unsent = [one for one in watch.open_jobs if one.call_id is None]
            if unsent:
                session.promised_usd = self._promise(ledger, watch, rates)
            self._keep(session, is_needed=bool(unsent))
            self._prepare(session, unsent, ledger)
            title = f"{self._config.hydra.job.name}: {self._dir}"
            with (
                Interrupts(_NOTICE, double_s=_DOUBLE_CTRL_C_S) as interrupts,
                Board(title) as board,
            ):
                self._send(session, watch, ledger=ledger, interrupts=interrupts)
                self._watch(watch, board, interrupts)
        except KeyboardInterrupt as error:
            _LOG.warning("interrupted; to go on: %s", resume_command(self._dir))
            raise SystemExit(130) from error
        except BaseException:
            if session.open_calls:
                _LOG.warning("jobs go on; to see them again: %s", resume_command(self._dir))
            raise

    def _promise(self, ledger: Ledger, watch: Watch, rates: Rates) -> float:
        """Say what the jobs to be sent may cost, refuse it above the limit; return the sum.

        Jobs that run count, too, but do not ask again: whoever returns to them may watch.
        """
        num_running = sum(one.call_id is not None for one in watch.open_jobs)
        bound = upper_bound(self.infra, len(watch.open_jobs) - num_running, rates)
        running = upper_bound(self.infra, num_running, rates).usd
        _LOG.info("%s", bound.text())
        parts = {"that this sweep has spent": ledger.spent_usd, "for jobs that run": running}
        check_budget(bound, self.infra, besides=parts)
        return bound.usd + sum(parts.values())

    def _keep(self, session: Session, *, is_needed: bool) -> None:
        if is_needed and not self._is_deployed:
            session.deploy()
            self._is_deployed = True
        if self._session is None:
            self._session = session
            _sweeps.append(self)
            _LOG.info("if this launcher is stopped: %s", resume_command(self._dir))

    def _attach(self, session: Session, watch: Watch, ledger: Ledger) -> None:
        """Take up jobs that an earlier launcher sent: ended, running, or to be sent again."""
        for one in watch.open_jobs:
            record = ledger.records.get(one.job.num)
            if record is not None and record.state == SENDING:  # killed before it knew the call
                one.call_id = session.owner(one.ticket.name)
            if one.call_id is None:
                continue
            ledger.write(one.job.num, SENT, call_id=one.call_id)
            watch.look_at_progress()
            reply = watch.reply(one)
            if isinstance(reply, Failure) and reply.kind in _SEND_AGAIN:
                stored = session.stored(one.ticket)
                if not isinstance(stored, Done):
                    watch.charge(one, reply)
                    one.call_id = None
                    continue
                reply = stored
            if reply is not None:
                watch.end(one, reply)

    def _prepare(self, session: Session, sent: Sequence[Sent], ledger: Ledger) -> None:
        """Let the task see to it that the data are there; it may change configurations."""
        prepare: Callable[..., None] | None = getattr(self._task, "prepare", None)
        if prepare is None or not sent:
            return
        configs = [task_config(one.job) for one in sent]
        quiet = any(OmegaConf.select(config, "disable_progress") for config in configs)
        try:
            prepare(session, configs, progress=not quiet)
        finally:
            if session.spent_usd:
                ledger.spend(session.spent_usd)
                session.spent_usd = 0.0
        for one, config in zip(sent, configs):
            one.job = with_task(one.job, config)

    def _send(
        self, session: Session, watch: Watch, *, ledger: Ledger, interrupts: Interrupts
    ) -> None:
        """Send every job that has no call; each is in the ledger before the next is sent."""
        sweep_dir = remote_sweep_dir(self.infra.volume.mount, ledger.sweep_id, self._dir)
        digests = shipped_digests(self.infra, self._task)
        warn_of_other_code(ledger, watch.jobs, digests)
        singletons = Singleton.get_state()
        for one in watch.open_jobs:
            if one.call_id is None and not interrupts.count:
                config = remote_config(one.job, sweep_dir)
                # Before the line without it: a call that nobody knows keeps its claim.
                before = ledger.records.get(one.job.num)
                if before is not None and before.call_id:
                    session.release(one.ticket.name, ended=before.call_id)
                ledger.write(one.job.num, SENDING, **_sending(one, ledger), **digests)
                arguments = (self._context, self._task, config, singletons)
                one.call_id = session.submit(run_hydra_job, *arguments, ticket=one.ticket)
                ledger.write(one.job.num, SENT, call_id=one.call_id)

    def _watch(self, watch: Watch, board: Board, interrupts: Interrupts) -> None:
        while True:
            if interrupts.count:
                self._leave(watch, interrupts)
            watch.look()
            watch.show(board)
            if not watch.open_jobs:
                break
            # Each look asks Modal once a job: many jobs are asked less often.
            interrupts.wait(self.infra.poll_s + _POLL_A_JOB_S * len(watch.open_jobs))

    def _leave(self, watch: Watch, interrupts: Interrupts) -> None:
        """Answer Ctrl-C: go, or cancel everything if it is pressed again at once."""
        if interrupts.is_double():
            watch.cancel_all("Ctrl-C was pressed twice")
            self.close()
            again = resume_command(self._dir)
            _LOG.warning("all jobs are cancelled; to start them again: %s", again)
        raise SystemExit(130)


@atexit.register
def close() -> None:
    """Stop the apps of all sweeps whose jobs have ended."""
    while _sweeps:
        _sweeps.pop().close()


def _sending(sent: Sent, ledger: Ledger) -> dict[str, Any]:  # Any: fields of Record
    """Return what the ledger keeps of a job that is about to be sent."""
    job = sent.job
    before = ledger.records.get(job.num, Record(job.num))
    return {
        "subdir": job.subdir,
        "overrides": list(job.overrides),
        "fingerprint": job.fingerprint,
        "keys": job.keys,
        "call_id": None,
        "usd": 0.0,
        "earlier_usd": before.earlier_usd + before.usd,
    }


def _returned(sent: Sent) -> JobReturn:
    match sent.reply:
        case Done(value=value):
            return job_return(sent.job, value, failed=False)
        case Failure() as failure:
            return job_return(sent.job, failure.error(), failed=True)
    raise AssertionError(f"job {sent.job.num} has not ended")


def _outcome(sent: Sequence[Sent], ledger: Ledger, folder: Path) -> str:
    """Return one line; the dollars are those of all calls that these jobs ever took."""
    done = sum(isinstance(one.reply, Done) for one in sent)
    records = [ledger.records[one.job.num] for one in sent]
    usd = dollars(sum(record.usd + record.earlier_usd for record in records))
    return f"{done} of {len(sent)} jobs done, {usd}; results in {folder}"
