"""Build a cache: in parallel processes, lazily, resumably, each recording once.

`plan_build` compares what the corpus has with what the cache holds; `build_cache` materialises the
difference, largest first, and finishes all that can be built before it reports what cannot. A
killed build continues where it stopped; a second call does nothing.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from bgb.config.data import DataConfig
from bgb.corpora.base import Corpus, CorpusRecording
from bgb.data.key import cache_folder
from bgb.data.manifest import Entry, Manifest, load_manifest, refresh_manifest, write_manifest
from bgb.data.materialise import CLAIMS, Outcome, claim_path, materialise
from bgb.data.progress import ByteProgress
from bgb.data.snapshot import write_snapshot
from bgb.data.source import FILES_AT_ONCE, file_sizes, match_source
from bgb.data.workers import large_pages, open_executor
from bgb.errors import BgbError, CacheError
from bgb.locks import hold, owner

_LOG = logging.getLogger(__name__)
_BYTES_A_WORKER = 128 << 20  # half a second of work; starting a process takes as long


@dataclass(frozen=True)
class BuildPlan:
    """What a build would do: recordings that are cached already, to build, and foreign ones.

    `restamped` holds the entries whose files have another time stamp now, but the same contents.
    """

    folder: Path
    ready: tuple[CorpusRecording, ...]
    to_build: tuple[CorpusRecording, ...]
    foreign: tuple[CorpusRecording, ...]
    restamped: Manifest


@dataclass(frozen=True)
class BuildReport:
    """What a build did; `seconds` is wall time."""

    folder: Path
    built: tuple[str, ...]
    present: tuple[str, ...]
    seconds: float


def plan_build(
    config: DataConfig, corpus: Corpus, *, splits: Iterable[str] | None = None, force: bool = False
) -> BuildPlan:
    """Compare corpus and cache; with `force` everything is to be built. Nothing is written."""
    folder = cache_folder(config)
    manifest: Manifest = refresh_manifest(folder) if folder.is_dir() and not force else {}
    groups: dict[str, list[CorpusRecording]] = {"ready": [], "to_build": [], "foreign": []}
    names = None if splits is None else set(splits)
    wanted = [one for one in corpus.recordings if names is None or one.split in names]
    entries = [manifest.get(f"{one.split}/{one.recording_id}.npz") for one in wanted]
    restamped = {}
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        matches = list(pool.map(_match, entries, wanted))
    for recording, entry, match in zip(wanted, entries, matches, strict=True):
        groups["to_build" if entry is None else "ready" if match else "foreign"].append(recording)
        if match and match != entry:
            restamped[match.path] = match
    kinds = {name: tuple(group) for name, group in groups.items()}
    return BuildPlan(folder, **kinds, restamped=restamped)


def build_cache(
    config: DataConfig,
    corpus: Corpus,
    *,
    splits: Iterable[str] | None = None,
    progress: bool = True,
    force: bool = False,
    work: Callable[..., Outcome] | None = None,
) -> BuildReport:
    """Build what the corpus has and the cache lacks, then bring the manifest up to date.

    Parameters
    ----------
    splits : only these; None for all.
    progress : a bar with ETA on a terminal; elsewhere, or with False, a log line now and then.
    force : build again what is there already, also what was made of other files.
    work : what makes the file of one recording; None for `materialise`.

    Raises
    ------
    CacheError : recordings that could not be built (all others are), or cached ones of other files.
    """
    started = time.monotonic()
    plan = plan_build(config, corpus, splits=splits, force=force)
    refuse_foreign(plan)
    plan.folder.mkdir(parents=True, exist_ok=True)
    outcomes, failures = _build_all(config, plan, force=force, progress=progress, work=work)
    update_manifest(plan.folder, plan.restamped)
    seconds = time.monotonic() - started
    built = tuple(outcome.recording_id for outcome in outcomes if outcome.kind == "built")
    _LOG.info(
        "cache %s: %d built, %d were there, %d failed, %.1f s",
        *(plan.folder, len(built), len(plan.ready), len(failures), seconds),
    )
    if failures:
        raise CacheError(failure_text(failures, len(built)))
    write_snapshot(config, corpus)
    present = {recording.recording_id for recording in (*plan.ready, *plan.to_build)} - set(built)
    return BuildReport(plan.folder, built, tuple(sorted(present)), seconds)


def _match(entry: Entry | None, recording: CorpusRecording) -> Entry | None:
    """Return the entry, with today's stamps, if it was made of the very files of the recording."""
    if entry is None:
        return None
    edf, labels = match_source(entry.edf, recording.edf), None
    if entry.labels is not None and recording.labels is not None:
        labels = match_source(entry.labels, recording.labels)
    unlabelled = entry.labels is None and recording.labels is None
    if edf is None or (labels is None and not unlabelled):
        return None
    return replace(entry, edf=edf, labels=labels)


def refuse_foreign(plan: BuildPlan) -> None:
    """Raise `CacheError` where another tree holds the same names: neither may overwrite the other,
    nor be taken for it."""
    if plan.foreign:
        names = ", ".join(recording.recording_id for recording in plan.foreign[:5])
        names += ", ..." if len(plan.foreign) > 5 else ""
        raise CacheError(
            f"{len(plan.foreign)} recordings in {plan.folder} were made of other EDF or label "
            f"files than data.root now has ({names}). If the files were replaced: "
            "`python -m bgb.cache action=build force=true data=...`; if this "
            "is another tree: give it its own data.cache_root"
        )


def _build_all(
    config: DataConfig,
    plan: BuildPlan,
    *,
    force: bool,
    progress: bool,
    work: Callable[..., Outcome] | None,
) -> tuple[list[Outcome], dict[str, str]]:
    """Return the outcomes, and the reason of each failure by recording."""
    if not plan.to_build:
        return [], {}
    urls = [recording.edf for recording in plan.to_build]
    sizes = dict(zip(plan.to_build, file_sizes(urls), strict=True))
    queue = sorted(plan.to_build, key=lambda recording: -sizes[recording])
    workers = config.workers or worthwhile_workers(sum(sizes.values()))
    old = _statuses(plan) if force else {}
    outcomes, failures = [], {}
    with ByteProgress("cache", sum(sizes.values()), len(queue), bar=progress) as bar:
        for wait in (False, True):  # first what nobody builds, then wait for what others build
            busy = []
            for recording, outcome, reason in materialise_all(
                config, plan.folder, queue, workers=workers, old=old, wait=wait, work=work
            ):
                if outcome is None:
                    failures[recording.recording_id] = reason
                elif outcome.kind == "busy":
                    busy.append(recording)
                    continue
                else:
                    outcomes.append(outcome)
                bar.advance(sizes[recording], recording.recording_id)
            queue = busy
            for recording in queue:
                builder = owner(claim_path(plan.folder, recording))
                _LOG.info("waiting for %s, claimed by %s", recording.recording_id, builder)
    return outcomes, failures


def materialise_all(
    config: DataConfig,
    folder: Path,
    queue: Sequence[CorpusRecording],
    *,
    workers: int,
    old: Mapping[CorpusRecording, os.stat_result] | None = None,
    wait: bool = False,
    work: Callable[..., Outcome] | None = None,
) -> Iterator[tuple[CorpusRecording, Outcome | None, str]]:
    """Build recordings in `workers` processes; yield them as they end.

    Yields
    ------
    recording, outcome, reason : a failed recording has no outcome, but the reason why.
    """
    if not queue:
        return
    old = old or {}
    executor = open_executor(min(workers, len(queue)))
    try:
        with large_pages():
            futures = {
                executor.submit(
                    work or materialise,
                    folder,
                    recording,
                    config,
                    wait=wait,
                    replace=old.get(recording),
                ): recording
                for recording in queue
            }
        for future in as_completed(futures):
            yield futures[future], *_result(futures[future], future)
    finally:
        executor.shutdown(cancel_futures=True)


def _statuses(plan: BuildPlan) -> dict[CorpusRecording, os.stat_result]:
    paths = {
        recording: plan.folder / recording.split / f"{recording.recording_id}.npz"
        for recording in plan.to_build
    }
    return {recording: path.stat() for recording, path in paths.items() if path.exists()}


def worthwhile_workers(num_bytes: int) -> int:
    """Return one a core, unless a process would spend longer on its imports than on its share."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min(cores, -(-num_bytes // _BYTES_A_WORKER)))


def _result(recording: CorpusRecording, future: "Future[Outcome]") -> tuple[Outcome | None, str]:
    """Return the outcome, or None and the reason; one bad file must not waste the others."""
    error = future.exception()
    if error is None:
        outcome = future.result()
        for remark in outcome.remarks:
            _LOG.info("%s: %s", recording.recording_id, remark)
        return outcome, ""
    if isinstance(error, BrokenProcessPool):
        raise CacheError(
            "a process that builds the cache died: out of memory, or a script without "
            "`if __name__ == '__main__':`; what was built is kept; retry with data.workers=1"
        ) from error
    if not isinstance(error, BgbError):
        _LOG.error("building %s failed", recording.recording_id, exc_info=error)
        return None, f"{type(error).__name__}: {error}"
    return None, str(error)


def update_manifest(folder: Path, restamped: Manifest) -> None:
    """Make manifest.json agree with the files of the cache, and those with their sources."""

    def current(known: Manifest | None) -> Manifest:
        manifest = dict(refresh_manifest(folder, known=known))
        same = {
            path: entry
            for path, entry in restamped.items()
            if path in manifest and manifest[path].stamp == entry.stamp  # not built again since
        }
        return manifest | same

    known = load_manifest(folder)
    if known == current(known):
        return
    with hold(folder / CLAIMS / "manifest.lock", wait=True):
        write_manifest(folder, current(load_manifest(folder)))


def failure_text(failures: Mapping[str, str], num_built: int) -> str:
    """List the recordings that could not be cached, and what to do about them."""
    rows = "\n".join(f"  {name}: {reason}" for name, reason in sorted(failures.items()))
    names = ",".join(sorted(failures))
    return (
        f"{len(failures)} recordings could not be cached ({num_built} others were built):\n{rows}\n"
        f"Mend the files, or leave them out on purpose: 'data.exclude=[{names}]'"
    )
