"""What a sweep's ledger knows of jobs that are to be carried out: whether they ended, whether they
were sent, and with which configuration and code."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.types import TaskFunction

from bgb.checkout import git_state
from bgb.config.infra import InfraConfig
from bgb.errors import InfraError
from bgb.infra import image
from bgb.infra.deployment import attempt_hours
from bgb.infra.fingerprint import code_digest, differing, file_digest
from bgb.infra.hydra_job import HydraJob, remote_sweep_dir
from bgb.infra.ledger import DONE, SENT, Ledger, Record
from bgb.infra.payload import Ticket, unpack_reply
from bgb.infra.watch import Sent

_LOG = logging.getLogger(__name__)


def recall(ledger: Ledger, job: HydraJob, *, infra: InfraConfig, sweep_dir: Path) -> Sent:
    """Return a job with its result, or with the call that an earlier launcher made.

    Raises
    ------
    InfraError : a job of this number was sent with another configuration.
    """
    remote = remote_sweep_dir(infra.volume.mount, ledger.sweep_id, sweep_dir)
    sent = Sent(
        job,
        Ticket(
            name=str(job.num),
            job_dir=f"{remote}/{job.subdir}",
            sweep_id=ledger.sweep_id,
            max_attempts=infra.max_attempts,
            max_hours=infra.max_hours,
            usd_per_hour=0.0,  # asked for only if something is to be sent
            rates_source="",
            fingerprint=job.fingerprint,
            attempt_hours=attempt_hours(infra),
            arguments=job.overrides,
            code=git_state(),
        ),
    )
    record = ledger.records.get(job.num)
    if record is None:
        return sent
    if record.fingerprint not in ("", job.fingerprint):  # empty: cancelled before it was sent
        raise _other_configuration(sweep_dir, record, job)
    if record.state == DONE and (reply := ledger.load_result(job.num)):
        sent.reply = unpack_reply(reply)
    if record.state in (SENT, DONE):
        sent.call_id = record.call_id
    return sent


def shipped_digests(infra: InfraConfig, task: TaskFunction) -> dict[str, str]:
    """Return the digests of the code that is shipped and of the lock file."""
    return {
        "code": code_digest(image.shipped_folders(infra), task),
        "lock": file_digest(image.lock_file(infra)),
    }


def warn_of_other_code(ledger: Ledger, sent: Sequence[Sent], digests: Mapping[str, str]) -> None:
    """Warn where jobs that count were sent with other code or other packages."""
    for name, what in (("code", "code"), ("lock", "package versions")):
        old = [
            str(one.job.num)
            for one in sent
            if (one.call_id is not None or one.reply is not None)
            and getattr(ledger.records[one.job.num], name) != digests[name]
        ]
        if old:
            _LOG.warning(
                "jobs %s were sent with other %s than there is now; for results of one kind set "
                "another hydra.sweep.dir=",
                *(", ".join(old), what),
            )


def _other_configuration(folder: Path, record: Record, job: HydraJob) -> InfraError:
    keys = differing(record.keys, job.keys)
    then = " ".join(record.overrides) or "none"
    return InfraError(
        f"job {job.num} of {folder} was sent with another configuration: {', '.join(keys)} differ "
        f"(overrides then: {then}; now: {job.label or 'none'}); repeat the command as it was, or "
        "set another hydra.sweep.dir="
    )
