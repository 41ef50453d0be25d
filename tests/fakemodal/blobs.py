"""Blobs: payloads too large for a message, and the 8 MiB blocks of Volume files, over HTTP.

`BlobServer` is the object store's HTTP side and runs in the server's event loop; `BlobStore` is its
folder. An upload is answered with the MD5 as ETag, which the client compares with its own.
A file to be downloaded is first linked under a name of its own (`publish`): the link keeps the
bytes of that moment, since files are replaced and never rewritten.
"""

import base64
import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

from aiohttp import web
from grpclib import GRPCError, Status
from modal_proto import api_pb2

BLOCK_BYTES = 8 * 1024 * 1024


class BlobStore:
    """Files of uploaded bytes: `blobs/<id>`, `blocks/<sha256>` and `reads/<token>`."""

    def __init__(self, root: Path, base_url: str) -> None:
        self.base_url = base_url
        self.folders = {kind: root / "objects" / kind for kind in ("blobs", "blocks", "reads")}
        for folder in self.folders.values():
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, blob_id: str) -> Path:
        """Return the file of a blob."""
        return self.folders["blobs"] / blob_id

    def read(self, blob_id: str) -> bytes:
        """Return a blob's bytes, NOT_FOUND when it was never uploaded."""
        if not self.path(blob_id).is_file():
            raise GRPCError(Status.NOT_FOUND, f"Blob {blob_id!r} was not uploaded")
        return self.path(blob_id).read_bytes()

    def put(self, data: bytes) -> str:
        """Keep bytes as a new blob and return its id."""
        blob_id = f"bl-{secrets.token_hex(8)}"
        self.path(blob_id).write_bytes(data)
        return blob_id

    def block(self, sha256_hex: str) -> Path:
        """Return the file of a Volume block (absent until it is uploaded)."""
        return self.folders["blocks"] / sha256_hex

    def publish(self, file: Path) -> str:
        """Make the present bytes of a file downloadable and return the URL."""
        token = secrets.token_hex(8)
        os.link(file, self.folders["reads"] / token, follow_symlinks=True)
        return f"{self.base_url}/reads/{token}"

    def payloads(self) -> list[bytes]:
        """Return all that clients and containers have uploaded, to search it for secrets."""
        files = [*self.folders["blobs"].iterdir(), *self.folders["blocks"].iterdir()]
        return [file.read_bytes() for file in sorted(files) if not file.name.endswith(".part")]


class BlobServer:
    """The HTTP server of the blobs; `start` returns the base URL that `Stores` needs."""

    def __init__(self, root: Path) -> None:
        self._store = BlobStore(root, "")
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen on an ephemeral loopback port and return the base URL."""
        app = web.Application(client_max_size=2**40)
        app.router.add_put("/{kind:blobs|blocks}/{name}", self._put)
        app.router.add_get("/{kind:blobs|reads}/{name}", self._get)
        # The access log goes to the root logger as soon as a program configures logging.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close the server."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _put(self, request: web.Request) -> web.Response:
        target = self._store.folders[request.match_info["kind"]] / request.match_info["name"]
        part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        md5, sha256 = hashlib.md5(), hashlib.sha256()
        with part.open("wb") as file:
            async for chunk in request.content.iter_chunked(1 << 20):
                md5.update(chunk)
                sha256.update(chunk)
                file.write(chunk)
        if request.match_info["kind"] == "blocks" and sha256.hexdigest() != target.name:
            part.unlink()
            return web.Response(status=400, text="the block does not have the announced SHA-256")
        part.replace(target)
        return web.Response(text="stored", headers={"ETag": f'"{md5.hexdigest()}"'})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        file = self._store.folders[request.match_info["kind"]] / request.match_info["name"]
        if not file.is_file():
            return web.Response(status=404, text=f"{request.path} was not uploaded")
        if "start" not in request.query:
            return web.FileResponse(file)
        with file.open("rb") as opened:
            opened.seek(int(request.query["start"]))
            body = opened.read(int(request.query["len"]))
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode("ascii")
        return web.Response(body=body, headers={"Repr-Digest": f"sha-256=:{digest}:"})


class BlobRpcs:
    """BlobCreate and BlobGet."""

    async def BlobCreate(self: Any, stream: Any) -> None:
        await stream.recv_message()
        blob_id = f"bl-{secrets.token_hex(8)}"
        url = f"{self.stores.base_url}/blobs/{blob_id}"
        urls = api_pb2.UploadUrlList(items=[url])
        reply = api_pb2.BlobCreateResponse(blob_id=blob_id, blob_ids=[blob_id], upload_urls=urls)
        await stream.send_message(reply)

    async def BlobGet(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        if not self.stores.blobs.path(request.blob_id).is_file():
            raise GRPCError(Status.NOT_FOUND, f"Blob {request.blob_id!r} was not uploaded")
        url = f"{self.stores.base_url}/blobs/{request.blob_id}"
        await stream.send_message(api_pb2.BlobGetResponse(download_url=url))

    async def FunctionBlobGet(self: Any, stream: Any) -> None:
        await BlobRpcs.BlobGet(self, stream)
