"""Fill the caches that jobs need, on CPU containers, before the first GPU is paid.

A cache that is complete is recognised from the laptop, and nothing starts. Else one container
plans, several build (each recording in one of them), and one more writes manifest and snapshot;
jobs then read the cache alone. All can be killed at any moment: what was committed stays, and the
next command waits for containers that are still at it, then builds what lacks.
"""

import copy
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, open_dict, read_write

from bgb.config.compose import to_frozen
from bgb.config.data import DataConfig
from bgb.config.infra import InfraConfig
from bgb.config.schema import TrainConfig
from bgb.data.build import failure_text
from bgb.data.cache import Cache
from bgb.data.check import check_cache, summary_text
from bgb.data.key import cache_key, corpus_name
from bgb.data.progress import ByteProgress
from bgb.data.snapshot import snapshot_path
from bgb.errors import BgbError, CacheError, InfraError
from bgb.infra.cache_jobs import (
    CachePlan,
    Share,
    ShareReport,
    build_share,
    finish_cache,
    plan_cache,
    split_work,
)
from bgb.infra.cache_volume import (
    find_cache,
    read_builders,
    remove_builders,
    volume_path,
    write_builders,
)
from bgb.infra.cost import check_budget, dollars, upper_bound
from bgb.infra.deployment import CPU, attempt_hours, num_containers
from bgb.infra.payload import Done, Failure, Ticket
from bgb.infra.prices import Rates, load_rates, usd_per_hour

if TYPE_CHECKING:
    from bgb.infra.app import Session

_LOG = logging.getLogger(__name__)
_BYTES_A_CONTAINER = 256 << 20  # less work than that is done before a second container has started


def prepare_caches(session: "Session", configs: Sequence[DictConfig], *, progress: bool) -> None:
    """Fill the cache of every job on the Volume, and have the jobs read it alone.

    Parameters
    ----------
    configs : composed configurations of `python -m bgb.train`; changed in place.

    Raises
    ------
    BgbError : a configuration, corpus or recording is wrong, or a container failed: no job may
        start.
    """
    selections = {}
    for config in configs:
        data = to_frozen(copy.deepcopy(config), TrainConfig).data
        selections[snapshot_path(data)] = data
    for data in selections.values():
        fill_cache(session, data, progress=progress)
    for config in configs:
        without_sources(config)


def without_sources(config: DictConfig) -> None:
    """Have a job read its cache alone: the GPU never waits for an EDF file."""
    with read_write(config), open_dict(config):
        config.data.check_source = False


def fill_cache(
    session: "Session",
    data: DataConfig,
    *,
    progress: bool,
    force: bool = False,
    check_source: bool = False,
) -> Cache:
    """Return the checked cache on the Volume, filled first where it lacks something.

    Its signals cannot be read from here.

    Parameters
    ----------
    session : deployed.
    force : build again what is there already.
    check_source : compare even a complete cache with the EDF files.

    Raises
    ------
    BgbError : see `prepare_caches`; what was built before is kept.
    """
    cache = None if force or check_source else find_cache(session.volume, data, session.infra)
    if cache is None:
        _refuse_without_sources(data)
        try:
            _Build(session, data, load_rates(), progress).run(force=force)
        except KeyboardInterrupt:
            _LOG.warning("Ctrl-C: containers go on filling the cache; repeat the command to go on")
            raise
        cache = find_cache(session.volume, data, session.infra)
    if cache is None:
        raise InfraError(
            f"the cache of {corpus_name(data)} was built, but Volume "
            f"{session.infra.volume.name} does not show all of it; repeat the command"
        )
    check_cache(cache)
    _LOG.info("cache on Volume %s\n%s", session.infra.volume.name, summary_text(cache))
    return cache


def _refuse_without_sources(data: DataConfig) -> None:
    if not data.check_source:
        raise CacheError(
            f"data.check_source=false, but the cache of {corpus_name(data)} on the Volume lacks "
            "recordings; leave data.check_source out to have it built"
        )


@dataclass(frozen=True)
class _Build:
    """One build of one cache on the Volume."""

    session: "Session"
    data: DataConfig
    rates: Rates
    progress: bool
    identity: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def run(self, *, force: bool) -> None:
        self._wait_for_others()
        name = f"{corpus_name(self.data)}/{cache_key(self.data)}"
        _LOG.info("cache %s: a container compares it with %s", name, self.data.root)
        self._promise(1)
        plan: CachePlan = self._call_one("plan", plan_cache, self.data, force)
        if plan.to_build:
            shares = split_work(plan, self._num_shares(plan))
            told = (name, len(plan.to_build), sum(plan.sizes) / 1e9, self._promise(len(shares) + 1))
            _LOG.info("cache %s: %d recordings, %.2f GB of EDF; %s", *told)
            self._build(shares, plan.newer_than_s)
            self._call_one("finish", finish_cache, self.data, plan.corpus)
        remove_builders(self.session.volume, self._path, build=self.identity)

    def _promise(self, num_containers: int) -> str:
        """Say what containers may cost; refuse them where all of this command may cost too much."""
        bound = upper_bound(self._machine, num_containers, self.rates)
        others = self.session.promised_usd + self.session.spent_usd
        check_budget(bound, self.session.infra, besides={"for jobs and what was spent": others})
        also = f"; with jobs and what was spent at most {dollars(bound.usd + others)}"
        return bound.text() + (also if others else "")

    def _build(self, shares: Sequence[Share], newer_than_s: float) -> None:
        """Have every share built; fail with all the recordings that could not be."""
        tickets = [self._ticket(f"share-{number}") for number in range(len(shares))]
        calls: list[str] = []
        cores = self.session.infra.cache.cpu
        for share, ticket in zip(shares, tickets, strict=True):
            arguments = (self.data, share, newer_than_s, cores)
            calls.append(self.session.submit(build_share, *arguments, pool="cpu", ticket=ticket))
            self._tell_others(calls)
        total = sum(share.num_bytes for share in shares)
        num_files = sum(len(share.recordings) for share in shares)
        with ByteProgress("cache", total, num_files, bar=self.progress) as bar:
            replies = self._wait(calls, lambda: self._show(bar, tickets, shares))
        reports: list[ShareReport] = [_value(reply) for reply in replies]
        failures = {name: why for report in reports for name, why in report.failures.items()}
        if failures:
            raise CacheError(failure_text(failures, sum(len(report.built) for report in reports)))

    def _show(self, bar: ByteProgress, tickets: Sequence[Ticket], shares: Sequence[Share]) -> None:
        known = self.session.progress()
        entries = [known.get(ticket.name, {}) for ticket in tickets]
        done_bytes = sum(int(entry.get("done_bytes", 0)) for entry in entries)
        done_files = sum(int(entry.get("done_files", 0)) for entry in entries)
        at_work = sum(entry.get("state") == "running" for entry in entries)
        bar.reach(done_bytes, done_files, f"{at_work} of {len(shares)} containers at work")

    def _wait(
        self, calls: Sequence[str], show: Callable[[], None] = lambda: None
    ) -> list[Done | Failure]:
        """Return the replies in order; a container that cannot even start ends all of them."""
        replies: dict[str, Done | Failure] = {}
        while True:
            for call in calls:
                reply = replies.get(call) or self.session.look(call)
                if reply is not None and call not in replies:
                    replies[call] = reply
                    self.session.spent_usd += reply.seconds / 3600 * self._usd_per_hour
                if isinstance(reply, Failure) and reply.kind in ("init", "unpickle"):
                    self._cancel(set(calls) - set(replies))
                    raise reply.error()
            show()
            if len(replies) == len(calls):
                return [replies[call] for call in calls]
            time.sleep(self.session.infra.poll_s)

    def _cancel(self, calls: set[str]) -> None:
        for call in calls:
            self.session.cancel(call)

    def _wait_for_others(self) -> None:
        """Let the containers of an earlier command come to their end: their work is ours."""
        while alive := self._others():
            _LOG.info("%d containers of another command still build this cache", len(alive))
            while any(self.session.look(call) is None for call in alive):
                time.sleep(self.session.infra.poll_s)

    def _others(self) -> list[str]:
        """Return the calls of other builds that have not ended; forget builds that have."""
        alive: list[str] = []
        for build, calls in read_builders(self.session.volume, self._path).items():
            going_on = [call for call in calls if self.session.look(call) is None]
            if not going_on:
                remove_builders(self.session.volume, self._path, build=build)
            alive += going_on
        return alive

    def _tell_others(self, calls: Sequence[str]) -> None:
        write_builders(self.session.volume, self._path, build=self.identity, calls=calls)

    def _call_one(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what one container returns; Any: as the function does."""
        call = self.session.submit(function, *arguments, pool="cpu", ticket=self._ticket(name))
        self._tell_others([call])
        (reply,) = self._wait([call])
        return _value(reply)

    def _num_shares(self, plan: CachePlan) -> int:
        infra = self.session.infra
        most, worthwhile = num_containers(infra, CPU), -(-sum(plan.sizes) // _BYTES_A_CONTAINER)
        if most < min(infra.cache.containers, worthwhile):
            _LOG.info("a Volume of version 1 takes %d writers at once", most)
        return max(1, min(most, worthwhile))

    def _ticket(self, name: str) -> Ticket:
        """Return the ticket of a call that no other call shares: nothing stored is reused."""
        infra, identity = self.session.infra, f"{name}-{uuid.uuid4().hex[:8]}"
        return Ticket(
            name=f"cache/{cache_key(self.data)}/{identity}",
            job_dir=f"{infra.volume.mount}/sweeps/{self.session.sweep_id}/cache/{identity}",
            sweep_id=self.session.sweep_id,
            max_attempts=infra.max_attempts,
            max_hours=infra.max_hours,
            usd_per_hour=self._usd_per_hour,
            rates_source=self.rates.source,
            fingerprint=identity,
            attempt_hours=attempt_hours(infra),
        )

    @property
    def _machine(self) -> InfraConfig:
        """The infrastructure with what a container that builds has, for prices."""
        infra = self.session.infra
        return replace(infra, gpu=None, cpu=infra.cache.cpu, memory_gib=infra.cache.memory_gib)

    @property
    def _usd_per_hour(self) -> float:
        return usd_per_hour(self._machine, self.rates)

    @property
    def _path(self) -> PurePosixPath:
        return volume_path(self.data, self.session.infra)


def _value(reply: Done | Failure) -> Any:  # Any: what the function in the container returned
    if isinstance(reply, Done):
        return reply.value
    error = reply.error()
    if isinstance(error, BgbError) and reply.exception is not None:
        raise error
    raise InfraError(
        f"a container that builds the cache ended early: {reply.message}; what was built is kept: "
        "repeat the command; if memory was short, raise infra.cache.memory_gib"
    ) from error
