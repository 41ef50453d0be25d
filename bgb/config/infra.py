"""Configuration of rented machines: what a container has, what it may cost, what it mounts.

An option of group `infra` fills these keys, and `hydra.launcher` takes them over one by one, so
that `infra.timeout_h=6` works. A Hydra program other than ours sets `hydra.launcher.*` instead.
"""

from dataclasses import dataclass

from bgb.config.check import not_negative, one_of, positive, require
from bgb.config.option import option

# Modal guide, GPU acceleration (2026-08); `A100` alone leaves the size of its memory open.
GPUS = (
    *("T4", "L4", "A10", "L40S", "A100-40GB", "A100-80GB", "RTX-PRO-6000"),
    *("H100", "H100!", "H200", "B200"),
)
MAX_TIMEOUT_H = 24.0  # Modal's limit of one attempt
MAX_RETRIES = 10


@dataclass(frozen=True)
class VolumeConfig:
    """The Modal Volume that keeps caches, runs and what a sweep leaves."""

    name: str = option("brain-go-brr-results", "Modal Volume")
    mount: str = option("/results", "where containers see it")
    version: int = option(1, "1, or 2 (beta): decides how many may write at once")
    create: bool = option(True, "make it where it does not exist")

    def __post_init__(self) -> None:
        one_of("infra.volume.version", self.version, (1, 2))
        _absolute("infra.volume.mount", self.mount)


@dataclass(frozen=True)
class BucketConfig:
    """The S3 bucket with the EDF files, mounted read-only."""

    name: str | None = option("brain-go-brr-eeg-data-20250919", "S3 bucket; null = no bucket")
    prefix: str = option("tusz/", "folder of the bucket that is mounted")
    mount: str = option("/data", "where containers see it")
    endpoint: str | None = option(None, "S3 endpoint other than AWS, e.g. of R2 or MinIO")
    secret: str | None = option("aws-s3-secret", "Modal secret with the keys; null = public bucket")

    def __post_init__(self) -> None:
        _absolute("infra.bucket.mount", self.mount)
        require(
            not self.prefix or (self.prefix.endswith("/") and not self.prefix.startswith("/")),
            f"infra.bucket.prefix={self.prefix!r} must end in / and not begin with it, or be empty",
        )


@dataclass(frozen=True)
class RootsConfig:
    """Where a container finds the EDF files of each corpus; `data.root=` overrides it."""

    tusz: str = option("/data/edf", "TUSZ: the folder above train, dev and eval")
    other: str = option("/results/data", "folder that holds one folder a corpus, for all others")


@dataclass(frozen=True)
class CacheWorkersConfig:
    """The CPU containers that build a cache before a GPU starts."""

    containers: int = option(20, "most at once; a Volume of version 1 takes 5 writers")
    cpu: float = option(2.0, "physical cores of one")
    memory_gib: float = option(8.0, "memory of one", unit="GiB")

    def __post_init__(self) -> None:
        positive(
            infra__cache__containers=self.containers,
            infra__cache__cpu=self.cpu,
            infra__cache__memory_gib=self.memory_gib,
        )


@dataclass(frozen=True)
class InfraConfig:
    """Modal: one container a job, all of one app, each within its hours and the sweep within its
    dollars."""

    name: str = option("modal", "what this infrastructure is called")
    app: str = option("bgb", "Modal app; a sweep deploys <app>-<id of the sweep>")
    environment: str | None = option(None, "Modal environment; null = that of the profile")
    gpu: str | None = option(None, "GPU, with :n for several; null = none")
    cpu: float = option(2.0, "physical cores")
    memory_gib: float = option(8.0, "memory", unit="GiB")
    region: str | None = option(None, "cloud region; pinning one costs 1.5 times as much or more")
    timeout_h: float = option(24.0, "longest attempt; a job goes on in the next one", unit="h")
    max_hours: float = option(8.0, "most hours of one job, all attempts together", unit="h")
    max_attempts: int = option(10, "starts of one job, preemptions and crashes included")
    startup_timeout_s: float = option(600.0, "longest start of a container", unit="s")
    max_containers: int = option(10, "jobs at once; Modal's free plan has 10 GPUs")
    max_cost_usd: float = option(100.0, "refuse to start what could cost more", unit="$")
    fail_fast: int | None = option(None, "cancel the sweep after so many failed jobs; null = never")
    volume: VolumeConfig = option(VolumeConfig, "caches, runs and results")
    bucket: BucketConfig = option(BucketConfig, "EDF files, read-only")
    secrets: list[str] = option([], "Modal secrets whose variables the jobs see")
    roots: RootsConfig = option(RootsConfig, "where containers find EDF files")
    cache: CacheWorkersConfig = option(CacheWorkersConfig, "containers that build caches")
    lock: str | None = option(None, "requirements file of the image; null = requirements.lock")
    python: str | None = option(None, "Python of the image; null = the one used here")
    apt: list[str] = option([], "Debian packages of the image")
    packages: list[str] = option([], "further Python packages (folders) to ship, by import name")
    sync_exclude: list[str] = option(["*.ckpt"], "files that stay on the Volume, by pattern")
    poll_s: float = option(2.0, "time between two looks at the jobs", unit="s")

    def __post_init__(self) -> None:
        positive(
            infra__cpu=self.cpu,
            infra__memory_gib=self.memory_gib,
            infra__timeout_h=self.timeout_h,
            infra__max_hours=self.max_hours,
            infra__max_attempts=self.max_attempts,
            infra__startup_timeout_s=self.startup_timeout_s,
            infra__max_containers=self.max_containers,
            infra__fail_fast=self.fail_fast,
            infra__poll_s=self.poll_s,
        )
        not_negative(infra__max_cost_usd=self.max_cost_usd)
        require(
            self.timeout_h <= MAX_TIMEOUT_H,
            f"infra.timeout_h={self.timeout_h} is above Modal's limit of {MAX_TIMEOUT_H:g} h for "
            "one attempt; raise infra.max_hours instead: a job goes on in its next attempt",
        )
        if self.gpu is not None:
            _check_gpu(self.gpu)

    @property
    def num_gpus(self) -> int:
        return int(self.gpu.partition(":")[2] or 1) if self.gpu else 0

    @property
    def gpu_name(self) -> str | None:
        """Name of the GPU without its number."""
        return self.gpu.partition(":")[0] if self.gpu else None


def _check_gpu(gpu: str) -> None:
    name, _, count = gpu.partition(":")
    one_of("infra.gpu", name, GPUS)
    require(
        not count or (count.isdigit() and 1 <= int(count) <= 8),
        f"infra.gpu={gpu!r}: the number after the colon must be 1 to 8",
    )


def _absolute(key: str, path: str) -> None:
    require(
        path.startswith("/") and path != "/",
        f"{key}={path!r} must be an absolute path below / such as /results",
    )
