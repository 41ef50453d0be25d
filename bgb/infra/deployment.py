"""The Modal app of a sweep: two pools of the worker's function, with what each may use and cost.

Requests are limits, too: Modal bills what is used above a request, and the price that is told
before a sweep starts must be an upper bound.
"""

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgb.config.infra import MAX_RETRIES, MAX_TIMEOUT_H, InfraConfig
from bgb.infra import worker
from bgb.infra.container import Container
from bgb.infra.cost import SLACK_H
from bgb.infra.image import build_image, lock_file, python_version, shipped

if TYPE_CHECKING:
    import modal

_log = logging.getLogger(__name__)
JOB, CPU = "job", "cpu"
VOLUME_V1_WRITERS = 5  # Modal guide, Volumes: with more writers at once files may be lost
# What only the launching side reads: no reason to deploy anew.
_OF_THE_LAUNCHER = ("name", "max_cost_usd", "fail_fast", "sync_exclude", "poll_s")


def build_app(infra: InfraConfig, *, name: str, packages: Sequence[str] = ()) -> "modal.App":
    """Describe the app; nothing is sent before it is deployed."""
    import modal

    app = modal.App(name, tags={"bgb": "sweep", "infra": infra.name}, include_source=False)
    image = build_image(infra, packages)
    for pool in (JOB, CPU):
        options = _machine(infra, pool) | _mounts(infra)
        environ = _container(infra, name, pool).to_environ()
        app.function(name=pool, image=image, env=environ, **options)(worker.run)
    return app


def num_containers(infra: InfraConfig, pool: str) -> int:
    """Return how many containers of a pool may run at once, as the Volume allows."""
    wanted = infra.max_containers if pool == JOB else infra.cache.containers
    return wanted if infra.volume.version != 1 else min(wanted, VOLUME_V1_WRITERS)


def find_volume(infra: InfraConfig) -> "modal.Volume":
    """Return the Volume by its name."""
    import modal

    return modal.Volume.from_name(
        infra.volume.name,
        environment_name=infra.environment,
        create_if_missing=infra.volume.create,
        version=infra.volume.version,
    )


def digest(infra: InfraConfig, packages: Sequence[str] = ()) -> str:
    """Return a digest of all that a deployment consists of: configuration, lock file, source."""
    options = {key: value for key, value in asdict(infra).items() if key not in _OF_THE_LAUNCHER}
    known = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    known.update(python_version(infra).encode())
    known.update(lock_file(infra).read_bytes())
    for target, source in sorted(shipped(infra, packages).items()):
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file() and "__pycache__" not in path.parts:
                known.update(f"{target}/{path.relative_to(source)}\n".encode())
                known.update(hashlib.sha256(path.read_bytes()).digest())
    return known.hexdigest()


def _container(infra: InfraConfig, name: str, pool: str) -> Container:
    return Container(
        app=name,
        volume=infra.volume.name,
        mount=infra.volume.mount,
        environment=infra.environment or "",
        gpu=(infra.gpu or "") if pool == JOB else "",
    )


def attempt_hours(infra: InfraConfig) -> float:
    """Return after how many hours Modal ends one attempt."""
    return min(infra.timeout_h, infra.max_hours + SLACK_H, MAX_TIMEOUT_H)


def _machine(infra: InfraConfig, pool: str) -> dict[str, Any]:  # Any: what app.function takes
    import modal

    cpu, memory_gib = infra.cpu, infra.memory_gib
    if pool == CPU:
        cpu, memory_gib = infra.cache.cpu, infra.cache.memory_gib
    memory_mib = math.ceil(memory_gib * 1024)
    longest_s = 3600 * attempt_hours(infra)
    containers = num_containers(infra, pool)
    if pool == JOB and containers < infra.max_containers:
        _log.info(
            "at most %d jobs at once instead of infra.max_containers=%d: Volume %s is of version 1",
            containers, infra.max_containers, infra.volume.name,
        )  # fmt: skip
    return {
        "gpu": infra.gpu if pool == JOB else None,
        "cpu": (cpu, cpu),
        "memory": (memory_mib, memory_mib),
        "region": infra.region,
        "timeout": math.ceil(longest_s),
        "startup_timeout": math.ceil(infra.startup_timeout_s),
        # The worker's own errors are replies; what is tried again is a timeout or a lost machine.
        "retries": modal.Retries(
            max_retries=min(MAX_RETRIES, infra.max_attempts - 1), initial_delay=0.0
        ),
        "max_containers": containers,
        # Modal's example of long training: an attempt always begins in a fresh container.
        "single_use_containers": True,
    }


def _mounts(infra: InfraConfig) -> dict[str, Any]:  # Any: what app.function takes
    import modal

    environment = infra.environment
    volumes: dict[str | Path, Any] = {infra.volume.mount: find_volume(infra)}
    bucket = infra.bucket
    if bucket.name:
        secret = None
        if bucket.secret:
            secret = modal.Secret.from_name(bucket.secret, environment_name=environment)
        volumes[bucket.mount] = modal.CloudBucketMount(
            bucket.name,
            bucket_endpoint_url=bucket.endpoint,
            key_prefix=bucket.prefix or None,
            secret=secret,
            read_only=True,
        )
    secrets = [modal.Secret.from_name(name, environment_name=environment) for name in infra.secrets]
    return {"volumes": volumes, "secrets": secrets}
