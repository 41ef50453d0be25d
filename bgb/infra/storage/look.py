"""Look at every place: those of this machine, then, with `infra`, its Volume and its bucket."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from bgb.config.infra import InfraConfig
from bgb.config.schema import StorageConfig
from bgb.errors import InfraError
from bgb.infra.storage.complete import KnownCorpus, know_corpus, unknown_corpus
from bgb.infra.storage.probe import Speed, probe
from bgb.infra.storage.remote import Answer, Question, ask
from bgb.infra.storage.store import VolumeStore, open_store
from bgb.infra.storage.survey import Survey, survey


@dataclass(frozen=True)
class Findings:
    """What was found; `unread` says of places that were asked for why they could not be read."""

    surveys: tuple[Survey, ...]
    corpus: KnownCorpus
    speeds: tuple[Speed, ...] = ()
    unread: tuple[str, ...] = ()


def look(config: StorageConfig) -> Findings:
    """Survey and, if asked to, probe all places; a place that cannot be read is a finding."""
    show = not config.disable_progress
    stores = [open_store(place) for place in _places_here(config)]
    surveys, speeds = [], []
    for store in stores:
        with _status(f"looking at {store.label}", show):
            surveys.append(survey(store))
            if config.probe and surveys[-1].problem is None:
                speeds.append(probe(store, num_files=config.probe_files, where="this machine"))
    here = Findings(
        tuple(surveys),
        unknown_corpus(config.data, "its files lie on the rented machines"),
        tuple(speeds),
        _problems(surveys) if config.places else (),
    )
    there = _look_there(config, config.infra) if config.infra else None
    if there is None or not _is_inside(config.data.root, _mounts(config.infra)):
        with _status(f"looking for {config.data.root}", show):
            here = replace(here, corpus=know_corpus(config.data))
    return here if there is None else _together(here, there)


def _together(here: Findings, there: Findings) -> Findings:
    known = there.corpus if here.corpus.problem else here.corpus
    return Findings(
        (*here.surveys, *there.surveys),
        known,
        (*here.speeds, *there.speeds),
        (*here.unread, *there.unread),
    )


def _look_there(config: StorageConfig, infra: InfraConfig) -> Findings:
    """List the Volume from here; see the bucket, the corpus and the speeds from a container."""
    volume_store = VolumeStore(infra)
    with _status(f"looking at {volume_store.label}", not config.disable_progress):
        volume = survey(volume_store)
    on_mount = _is_inside(config.data.root, _mounts(infra))
    question = Question(
        config.data,
        bucket=infra.bucket.mount if infra.bucket.name else None,
        volume=None if volume.problem else infra.volume.mount,
        probe_files=config.probe_files if config.probe else None,
    )
    absent = unknown_corpus(config.data, "no container looked for it")
    if not (question.bucket or config.probe or on_mount):
        return Findings((volume,), absent, unread=_problems([volume]))
    try:
        if volume.problem:
            raise InfraError("no container starts without its Volume")
        with _status("looking from inside a container", not config.disable_progress):
            answer = ask(infra, question)
    except InfraError as error:
        label = _bucket_label(infra)
        bucket = Survey(label, "bucket", problem=f"{label}: not looked at: {error}")
        return Findings((volume, bucket), absent, unread=_problems([volume, bucket]))
    return _named(volume, answer, infra)


def _named(volume: Survey, answer: Answer, infra: InfraConfig) -> Findings:
    """Call the mounts by the names that they have outside of the container."""
    names = {infra.volume.mount: volume.label, infra.bucket.mount: _bucket_label(infra)}
    surveys = [volume]
    if answer.bucket:
        surveys.append(replace(answer.bucket, label=_bucket_label(infra)))
    speeds = tuple(replace(speed, label=names[speed.label]) for speed in answer.speeds)
    return Findings(tuple(surveys), answer.corpus, speeds, _problems(surveys))


def _places_here(config: StorageConfig) -> list[str]:
    """Return the places to look at on this machine, each once: none that lies in another."""
    if config.places:
        return list(dict.fromkeys(config.places))
    usual = [config.data.root, config.data.cache_root, config.results]
    places = list(dict.fromkeys(usual if config.infra is None else config.here))
    roots = {place: Path(place).expanduser().resolve() for place in places if "://" not in place}
    return [
        place
        for place in places
        if place not in roots
        or not any(parent in roots[place].parents for parent in roots.values())
    ]


def _mounts(infra: InfraConfig) -> tuple[str, str]:
    return infra.volume.mount, infra.bucket.mount


def _is_inside(path: str, folders: Sequence[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)


def _bucket_label(infra: InfraConfig) -> str:
    if infra.bucket.name is None:
        return "container"
    return f"bucket {infra.bucket.name}/{infra.bucket.prefix}"


def _problems(surveys: Sequence[Survey]) -> tuple[str, ...]:
    return tuple(place.problem for place in surveys if place.problem is not None)


@contextlib.contextmanager
def _status(text: str, show: bool) -> Iterator[None]:
    from rich.console import Console

    console = Console(stderr=True)
    if show and console.is_terminal:
        with console.status(text):
            yield
    else:
        yield
