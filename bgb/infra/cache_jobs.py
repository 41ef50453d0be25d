"""What the CPU containers do to fill a cache on the Volume: plan, build a share, finish.

Each function runs in a container of its own, started after what it reads was committed. Files are
made on the container's own disk and copied to the Volume in one go: a Volume dislikes writes in the
middle of a file, and locks between processes mean nothing across its copies.
"""

import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bgb import job
from bgb.config.data import DataConfig
from bgb.corpora import find_corpus
from bgb.corpora.base import Corpus, CorpusRecording
from bgb.data.build import (
    materialise_all,
    plan_build,
    refuse_foreign,
    update_manifest,
    worthwhile_workers,
)
from bgb.data.cache import open_cache
from bgb.data.key import cache_folder
from bgb.data.snapshot import write_snapshot
from bgb.data.source import file_sizes
from bgb.files import write_atomically

_PUBLISH_EVERY_S = 30.0  # what a killed container loses at most


@dataclass(frozen=True)
class CachePlan:
    """What the corpus has and what of it the cache lacks.

    Attributes
    ----------
    sizes : bytes of EDF.
    newer_than_s : Unix time; files of `to_build` that are newer were made by this very build.
    """

    corpus: Corpus
    to_build: tuple[CorpusRecording, ...]
    sizes: tuple[int, ...]
    newer_than_s: float = 0.0


@dataclass(frozen=True)
class Share:
    """The part of one container: no recording is in two."""

    recordings: tuple[CorpusRecording, ...]
    sizes: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        return sum(self.sizes)


@dataclass(frozen=True)
class ShareReport:
    """Which recordings a container built, and why others failed."""

    built: tuple[str, ...]
    failures: dict[str, str]


def plan_cache(config: DataConfig, force: bool) -> CachePlan:
    """Compare corpus and cache; a synthetic corpus is generated first.

    Raises
    ------
    CorpusError, CacheError : as on a laptop: nothing at data.root, or files of another tree.
    """
    newer_than_s = time.time() if force else 0.0
    corpus = find_corpus(config, progress=False)
    plan = plan_build(config, corpus, force=force)
    refuse_foreign(plan)
    if plan.restamped:
        update_manifest(plan.folder, plan.restamped)
    sizes = file_sizes(recording.edf for recording in plan.to_build)
    if not plan.to_build:
        finish_cache(config, corpus)
    job.current().publish()
    return CachePlan(corpus, plan.to_build, tuple(sizes), newer_than_s)


def build_share(config: DataConfig, share: Share, newer_than_s: float, cores: float) -> ShareReport:
    """Build the recordings that are not there yet; after a kill only what lacks.

    Files that are not newer than a time are replaced.
    """
    folder = cache_folder(config)
    sizes = dict(zip(share.recordings, share.sizes, strict=True))
    there = [one for one in share.recordings if _is_newer(folder / _file(one), newer_than_s)]
    queue = sorted(set(share.recordings) - set(there), key=lambda one: (-sizes[one], one.edf))
    workers = config.workers or min(math.ceil(cores), worthwhile_workers(share.num_bytes))
    built, failures = [], {}
    done, published = sum(sizes[one] for one in there), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        local = replace(config, cache_root=scratch)
        here = cache_folder(local)
        for recording, outcome, reason in materialise_all(local, here, queue, workers=workers):
            if outcome is None:
                failures[recording.recording_id] = reason
            else:
                _move(here / _file(recording), folder / _file(recording))
                built.append(recording.recording_id)
            done += sizes[recording]
            files = len(there) + len(built) + len(failures)
            job.current().progress(done_bytes=done, done_files=files)
            if time.monotonic() - published > _PUBLISH_EVERY_S:
                job.current().publish()
                published = time.monotonic()
    job.current().publish()
    return ShareReport(tuple(built), failures)


def finish_cache(config: DataConfig, corpus: Corpus) -> None:
    """Write manifest and snapshot of a cache that holds all of the corpus.

    In a container of its own, so that the manifest holds the time stamps that later containers see.

    Raises
    ------
    CacheError : a recording is missing after all.
    """
    folder = cache_folder(config)
    update_manifest(folder, {})
    open_cache(folder, recordings=[(one.split, one.recording_id) for one in corpus.recordings])
    write_snapshot(config, corpus)
    job.current().publish()


def split_work(plan: CachePlan, num_shares: int) -> tuple[Share, ...]:
    """Share out recordings evenly by bytes: the largest first, each to whoever has least."""
    shares: list[list[tuple[CorpusRecording, int]]] = [[] for _ in range(num_shares)]
    loads = [0] * num_shares
    pairs = zip(plan.to_build, plan.sizes, strict=True)
    for recording, size in sorted(pairs, key=lambda pair: (-pair[1], pair[0].recording_id)):
        lightest = loads.index(min(loads))
        shares[lightest].append((recording, size))
        loads[lightest] += size
    return tuple(_share(share) for share in shares if share)


def _share(pairs: Sequence[tuple[CorpusRecording, int]]) -> Share:
    return Share(tuple(one for one, _ in pairs), tuple(size for _, size in pairs))


def _file(recording: CorpusRecording) -> str:
    return f"{recording.split}/{recording.recording_id}.npz"


def _is_newer(path: Path, time_s: float) -> bool:
    return path.exists() and path.stat().st_mtime > time_s


def _move(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        write_atomically(target, lambda out: shutil.copyfileobj(file, out, 8 << 20))
    source.unlink()
