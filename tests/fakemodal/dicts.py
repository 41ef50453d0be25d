"""modal.Dict: keys and values as the bytes that the client made of them."""

import uuid
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2


class DictStore:
    """Named and ephemeral Dicts, in memory."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[bytes, bytes]] = {}
        self._names: dict[str, str] = {}

    def get_or_create(self, request: api_pb2.DictGetOrCreateRequest) -> str:
        """Return the id of a Dict by name, made when the request allows it."""
        name, creation = request.deployment_name, request.object_creation_type
        dict_id = next((key for key, known in self._names.items() if name and known == name), None)
        if dict_id is not None:
            if creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
                raise GRPCError(Status.ALREADY_EXISTS, f"Dict {name!r} already exists")
            return dict_id
        if creation == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            environment = request.environment_name or "main"
            text = f"Dict {name!r} not found in environment {environment!r}"
            raise GRPCError(Status.NOT_FOUND, text)
        dict_id = f"di-{uuid.uuid4().hex[:22]}"
        self._entries[dict_id] = {entry.key: entry.value for entry in request.data}
        self._names[dict_id] = name
        return dict_id

    def entries(self, dict_id: str) -> dict[bytes, bytes]:
        """Return the entries of one Dict, to read and to change."""
        if dict_id not in self._entries:
            raise GRPCError(Status.NOT_FOUND, f"No Dict {dict_id!r}")
        return self._entries[dict_id]

    def update(self, request: api_pb2.DictUpdateRequest) -> bool:
        """Write entries; with `if_not_exists` only absent ones. Say whether any was written."""
        entries = self.entries(request.dict_id)
        if request.if_not_exists and any(entry.key in entries for entry in request.updates):
            return False
        entries.update({entry.key: entry.value for entry in request.updates})
        return True

    def delete(self, dict_id: str) -> None:
        """Forget a Dict."""
        self.entries(dict_id)
        del self._entries[dict_id], self._names[dict_id]

    def metadata(self, dict_id: str) -> api_pb2.DictMetadata:
        """Return the name of a Dict as the client wants it."""
        self.entries(dict_id)
        return api_pb2.DictMetadata(name=self._names[dict_id])


class DictRpcs:
    """The Dict calls that put, get, update, contents, pop, len and clear make."""

    async def DictGetOrCreate(self: Any, stream: Any) -> None:
        dicts = self.stores.dicts
        dict_id = dicts.get_or_create(await stream.recv_message())
        reply = api_pb2.DictGetOrCreateResponse(dict_id=dict_id, metadata=dicts.metadata(dict_id))
        await stream.send_message(reply)

    async def DictGetById(self: Any, stream: Any) -> None:
        dict_id = (await stream.recv_message()).dict_id
        metadata = self.stores.dicts.metadata(dict_id)
        await stream.send_message(api_pb2.DictGetByIdResponse(dict_id=dict_id, metadata=metadata))

    async def DictUpdate(self: Any, stream: Any) -> None:
        created = self.stores.dicts.update(await stream.recv_message())
        await stream.send_message(api_pb2.DictUpdateResponse(created=created))

    async def DictGet(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        value = self.stores.dicts.entries(request.dict_id).get(request.key)
        await stream.send_message(api_pb2.DictGetResponse(found=value is not None, value=value))

    async def DictPop(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        value = self.stores.dicts.entries(request.dict_id).pop(request.key, None)
        await stream.send_message(api_pb2.DictPopResponse(found=value is not None, value=value))

    async def DictContains(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        found = request.key in self.stores.dicts.entries(request.dict_id)
        await stream.send_message(api_pb2.DictContainsResponse(found=found))

    async def DictLen(self: Any, stream: Any) -> None:
        entries = self.stores.dicts.entries((await stream.recv_message()).dict_id)
        await stream.send_message(api_pb2.DictLenResponse(len=len(entries)))

    async def DictContents(self: Any, stream: Any) -> None:
        request = await stream.recv_message()
        for key, value in list(self.stores.dicts.entries(request.dict_id).items()):
            kept_key, kept_value = key if request.keys else b"", value if request.values else b""
            await stream.send_message(api_pb2.DictEntry(key=kept_key, value=kept_value))

    async def DictClear(self: Any, stream: Any) -> None:
        self.stores.dicts.entries((await stream.recv_message()).dict_id).clear()
        await stream.send_message(Empty())

    async def DictDelete(self: Any, stream: Any) -> None:
        self.stores.dicts.delete((await stream.recv_message()).dict_id)
        await stream.send_message(Empty())

    async def DictHeartbeat(self: Any, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(Empty())
