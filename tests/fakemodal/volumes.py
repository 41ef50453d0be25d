"""Volumes with Modal's semantics: a container works on a copy that it commits and reloads.

`volumes/<name>` is the committed tree. A container gets a copy of it at its start; `commit` carries
over what this container changed since (file by file, the last write wins), `reload` brings in what
others committed and is refused while a file is open. What is not committed dies with the copy.
"""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.fakemodal.trees import Scanner, Tree, Writer, changes

_V1, _V2 = api_pb2.VOLUME_FS_VERSION_V1, api_pb2.VOLUME_FS_VERSION_V2


@dataclass
class Volume:
    """One Volume and the folder of its committed tree."""

    volume_id: str
    name: str
    version: "api_pb2.VolumeFsVersion.ValueType"
    folder: Path
    created_at: float

    def metadata(self) -> api_pb2.VolumeMetadata:
        """Return what a handle of this Volume is hydrated with."""
        info = api_pb2.CreationInfo(created_at=self.created_at, created_by="loopback")
        return api_pb2.VolumeMetadata(version=self.version, name=self.name, creation_info=info)


@dataclass
class WorkingCopy:
    """What one container sees of a Volume, and the tree as it was at its last synchronisation."""

    volume: Volume
    task_id: str
    folder: Path
    sub_path: str
    read_only: bool
    before: Tree

    @property
    def committed(self) -> Path:
        """The part of the committed tree that this copy stands for."""
        return self.volume.folder / self.sub_path


class VolumeStore:
    """All Volumes and working copies of one server. Its methods block: call them in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.lock = threading.RLock()
        self._volumes: dict[str, Volume] = {}
        self._copies: list[WorkingCopy] = []
        self._full: set[str] = set()
        self._scanner = Scanner()
        self.staging = root / "staging"
        self.staging.mkdir(parents=True, exist_ok=True)
        self.peak_writers: dict[str, int] = {}  # by name: most containers that could write at once

    def path(self, name: str) -> Path:
        """Return the folder of the committed tree of a named Volume."""
        return self._root / "volumes" / name

    def create(self, name: str, *, version: int = 2) -> Path:
        """Make a named Volume as if by an earlier session and return its committed tree."""
        return self._new(name, _V1 if version == 1 else _V2).folder

    def fill(self, name: str) -> None:
        """From now on refuse to write to this Volume: no space left on device."""
        self._full.add(name)

    def get(self, volume_id: str) -> Volume:
        """Return a Volume by its id, NOT_FOUND when there is none."""
        if volume_id not in self._volumes:
            raise GRPCError(Status.NOT_FOUND, f"Volume {volume_id!r} not found")
        return self._volumes[volume_id]

    def listing(self) -> list[Volume]:
        """Return the named Volumes, newest first."""
        named = [volume for volume in self._volumes.values() if volume.name]
        return sorted(named, key=lambda volume: -volume.created_at)

    def get_or_create(self, request: api_pb2.VolumeGetOrCreateRequest) -> Volume:
        """Return a Volume by name, made when the request allows it."""
        name, creation = request.deployment_name, request.object_creation_type
        version = request.version or _V1
        with self.lock:
            known = {volume.name: volume for volume in self._volumes.values() if volume.name}
            if name not in known and creation != api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
                return self._new(name, version)
            if creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
                raise GRPCError(Status.ALREADY_EXISTS, f"Volume {name!r} already exists")
            return self._named(name, environment=request.environment_name or "main")

    def rename(self, volume_id: str, name: str) -> None:
        """Give a Volume another name."""
        volume = self.get(volume_id)
        volume.folder = volume.folder.rename(self.path(name))
        volume.name = name

    def delete(self, volume_id: str) -> None:
        """Forget a Volume and its committed tree."""
        shutil.rmtree(self.get(volume_id).folder)
        del self._volumes[volume_id]

    def working_copy(
        self, volume_id: str, task_id: str, *, read_only: bool = False, sub_path: str = ""
    ) -> Path:
        """Make the folder that a starting container mounts: the last commit, as it is now.

        A read-only copy consists of hard links, so it must be mounted read-only.
        """
        with self.lock:
            volume, sub_path = self.get(volume_id), (sub_path or "").strip("/")
            folder = (
                self._root / "copies" / task_id / f"{volume_id}-{len(self._copies_of(task_id))}"
            )
            folder.mkdir(parents=True)
            (volume.folder / sub_path).mkdir(parents=True, exist_ok=True)
            copy = WorkingCopy(volume, task_id, folder, sub_path, read_only, {})
            self._fetch(copy)
            self._copies.append(copy)
            writers = {held.task_id for held in self._copies if self._writes(held, volume)}
            peak = max(len(writers), self.peak_writers.get(volume.name, 0))
            self.peak_writers[volume.name] = peak
            return folder

    def commit(self, volume_id: str, task_id: str | None) -> None:
        """Publish what a container changed in a Volume since it last published."""
        with self.lock:
            for copy in self._mounted(volume_id, task_id):
                self._publish(copy)

    def commit_task(self, task_id: str) -> None:
        """Publish all Volumes of a container now, as Modal does by itself every few seconds."""
        with self.lock:
            for copy in self._copies_of(task_id):
                self._publish(copy)

    def reload(self, volume_id: str, task_id: str | None) -> None:
        """Publish, then bring in what others committed; refused while files are open."""
        with self.lock:
            copies = self._mounted(volume_id, task_id)
            if any(_has_open_files(copy) for copy in copies):
                text = "there are open files preventing the operation"
                raise GRPCError(Status.FAILED_PRECONDITION, text)
            for copy in copies:
                self._publish(copy)
                self._fetch(copy)

    def finish(self, task_id: str, *, commit: bool) -> None:
        """End a container: publish if it ended by itself, then drop its copies."""
        with self.lock:
            copies = self._copies_of(task_id)
            self._copies = [copy for copy in self._copies if copy.task_id != task_id]
            try:
                for copy in copies if commit else []:
                    if copy.volume.volume_id in self._volumes and not self._is_full(copy.volume):
                        self._publish(copy)
            finally:
                shutil.rmtree(self._root / "copies" / task_id, ignore_errors=True)

    def refuse_if_full(self, volume: Volume) -> None:
        """Raise what a client sees when a Volume takes no more data."""
        if self._is_full(volume):
            text = f"Volume {volume.name!r}: no space left on device"
            raise GRPCError(Status.RESOURCE_EXHAUSTED, text)

    def _is_full(self, volume: Volume) -> bool:
        return volume.name in self._full

    def _new(self, name: str, version: "api_pb2.VolumeFsVersion.ValueType") -> Volume:
        volume_id = f"vo-{uuid.uuid4().hex[:22]}"
        folder = self.path(name or f".ephemeral-{volume_id}")
        folder.mkdir(parents=True, exist_ok=True)
        volume = Volume(volume_id, name, version, folder, time.time())
        self._volumes[volume_id] = volume
        return volume

    def _named(self, name: str, *, environment: str = "main") -> Volume:
        for volume in self._volumes.values():
            if name and volume.name == name:
                return volume
        text = f"Volume {name!r} not found in environment {environment!r}"
        raise GRPCError(Status.NOT_FOUND, text)

    def _copies_of(self, task_id: str) -> list[WorkingCopy]:
        return [copy for copy in self._copies if copy.task_id == task_id]

    def _mounted(self, volume_id: str, task_id: str | None) -> list[WorkingCopy]:
        volume = self.get(volume_id)
        copies = [copy for copy in self._copies_of(task_id or "") if copy.volume is volume]
        if not copies:
            text = f"Volume {volume.name!r} is not mounted here: commit and reload need a container"
            raise GRPCError(Status.NOT_FOUND, text)
        return copies

    @staticmethod
    def _writes(copy: WorkingCopy, volume: Volume) -> bool:
        return copy.volume is volume and not copy.read_only

    def _publish(self, copy: WorkingCopy) -> None:
        if copy.read_only:
            return
        after = self._scanner.scan(copy.folder)
        difference = changes(copy.before, after)
        if difference.written:
            self.refuse_if_full(copy.volume)
        Writer(self.staging).apply(difference, copy.folder, copy.committed, after)
        copy.before = after

    def _fetch(self, copy: WorkingCopy) -> None:
        committed = self._scanner.scan(copy.committed)
        difference = changes(copy.before, committed)  # what others did: own changes stay
        writer = Writer(self.staging, link=copy.read_only)
        writer.apply(difference, copy.committed, copy.folder, committed)
        copy.before = committed


def _has_open_files(copy: WorkingCopy) -> bool:
    """Say whether a process of the container has a file of its copy open, or stands in it.

    Files are compared by inode, since a container has other names for its mounts, and processes
    belong to a container by their environment.
    """
    inodes = {_inode(copy.folder)} | {
        _inode(Path(parent) / name)
        for parent, folders, files in os.walk(copy.folder)
        for name in folders + files
    }
    inodes.discard(None)
    return any(_inode(path) in inodes for path in _opened_by(copy.task_id))


def _opened_by(task_id: str) -> Iterator[Path]:
    """Yield the open files and working folders of a container's processes."""
    for process in Path("/proc").glob("[1-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
            if f"MODAL_TASK_ID={task_id}".encode() in variables:
                yield process / "cwd"
                yield from (process / "fd").iterdir()
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
