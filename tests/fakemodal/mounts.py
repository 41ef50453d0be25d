"""Mounts: the local files that a client ships, kept by their SHA-256."""

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.fakemodal.blobs import BlobStore


class MountStore:
    """Uploaded files by content (`mounts/<sha256>`) and the lists of them that make a mount."""

    def __init__(self, root: Path, blobs: BlobStore) -> None:
        self._folder = root / "objects" / "mounts"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._blobs = blobs
        self._files: dict[str, list[api_pb2.MountFile]] = {}

    def file(self, sha256_hex: str) -> Path:
        """Return the uploaded file with this content (absent until it is uploaded)."""
        return self._folder / sha256_hex

    def put(self, request: api_pb2.MountPutFileRequest) -> bool:
        """Keep the content of one request, if it has any; say whether the file is here now."""
        target, content = self.file(request.sha256_hex), request.WhichOneof("data_oneof")
        if content is not None and not target.is_file():
            blob = content == "data_blob_id"
            data = self._blobs.read(request.data_blob_id) if blob else request.data
            if hashlib.sha256(data).hexdigest() != request.sha256_hex:
                raise GRPCError(Status.INVALID_ARGUMENT, "The file differs from its SHA-256")
            target.write_bytes(data)
        return target.is_file()

    def create(self, request: api_pb2.MountGetOrCreateRequest) -> tuple[str, str]:
        """Return (mount id, checksum) of a list of files, or of a deployed mount by its name."""
        absent = [
            file.filename for file in request.files if not self.file(file.sha256_hex).exists()
        ]
        if absent:
            raise GRPCError(Status.FAILED_PRECONDITION, f"Not uploaded yet: {absent[:3]}")
        if request.deployment_name and not request.files and not request.object_creation_type:
            # Modal's own mounts (its client, a Python): here the interpreter's packages serve.
            checksum = hashlib.sha256(request.deployment_name.encode()).hexdigest()
        else:
            lines = sorted(f"{file.filename} {file.sha256_hex}" for file in request.files)
            checksum = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        self._files[f"mo-{checksum[:22]}"] = list(request.files)
        return f"mo-{checksum[:22]}", checksum

    def mount_files(self, mount_ids: Iterable[str], target: Path) -> None:
        """Lay out the files of some mounts under `target`, the container's future root folder."""
        for mount_id in mount_ids:
            if mount_id not in self._files:
                raise GRPCError(Status.NOT_FOUND, f"No mount {mount_id!r}")
            for file in self._files[mount_id]:
                path = target / file.filename.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.file(file.sha256_hex), path)
                path.chmod(file.mode & 0o777 if file.mode else 0o644)

    def payloads(self) -> list[bytes]:
        """Return the content of every uploaded file, to search it for secrets."""
        return [file.read_bytes() for file in sorted(self._folder.iterdir())]


class MountRpcs:
    """MountGetOrCreate, MountPutFile and MountBatchedCheckExistence."""

    async def MountGetOrCreate(self: Any, stream: Any) -> None:
        mount_id, checksum = self.stores.mounts.create(await stream.recv_message())
        metadata = api_pb2.MountHandleMetadata(content_checksum_sha256_hex=checksum)
        reply = api_pb2.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=metadata)
        await stream.send_message(reply)

    async def MountPutFile(self: Any, stream: Any) -> None:
        exists = self.stores.mounts.put(await stream.recv_message())
        await stream.send_message(api_pb2.MountPutFileResponse(exists=exists))

    async def MountBatchedCheckExistence(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        hashes = request.sha256_hex_hashes
        absent = [name for name in hashes if not self.stores.mounts.file(name).is_file()]
        reply = api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=absent)
        await stream.send_message(reply)
