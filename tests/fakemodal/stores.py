"""Everything that the loopback Modal keeps: blobs, mounts, secrets, Volumes, Dicts, buckets, rates.

One `Stores` object belongs to one server; the mixins of RPC handlers reach it as `self.stores`.
Handlers need nothing else but `self.task_of(stream)`, the container that a call comes from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from grpclib import GRPCError, Status

from tests.fakemodal.billing import PUBLISHED_RATES
from tests.fakemodal.blobs import BlobStore
from tests.fakemodal.dicts import DictStore
from tests.fakemodal.mounts import MountStore
from tests.fakemodal.secrets import SecretStore
from tests.fakemodal.volumes import VolumeStore


@dataclass
class Stores:
    """The data of one loopback server; all files lie under `root`."""

    root: Path
    base_url: str
    secret_values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    buckets: Mapping[str, Path] = field(default_factory=dict)
    rates: dict[str, str] | None = field(default_factory=lambda: dict(PUBLISHED_RATES))

    def __post_init__(self) -> None:
        self.blobs = BlobStore(self.root, self.base_url)
        self.mounts = MountStore(self.root, self.blobs)
        self.secrets = SecretStore(self.secret_values)
        self.volumes = VolumeStore(self.root)
        self.dicts = DictStore()

    def bucket_folder(self, bucket_name: str, key_prefix: str = "") -> Path:
        """Return the local folder that stands for a bucket's prefix (made when it is missing)."""
        if bucket_name not in self.buckets:
            known = ", ".join(sorted(self.buckets)) or "none"
            text = f"Bucket {bucket_name!r} does not exist (known: {known})"
            raise GRPCError(Status.NOT_FOUND, text)
        folder = self.buckets[bucket_name] / key_prefix.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        return folder
