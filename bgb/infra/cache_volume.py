"""What the laptop sees of a cache on the Volume, and who is building it; no container is started.

The few small files that describe a cache are copied into a temporary folder and read there by the
functions that read any cache.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from bgb.config.data import SPLITS, DataConfig
from bgb.config.infra import InfraConfig
from bgb.data.cache import Cache, CachedRecording
from bgb.data.key import cache_folder
from bgb.data.manifest import MANIFEST, load_manifest
from bgb.data.snapshot import SNAPSHOTS, read_snapshot, snapshot_path
from bgb.errors import CacheError, InfraError

if TYPE_CHECKING:
    import modal

_BUILDERS = "builders"  # folder with a file for each build that goes on: its calls


def volume_path(config: DataConfig, infra: InfraConfig) -> PurePosixPath:
    """Return the folder of the cache on the Volume, from the Volume's own root.

    Raises
    ------
    InfraError : data.cache_root is elsewhere, and would be lost with the container.
    """
    folder, mount = PurePosixPath(cache_folder(config)), PurePosixPath(infra.volume.mount)
    if not folder.is_relative_to(mount):
        raise InfraError(
            f"data.cache_root={config.cache_root} is not on the Volume, which containers see at "
            f"{mount} (infra.volume.mount): the cache would be lost with its container; leave out "
            f"results= and data.cache_root=, or put them below {mount}"
        )
    return folder.relative_to(mount)


def find_cache(volume: "modal.Volume", config: DataConfig, infra: InfraConfig) -> Cache | None:
    """Return the cache on the Volume if all that the configuration selects is there.

    Its entries can be read and checked here, its signals cannot. With ``check_source=false`` a list
    of another root serves, too.
    """
    path = volume_path(config, infra)
    with _mirror(volume, config, path) as local:
        try:
            wanted = read_snapshot(local)
        except CacheError:
            return None
        manifest = load_manifest(cache_folder(local)) or {}
    sizes = {
        f"{split}/{name}": size
        for split in SPLITS
        for name, size in _list(volume, path / split).items()
    }
    files = [f"{split}/{recording_id}.npz" for split, recording_id in wanted]
    if any(file not in manifest or sizes.get(file) != manifest[file].num_bytes for file in files):
        return None
    folder = cache_folder(config)
    return Cache(folder, tuple(CachedRecording(folder / file, manifest[file]) for file in files))


def read_builders(volume: "modal.Volume", path: PurePosixPath) -> dict[str, list[str]]:
    """Return the call ids of each build of this cache that did not come to its end."""
    found = {}
    for name in _list(volume, path / _BUILDERS):
        data = _read(volume, path / _BUILDERS / name)
        if data is not None:
            found[name.removesuffix(".json")] = [str(call) for call in json.loads(data)]
    return found


def write_builders(
    volume: "modal.Volume", path: PurePosixPath, *, build: str, calls: Sequence[str]
) -> None:
    """Keep the call ids of a build, so that another command waits for it and repeats nothing."""
    with volume.batch_upload(force=True) as upload:
        upload.put_file(
            BytesIO(json.dumps(list(calls)).encode()), f"/{path / _BUILDERS / build}.json"
        )


def remove_builders(volume: "modal.Volume", path: PurePosixPath, *, build: str) -> None:
    """Forget a build that ended."""
    from modal.exception import NotFoundError

    with suppress(NotFoundError, FileNotFoundError):
        volume.remove_file(f"/{path / _BUILDERS / build}.json")


@contextmanager
def _mirror(
    volume: "modal.Volume", config: DataConfig, path: PurePosixPath
) -> Iterator[DataConfig]:
    """Yield the configuration with a cache root that holds manifest and snapshots only."""
    with tempfile.TemporaryDirectory() as folder:
        local = replace(config, cache_root=folder)
        own = snapshot_path(local).name
        names = [own] if config.check_source else [own, *_list(volume, path / SNAPSHOTS)]
        for name in (MANIFEST, *(f"{SNAPSHOTS}/{name}" for name in names)):
            data = _read(volume, path / name)
            if data is not None:
                target = cache_folder(local) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        yield local


def _list(volume: "modal.Volume", path: PurePosixPath) -> dict[str, int]:
    """Return the sizes of the files of one folder; nothing where there is none."""
    from modal.exception import NotFoundError

    try:
        entries = volume.listdir(f"/{path}")
    except (NotFoundError, FileNotFoundError):
        return {}
    return {PurePosixPath(entry.path).name: entry.size for entry in entries}


def _read(volume: "modal.Volume", path: PurePosixPath) -> bytes | None:
    try:
        return b"".join(volume.read_file(str(path)))
    except FileNotFoundError:
        return None
