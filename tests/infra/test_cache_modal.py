"""Filling a cache in containers: what they commit, lose and do again."""

import hashlib
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import modal
import pytest

import bgb.infra.cache_build as build_module
from bgb.config.infra import BucketConfig, InfraConfig
from bgb.corpora import find_corpus
from bgb.data.build import build_cache
from bgb.infra.app import Session
from bgb.infra.cache_build import fill_cache
from tests.data.tiny_corpus import RECORDINGS, config_for, write_corpus
from tests.fakemodal import FakeModal

pytestmark = pytest.mark.modal

VOLUME = InfraConfig().volume.name
SECRETS = {"aws-s3-secret": {"AWS_ACCESS_KEY_ID": "x"}, "wandb-secret": {"WANDB_API_KEY": "x"}}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    bucket = tmp_path / "bucket"
    write_corpus(bucket / "tusz" / "edf")
    with FakeModal(
        tmp_path / "modal", buckets={BucketConfig().name: bucket}, secrets=SECRETS
    ) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        modal.Client._set_env_client(None)
        yield fake
        modal.Client._set_env_client(None)


@pytest.fixture
def data():
    """The tiny corpus in the bucket, as containers see it."""
    return config_for(Path("/data/edf"), Path("/results/cache"), workers=2)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*/*.npz"))
    }


def open_session():
    session = Session(InfraConfig(poll_s=0.1), sweep_id="0123456789")
    session.deploy()
    return session


def test_containers_cache_the_bucket_once_and_later_runs_start_none(
    fake, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(build_module, "_BYTES_A_CONTAINER", 200_000)
    cache = fill_cache(open_session(), data, progress=False)
    assert len(cache) == len(RECORDINGS)
    calls = len(fake.calls())
    assert calls == 4  # plan, two shares, finish
    local = config_for(tmp_path / "bucket" / "tusz" / "edf", tmp_path / "local")
    folder = build_cache(local, find_corpus(local), progress=False).folder
    on_volume = fake.volume(VOLUME) / "cache" / "tusz" / folder.name
    assert digests(on_volume) == digests(folder)
    fill_cache(open_session(), data, progress=False)
    assert len(fake.calls()) == calls


def test_killed_container_is_started_again_and_all_is_built(fake, data):
    def kill_the_builder() -> None:
        begun = "sweeps/*/cache/share-0-*/attempts/*"
        fake.wait_until(lambda: list(fake.volume(VOLUME).glob(begun)))
        fake.kill(fake.containers()[-1].task_id)

    killer = threading.Thread(target=kill_the_builder)
    killer.start()
    cache = fill_cache(open_session(), data, progress=False)
    killer.join()
    assert len(cache) == len(RECORDINGS)
    assert Counter(call.attempts for call in fake.calls()) == {1: 2, 2: 1}


COMMAND = (
    *("-m", "bgb.cache", "action=build", "data=synthetic", "+infra=modal_cpu"),
    *("data.corpus.hours=0.2", "data.corpus.train_patients=2", "data.corpus.oddities=false"),
    *("data.corpus.dev_patients=2", "data.corpus.eval_patients=2", "infra.poll_s=0.1"),
)


def start(fake):
    return subprocess.Popen(
        [sys.executable, *COMMAND],
        env=os.environ | fake.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_command_killed_while_containers_build_goes_on_when_repeated(fake):
    first = start(fake)
    folder = fake.volume(VOLUME)

    def is_shared_out() -> bool:
        told = [path.read_text() for path in folder.glob("cache/synthetic/*/builders/*.json")]
        return any(call.call_id in text for call in fake.calls()[1:] for text in told)

    fake.wait_until(is_shared_out, timeout_s=60)
    first.kill()
    first.communicate()
    shared_out = len(fake.calls())
    second = start(fake)
    text, _ = second.communicate(timeout=120)
    assert second.returncode == 0, text
    assert "seizure s" in text  # the table
    assert len(fake.calls()) == shared_out + 1  # compared once more, nothing was built twice
    assert list(folder.glob("data/synthetic/edf/train/**/*.edf"))
    assert not [app for app in fake.apps() if app.state == "deployed"]
