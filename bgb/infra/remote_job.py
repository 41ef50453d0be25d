"""The job of a rented container: progress goes to a `modal.Dict`, files to the Volume.

Progress is a courtesy: one thread sends it, every few seconds at most, and every error is dropped.
Publishing is not: a Volume that takes no more data ends the job with a message.
"""

import contextlib
import functools
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgb.errors import InfraError
from bgb.files import read_json, write_json
from bgb.infra import attempts, leases
from bgb.infra.attempts import Attempt
from bgb.infra.container import Container, visible_gpus
from bgb.infra.payload import Ticket
from bgb.infra.preemption import OrderlyStop
from bgb.job import Job

if TYPE_CHECKING:
    import modal

_log = logging.getLogger(__name__)
OUTPUTS = "outputs.json"
PROGRESS_S = 3.0  # between two entries
HEARTBEAT_S = 20.0  # between two entries when nothing is reported


class ContainerJob(Job):
    """A call without a ticket: it can publish, and nobody watches its progress."""

    def __init__(self, container: Container) -> None:
        self.container = container

    def publish(self) -> None:
        commit(self.container)


class RemoteJob(ContainerJob):
    """A job with a ticket: it may be interrupted, and goes on in its next attempt."""

    def __init__(
        self,
        container: Container,
        ticket: Ticket,
        attempt: Attempt,
        stop: OrderlyStop,
        *,
        earlier_s: float,
    ) -> None:
        super().__init__(container)
        self.attempt = attempt.number
        self.usd_per_hour = ticket.usd_per_hour
        self._ticket = ticket
        self._record = attempt
        self._stop = stop
        self._earlier_s = earlier_s
        self._values: dict[str, float | str] = {}
        self._leased: list[str] = []
        self._state = "running"
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = threading.Event()

    @property
    def age_s(self) -> float:
        return time.time() - self._record.started_s

    @property
    def seconds_left(self) -> float:
        return self._stop.seconds_left

    def stop_early(self) -> None:
        self._stop.on_deadline()

    def arguments(self) -> list[str]:
        return list(self._ticket.arguments)

    def code(self) -> Mapping[str, str | bool] | None:
        return self._ticket.code

    @property
    def seconds(self) -> float:
        """Time that all attempts of this call took, until now."""
        return self._earlier_s + time.time() - self._record.started_s

    def progress(self, **values: float | str) -> None:
        with self._lock:
            urgent = not self._values or values.get("epoch") != self._values.get("epoch")
            self._values |= values
        if urgent:
            self._wake.set()

    def publish(self) -> None:
        self._touch()
        super().publish()

    def add_output(self, folder: Path) -> None:
        relative = self._on_volume(folder)
        path = Path(self._ticket.job_dir) / OUTPUTS
        known = read_json(path)["folders"] if path.exists() else []
        if relative not in known:
            write_json(path, {"folders": [*known, relative]})

    @contextlib.contextmanager
    def lease(self, folder: Path) -> Iterator[None]:
        run = self._on_volume(folder)
        entries = leases_dict(self.container)
        leases.take(entries, self._lease_key(run), **self._lessee())
        self._leased.append(run)
        try:
            yield
        finally:
            self._leased.remove(run)
            with contextlib.suppress(Exception):  # it expires by itself
                leases.release(entries, self._lease_key(run), call=self._record.call)

    def provenance(self) -> Mapping[str, str]:
        names = ("MODAL_TASK_ID", "MODAL_IMAGE_ID", "MODAL_REGION", "MODAL_CLOUD_PROVIDER")
        return {
            **{name.lower(): os.environ[name] for name in names if name in os.environ},
            "modal_app": self.container.app,
            "gpus": ", ".join(visible_gpus()),
            "sweep": self._ticket.sweep_id,
            "job": self._ticket.name,
            "attempt": str(self.attempt),
            "usd_per_hour": f"{self.usd_per_hour:.4f}",
            "rates": self._ticket.rates_source,
        }

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Send progress from a thread of its own while this lasts."""
        thread = threading.Thread(target=self._report, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._wake.set()
            thread.join(timeout=10.0)

    def finish(self, state: str) -> None:
        """Say how the attempt ended; within `reporting`."""
        self._state = state
        with contextlib.suppress(OSError):
            self._touch(ended=True)

    def _report(self) -> None:
        sent: dict[str, Any] = {}
        sent_s = 0.0
        while True:
            last = self._ended.is_set()
            with self._lock:
                entry = {**self._values, "state": self._state}
            if last or entry != sent or time.monotonic() - sent_s > HEARTBEAT_S:
                self._send(entry)
                sent, sent_s = entry, time.monotonic()
            if last:
                return
            self._wake.wait(PROGRESS_S)
            self._wake.clear()

    def _send(self, entry: Mapping[str, float | str]) -> None:
        known = {
            "attempt": self.attempt,
            "call_id": self._record.call,
            "task_id": self._record.task,
            "started": self._record.started_s,
            "seconds": self.seconds,
            "at": time.time(),
        }
        try:
            self._touch()
            progress_dict(self.container)[self._ticket.name] = {**entry, **known}
            for run in tuple(self._leased):
                entries = leases_dict(self.container)
                leases.renew(entries, self._lease_key(run), **self._lessee())
        # Whatever hinders a report (network, a full Volume, a foreign type) must not end a job.
        except Exception as error:  # noqa: BLE001
            _log.debug("progress could not be sent: %s", error)

    def _touch(self, *, ended: bool = False) -> None:
        ended = ended or self._record.ended
        self._record = attempts.touch(Path(self._ticket.job_dir), self._record, ended=ended)

    def _lease_key(self, run: str) -> str:
        return f"{self.container.volume}/{run}"

    def _lessee(self) -> dict[str, str]:
        return {
            "call": self._record.call,
            "sweep": self._ticket.sweep_id,
            "job": self._ticket.name,
        }

    def _on_volume(self, folder: Path) -> str:
        mount = Path(self.container.mount)
        if not folder.absolute().is_relative_to(mount):
            raise InfraError(
                f"{folder} is not on the Volume, which containers see as {mount}, and would be "
                f"lost with this container; set results={mount}"
            )
        return folder.absolute().relative_to(mount).as_posix()


def commit(container: Container) -> None:
    """Make the Volume's files durable and visible to others.

    Raises
    ------
    InfraError : the Volume takes no more data, or cannot be reached.
    """
    import modal

    try:
        _volume(container.volume, container.environment).commit()
    # Volume.commit turns some of Modal's errors into RuntimeError.
    except (modal.exception.Error, RuntimeError, OSError) as error:
        raise not_writable(container, error) from error


def not_writable(container: Container, error: Exception) -> InfraError:
    """Return what to say when the Volume takes no more."""
    return InfraError(
        f"Volume {container.volume} at {container.mount} cannot be written ({error}); see what "
        "lies there with `python -m bgb.storage +infra=modal_cpu`, remove what is not needed with "
        f"`modal volume rm {container.volume} PATH`, or name another Volume with infra.volume.name="
    )


def progress_dict(container: Container) -> "modal.Dict":
    """Return the Dict with the progress of an app's jobs."""
    return _dict(container.app, container.environment)


def leases_dict(container: Container) -> "modal.Dict":
    """Return the Dict with the leases of all run folders."""
    return _dict(leases.DICT, container.environment)


@functools.cache
def _volume(name: str, environment: str) -> "modal.Volume":
    import modal

    return modal.Volume.from_name(name, environment_name=environment or None)


@functools.cache
def _dict(name: str, environment: str) -> "modal.Dict":
    import modal

    environment_name = environment or None
    return modal.Dict.from_name(name, environment_name=environment_name, create_if_missing=True)
