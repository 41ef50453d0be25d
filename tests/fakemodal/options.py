"""What a function asked Modal for, as a plain dictionary that a test can compare."""

from typing import Any

from modal_proto import api_pb2

from tests.fakemodal.images import layers
from tests.fakemodal.state import FunctionRecord, State
from tests.fakemodal.stores import Stores


def options_of(function: FunctionRecord, state: State, stores: Stores) -> dict[str, Any]:
    """Return one function's options; `gpu` is a list where alternatives were given.

    `cpu` and `memory_mib` are (request, limit), the limit None when there is none. `volumes` and
    `buckets` go by mount path, `image` holds the commands of all layers, `image_files` the files
    that the commands copy.
    """
    definition = function.definition
    resources = definition.resources
    gpus = [_gpu(ranked.function.resources) for ranked in function.data.ranked_functions]
    chain = layers(state, definition.image_id)
    return {
        "function_id": function.function_id,
        "app": state.apps[function.app_id].name,
        "tags": dict(state.apps[function.app_id].tags),
        "name": function.name,
        "module": definition.module_name,
        "gpu": gpus if len(gpus) > 1 else gpus[0],
        "cpu": (resources.milli_cpu / 1000, resources.milli_cpu_max / 1000 or None),
        "memory_mib": (resources.memory_mb, resources.memory_mb_max or None),
        "ephemeral_disk_mib": resources.ephemeral_disk_mb or None,
        "timeout_s": definition.timeout_secs,
        "startup_timeout_s": definition.startup_timeout_secs,
        "retries": definition.retry_policy.retries,
        "max_containers": definition.autoscaler_settings.max_containers
        or definition.concurrency_limit
        or None,
        "single_use_containers": definition.single_use_containers,
        "regions": list(definition.scheduler_placement.regions),
        "image": [c for layer in chain for c in layer.message.dockerfile_commands],
        "image_files": {
            file.filename: file.data for layer in chain for file in layer.message.context_files
        },
        "builder_version": chain[-1].builder_version if chain else None,
        "volumes": {m.mount_path: _volume(m, stores) for m in definition.volume_mounts},
        "buckets": {m.mount_path: _bucket(m, stores) for m in definition.cloud_bucket_mounts},
        "secrets": [stores.secrets.metadata(secret_id).name for secret_id in definition.secret_ids],
    }


def _gpu(resources: api_pb2.Resources) -> str | None:
    gpu = resources.gpu_config
    if not gpu.gpu_type:
        return None
    return gpu.gpu_type if gpu.count <= 1 else f"{gpu.gpu_type}:{gpu.count}"


def _volume(mount: api_pb2.VolumeMount, stores: Stores) -> dict[str, Any]:
    volume = stores.volumes.get(mount.volume_id)
    return {
        "name": volume.name,
        "version": volume.version,
        "read_only": mount.read_only,
        "sub_path": mount.sub_path,
    }


def _bucket(mount: api_pb2.CloudBucketMount, stores: Stores) -> dict[str, Any]:
    secret_id = mount.credentials_secret_id
    return {
        "bucket": mount.bucket_name,
        "key_prefix": mount.key_prefix,
        "read_only": mount.read_only,
        "secret": stores.secrets.metadata(secret_id).name if secret_id else None,
    }
