"""The Volume calls: lookup, commit and reload, and the client's own reading and writing.

The two file system versions have calls of their own in Modal's protocol: version 1 uploads whole
files by their SHA-256 as mounts do, version 2 uploads 8 MiB blocks without their trailing zeros.
"""

import asyncio
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.fakemodal.blobs import BLOCK_BYTES
from tests.fakemodal.trees import make_folder, replace
from tests.fakemodal.volumes import Volume


class VolumeRpcs:
    """Handlers of the Volume calls; files are handled in threads."""

    async def VolumeGetOrCreate(self: Any, stream: Any) -> None:
        volume = self.stores.volumes.get_or_create(await stream.recv_message())
        reply = api_pb2.VolumeGetOrCreateResponse(
            volume_id=volume.volume_id, version=volume.version, metadata=volume.metadata()
        )
        await stream.send_message(reply)

    async def VolumeGetById(self: Any, stream: Any) -> None:
        volume = self.stores.volumes.get((await stream.recv_message()).volume_id)
        reply = api_pb2.VolumeGetByIdResponse(
            volume_id=volume.volume_id, metadata=volume.metadata()
        )
        await stream.send_message(reply)

    async def VolumeList(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        before = request.pagination.created_before or float("inf")
        items = [
            api_pb2.VolumeListItem(
                label=volume.name,
                volume_id=volume.volume_id,
                created_at=volume.created_at,
                metadata=volume.metadata(),
            )
            for volume in self.stores.volumes.listing()
            if volume.created_at < before
        ]
        limit = request.pagination.max_objects or len(items)
        await stream.send_message(api_pb2.VolumeListResponse(items=items[:limit]))

    async def VolumeRename(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        self.stores.volumes.rename(request.volume_id, request.name)
        await stream.send_message(Empty())

    async def VolumeDelete(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        await asyncio.to_thread(self.stores.volumes.delete, request.volume_id)
        await stream.send_message(Empty())

    async def VolumeHeartbeat(self: Any, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(Empty())

    async def VolumeCommit(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        task_id = self.task_of(stream)
        await asyncio.to_thread(self.stores.volumes.commit, request.volume_id, task_id)
        await stream.send_message(api_pb2.VolumeCommitResponse(skip_reload=True))

    async def VolumeReload(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        task_id = self.task_of(stream)
        await asyncio.to_thread(self.stores.volumes.reload, request.volume_id, task_id)
        await stream.send_message(Empty())

    async def VolumeListFiles(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(
            api_pb2.VolumeListFilesResponse(
                entries=await asyncio.to_thread(_list_files, self.stores.volumes, request)
            )
        )

    async def VolumeListFiles2(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(
            api_pb2.VolumeListFiles2Response(
                entries=await asyncio.to_thread(_list_files, self.stores.volumes, request)
            )
        )

    async def VolumeGetFile2(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(await asyncio.to_thread(_get_file, self.stores, request))

    async def VolumePutFiles(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        await asyncio.to_thread(_put_files, self.stores, request)
        await stream.send_message(Empty())

    async def VolumePutFiles2(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(await asyncio.to_thread(_put_blocks, self.stores, request))

    async def VolumeRemoveFile(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        await asyncio.to_thread(_remove_file, self.stores.volumes, request)
        await stream.send_message(Empty())

    async def VolumeRemoveFile2(self: Any, stream: Any) -> None:
        await VolumeRpcs.VolumeRemoveFile(self, stream)

    async def VolumeCopyFiles(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        await asyncio.to_thread(_copy_files, self.stores.volumes, request)
        await stream.send_message(Empty())

    async def VolumeCopyFiles2(self: Any, stream: Any) -> None:
        await VolumeRpcs.VolumeCopyFiles(self, stream)


def _resolve(volume: Volume, path: str, *, must_exist: bool = True) -> Path:
    """Return the committed path that a client names; NOT_FOUND when it is not there."""
    parts = PurePosixPath("/", path).parts[1:]
    if ".." in parts:
        raise GRPCError(Status.INVALID_ARGUMENT, f"{path!r} leads out of the Volume")
    found = volume.folder.joinpath(*parts)
    if must_exist and not found.exists() and not found.is_symlink():
        raise GRPCError(Status.NOT_FOUND, f"{path!r}: No such file or directory")
    return found


def _list_files(volumes: Any, request: Any) -> list[api_pb2.FileEntry]:
    with volumes.lock:
        volume = volumes.get(request.volume_id)
        start = _resolve(volume, request.path)
        paths = _walk(start, recursive=request.recursive) if start.is_dir() else [start]
        entries = [_entry(volume, path) for path in paths]
    return entries[: request.max_entries] if request.HasField("max_entries") else entries


def _walk(folder: Path, *, recursive: bool) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        yield path
        if recursive and path.is_dir() and not path.is_symlink():
            yield from _walk(path, recursive=True)


def _entry(volume: Volume, path: Path) -> api_pb2.FileEntry:
    status = path.lstat()
    if path.is_symlink():
        kind = api_pb2.FileEntry.FileType.SYMLINK
    elif path.is_dir():
        kind = api_pb2.FileEntry.FileType.DIRECTORY
    else:
        kind = api_pb2.FileEntry.FileType.FILE
    size = 0 if path.is_dir() else status.st_size
    name = path.relative_to(volume.folder).as_posix()
    return api_pb2.FileEntry(path=name, type=kind, mtime=int(status.st_mtime), size=size)


def _get_file(stores: Any, request: Any) -> api_pb2.VolumeGetFile2Response:
    with stores.volumes.lock:
        file = _resolve(stores.volumes.get(request.volume_id), request.path)
        if not file.is_file():
            raise GRPCError(Status.INVALID_ARGUMENT, f"{request.path!r} is not a regular file")
        size = file.stat().st_size
        url = stores.blobs.publish(file)
    start = min(request.start, size)
    stop = min(start + request.len, size) if request.len else size
    urls = []
    position = start
    while position < stop:
        end = min(stop, (position // BLOCK_BYTES + 1) * BLOCK_BYTES)
        urls.append(f"{url}?start={position}&len={end - position}")
        position = end
    return api_pb2.VolumeGetFile2Response(get_urls=urls, size=size, start=start, len=stop - start)


def _writable(stores: Any, request: Any, names: list[str]) -> Volume:
    """Return the Volume that a client uploads to, once the upload is known to be allowed."""
    volume: Volume = stores.volumes.get(request.volume_id)
    stores.volumes.refuse_if_full(volume)
    for name in names:
        target = _resolve(volume, name, must_exist=False)
        if target.is_dir():
            raise GRPCError(Status.ALREADY_EXISTS, f"{name!r} is a folder")
        if request.disallow_overwrite_existing_files and target.exists():
            raise GRPCError(Status.ALREADY_EXISTS, f"{name!r} already exists")
    return volume


def _put_files(stores: Any, request: api_pb2.VolumePutFilesRequest) -> None:
    with stores.volumes.lock:
        volume = _writable(stores, request, [file.filename for file in request.files])
        for file in request.files:
            part = stores.volumes.staging / uuid.uuid4().hex
            shutil.copyfile(stores.mounts.file(file.sha256_hex), part)
            part.chmod(file.mode & 0o777 if file.mode else 0o644)
            replace(part, _resolve(volume, file.filename, must_exist=False))


def _put_blocks(
    stores: Any, request: api_pb2.VolumePutFiles2Request
) -> api_pb2.VolumePutFiles2Response:
    """Write the files whose blocks are all here, or else name the blocks that are missing."""
    missing = [
        api_pb2.VolumePutFiles2Response.MissingBlock(
            file_index=file_index,
            block_index=block_index,
            put_url=f"{stores.base_url}/blocks/{block.contents_sha256.hex()}",
        )
        for file_index, file in enumerate(request.files)
        for block_index, block in enumerate(file.blocks)
        if not stores.blobs.block(block.contents_sha256.hex()).is_file()
    ]
    with stores.volumes.lock:
        volume = _writable(stores, request, [file.path for file in request.files])
        for file in request.files if not missing else []:
            part = stores.volumes.staging / uuid.uuid4().hex
            with part.open("wb") as opened:
                for index, block in enumerate(file.blocks):
                    opened.seek(index * BLOCK_BYTES)
                    opened.write(stores.blobs.block(block.contents_sha256.hex()).read_bytes())
                opened.truncate(file.size)
            part.chmod(file.mode & 0o777 if file.mode else 0o644)
            replace(part, _resolve(volume, file.path, must_exist=False))
    return api_pb2.VolumePutFiles2Response(missing_blocks=missing)


def _remove_file(volumes: Any, request: Any) -> None:
    with volumes.lock:
        path = _resolve(volumes.get(request.volume_id), request.path)
        if not path.is_dir() or path.is_symlink():
            path.unlink()
        elif request.recursive:
            shutil.rmtree(path)
        else:
            text = f"{request.path!r} is a folder: remove it with recursive=True"
            raise GRPCError(Status.INVALID_ARGUMENT, text)


def _copy_files(volumes: Any, request: Any) -> None:
    with volumes.lock:
        volume = volumes.get(request.volume_id)
        volumes.refuse_if_full(volume)
        target = _resolve(volume, request.dst_path, must_exist=False)
        if len(request.src_paths) > 1 and not target.is_dir():
            raise GRPCError(Status.INVALID_ARGUMENT, f"{request.dst_path!r} is not a folder")
        for source in (_resolve(volume, path) for path in request.src_paths):
            destination = target / source.name if target.is_dir() else target
            make_folder(destination.parent)
            if source.is_dir() and request.recursive:
                shutil.copytree(source, destination, dirs_exist_ok=True)
            else:
                part = volumes.staging / uuid.uuid4().hex
                shutil.copy2(source, part)
                replace(part, destination)
