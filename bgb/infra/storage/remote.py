"""The look from inside a container: the bucket mount, the corpus there, and how fast mounts are.

One small CPU container does it all. Its app is stopped afterwards, and neither Volume nor secret is
made where it does not exist.
"""

import secrets
import time
from dataclasses import dataclass, replace

from bgb.config.data import DataConfig
from bgb.config.infra import InfraConfig
from bgb.errors import InfraError
from bgb.infra.storage.complete import KnownCorpus, know_corpus
from bgb.infra.storage.probe import Speed, probe
from bgb.infra.storage.store import FolderStore
from bgb.infra.storage.survey import Survey, survey


@dataclass(frozen=True)
class Question:
    """What the container is to look at; `None` for a mount that it does not have.

    Attributes
    ----------
    data : corpus to find, with `root` as the container sees it.
    bucket, volume : mount points.
    probe_files : files to read in each mount; None to measure nothing.
    """

    data: DataConfig
    bucket: str | None
    volume: str | None
    probe_files: int | None


@dataclass(frozen=True)
class Answer:
    """What the container saw; labels are mount points."""

    bucket: Survey | None
    corpus: KnownCorpus
    speeds: tuple[Speed, ...]


def answer(question: Question) -> Answer:
    """Look at the mounts; runs in the container."""
    bucket = FolderStore(question.bucket, "bucket") if question.bucket else None
    volume = FolderStore(question.volume, "Volume") if question.volume else None
    speeds = []
    if question.probe_files is not None:
        speeds = [
            probe(store, num_files=question.probe_files, where="container")
            for store in (bucket, volume)
            if store is not None
        ]
    return Answer(survey(bucket) if bucket else None, know_corpus(question.data), tuple(speeds))


def ask(infra: InfraConfig, question: Question) -> Answer:
    """Start a container, let it answer, and stop its app.

    Raises
    ------
    InfraError : no credentials, a missing secret or Volume, an image that fails, a lost container.
    """
    from bgb.infra.app import Session
    from bgb.infra.payload import Done

    modest = replace(infra, gpu=None, volume=replace(infra.volume, create=False))
    session = Session(modest, sweep_id=f"storage-{secrets.token_hex(3)}")
    session.deploy()
    try:
        call = session.submit(answer, question, pool="cpu")
        while (reply := session.look(call)) is None:
            time.sleep(infra.poll_s)
    finally:
        session.stop()
    if not isinstance(reply, Done):
        raise InfraError(f"the container did not answer: {reply.message}")
    assert isinstance(reply.value, Answer)
    return reply.value
