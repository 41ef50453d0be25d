"""A loopback Modal for the tests of rented machines; conftest.py makes the fixtures known."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgb.config.infra import BucketConfig, VolumeConfig
from tests.fakemodal import FakeModal, why_not

SECRETS = {
    "wandb-secret": {"WANDB_API_KEY": "sesame-open-wandb-0123456789"},
    "aws-s3-secret": {"AWS_SECRET_ACCESS_KEY": "sesame-open-aws-0123456789"},
}


@contextlib.contextmanager
def started(folder: Path) -> Iterator[FakeModal]:
    """Run a loopback Modal in a folder; skips where that is not possible."""
    if reason := why_not():
        pytest.skip(reason)
    bucket = folder / "bucket"
    (bucket / "tusz" / "edf").mkdir(parents=True)
    buckets = {BucketConfig().name: bucket}
    fake = FakeModal(folder / "modal", buckets=buckets, secrets=SECRETS)
    with fake, fake.connected():
        yield fake


@pytest.fixture
def fake_modal(tmp_path: Path) -> Iterator[FakeModal]:
    """A loopback Modal that this process's client talks to, with the bucket of `conf/infra`."""
    with started(tmp_path) as fake:
        yield fake


@pytest.fixture
def volume(fake_modal: FakeModal) -> Path:
    """What was committed to the Volume; exists once an app was deployed."""
    return fake_modal.volume(VolumeConfig().name)
