"""A loopback Modal for the tests of rented machines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bgb.config.infra import BucketConfig, VolumeConfig
from tests.fakemodal import FakeModal, why_not

SECRETS = {
    "wandb-secret": {"WANDB_API_KEY": "sesame-open-wandb-0123456789"},
    "aws-s3-secret": {"AWS_SECRET_ACCESS_KEY": "sesame-open-aws-0123456789"},
}


@pytest.fixture
def fake_modal(tmp_path: Path) -> Iterator[FakeModal]:
    """A loopback Modal that this process's client talks to, with the bucket of `conf/infra`."""
    if reason := why_not():
        pytest.skip(reason)
    bucket = tmp_path / "bucket"
    (bucket / "tusz" / "edf").mkdir(parents=True)
    buckets = {BucketConfig().name: bucket}
    fake = FakeModal(tmp_path / "modal", buckets=buckets, secrets=SECRETS)
    with fake, fake.connected():
        yield fake


@pytest.fixture
def volume(fake_modal: FakeModal) -> Path:
    """What was committed to the Volume; exists once an app was deployed."""
    return fake_modal.volume(VolumeConfig().name)
