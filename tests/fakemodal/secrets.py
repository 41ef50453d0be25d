"""Secrets: the named ones that the test gives and the anonymous ones of `Secret.from_dict`."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2


class SecretStore:
    """Environment variables by secret id; no reply of the server ever holds a value."""

    def __init__(self, named: Mapping[str, Mapping[str, str]]) -> None:
        self._values: dict[str, dict[str, str]] = {}
        self._names: dict[str, str] = {}
        for name, values in named.items():
            self._add(name, values)

    def _add(self, name: str, values: Mapping[str, str]) -> str:
        secret_id = f"st-{uuid.uuid4().hex[:22]}"
        self._values[secret_id] = dict(values)
        self._names[secret_id] = name
        return secret_id

    def _id_of(self, name: str) -> str | None:
        return next((key for key, known in self._names.items() if name and known == name), None)

    def get_or_create(self, request: api_pb2.SecretGetOrCreateRequest) -> str:
        """Return the id of a named secret, or make one from the values in the request."""
        name, creation = request.deployment_name, request.object_creation_type
        secret_id = self._id_of(name)
        if secret_id is None and creation == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            environment = request.environment_name or "main"
            text = f"Secret {name!r} not found in environment {environment!r}"
            raise GRPCError(Status.NOT_FOUND, text)
        if secret_id is None:
            return self._add(name, request.env_dict)
        if creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise GRPCError(Status.ALREADY_EXISTS, f"Secret {name!r} already exists")
        if creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
            self._values[secret_id] = dict(request.env_dict)
        absent = sorted(set(request.required_keys) - set(self._values[secret_id]))
        if absent:
            text = f"Secret {name!r} is missing key(s): {', '.join(absent)}"
            raise GRPCError(Status.FAILED_PRECONDITION, text)
        return secret_id

    def metadata(self, secret_id: str) -> api_pb2.SecretMetadata:
        """Return what the client may know of a secret: its name and keys."""
        if secret_id not in self._values:
            raise GRPCError(Status.NOT_FOUND, f"No secret {secret_id!r}")
        return api_pb2.SecretMetadata(
            name=self._names[secret_id],
            keys=sorted(self._values[secret_id]),
            environment_name="main",
        )

    def secret_env(self, secret_ids: Iterable[str]) -> dict[str, str]:
        """Return the environment variables of some secrets; later secrets win."""
        merged: dict[str, str] = {}
        for secret_id in secret_ids:
            self.metadata(secret_id)
            merged |= self._values[secret_id]
        return merged

    def update(self, request: api_pb2.SecretUpdateRequest) -> None:
        """Set or (without a value) remove single keys."""
        self.metadata(request.secret_id)
        values = self._values[request.secret_id]
        for change in request.updates:
            if change.HasField("value"):
                values[change.key] = change.value
            else:
                values.pop(change.key, None)

    def listing(self) -> list[api_pb2.SecretListItem]:
        """Return the named secrets."""
        return [
            api_pb2.SecretListItem(
                label=name,
                secret_id=secret_id,
                environment_name="main",
                metadata=self.metadata(secret_id),
            )
            for secret_id, name in self._names.items()
            if name
        ]


class SecretRpcs:
    """SecretGetOrCreate, SecretGetInfo, SecretUpdate and SecretList."""

    async def SecretGetOrCreate(self: Any, stream: Any) -> None:
        secret_id = self.stores.secrets.get_or_create(await stream.recv_message())
        metadata = self.stores.secrets.metadata(secret_id)
        reply = api_pb2.SecretGetOrCreateResponse(secret_id=secret_id, metadata=metadata)
        await stream.send_message(reply)

    async def SecretGetInfo(self: Any, stream: Any) -> None:
        metadata = self.stores.secrets.metadata((await stream.recv_message()).secret_id)
        await stream.send_message(api_pb2.SecretGetInfoResponse(metadata=metadata))

    async def SecretUpdate(self: Any, stream: Any) -> None:
        self.stores.secrets.update(await stream.recv_message())
        await stream.send_message(Empty())

    async def SecretList(self: Any, stream: Any) -> None:
        await stream.recv_message()
        items = self.stores.secrets.listing()
        await stream.send_message(api_pb2.SecretListResponse(items=items, environment_name="main"))
