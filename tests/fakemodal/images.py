"""RPCs of images: commands are recorded, nothing is built; a build can be told to fail."""

import hashlib
import re
import shlex
import sys
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.fakemodal.state import STATUS, ImageRecord, Knobs, State

_ENV = re.compile(r"ENV\s+([A-Za-z_][A-Za-z0-9_]*)[= ](.*)", re.DOTALL)


class ImageRpcs:
    """Needs `state` and `knobs`."""

    state: State
    knobs: Knobs

    async def ImageGetOrCreate(self, stream: Any) -> None:
        request = await stream.recv_message()
        definition = request.image.SerializeToString(deterministic=True)
        digest = hashlib.sha256(definition + request.builder_version.encode()).hexdigest()
        image = self.state.images.get(f"im-{digest[:22]}")
        if image is None or not image.built:
            image = self._build(f"im-{digest[:22]}", request)
            await stream.send_message(api_pb2.ImageGetOrCreateResponse(image_id=image.image_id))
            return
        response = api_pb2.ImageGetOrCreateResponse(
            image_id=image.image_id, metadata=_metadata(image)
        )
        response.result.status = STATUS.GENERIC_STATUS_SUCCESS
        await stream.send_message(response)

    async def ImageJoinStreaming(self, stream: Any) -> None:
        request = await stream.recv_message()
        image = self._image(request.image_id)
        for number, line in enumerate(image.log.splitlines(keepends=True), 1):
            log = api_pb2.TaskLogs(data=line, file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT)
            await stream.send_message(
                api_pb2.ImageJoinStreamingResponse(task_logs=[log], entry_id=f"{number}-0")
            )
        response = api_pb2.ImageJoinStreamingResponse(eof=True)
        response.result.status = STATUS.GENERIC_STATUS_FAILURE
        if image.built:
            response.result.status = STATUS.GENERIC_STATUS_SUCCESS
            response.metadata.CopyFrom(_metadata(image))
        await stream.send_message(response)

    async def ImageFromId(self, stream: Any) -> None:
        request = await stream.recv_message()
        image = self._image(request.image_id)
        await stream.send_message(
            api_pb2.ImageFromIdResponse(image_id=image.image_id, metadata=_metadata(image))
        )

    def _build(self, image_id: str, request: api_pb2.ImageGetOrCreateRequest) -> ImageRecord:
        steps = "".join(f"=> {line}\n" for line in request.image.dockerfile_commands)
        image = ImageRecord(image_id, request.image, request.builder_version, log=steps)
        if self.knobs.fail_image is not None:
            image.built = False
            image.log += f"{self.knobs.fail_image}\n"
        self.state.images[image_id] = image
        self.state.payloads.append(request.SerializeToString())
        return image

    def _image(self, image_id: str) -> ImageRecord:
        image = self.state.images.get(image_id)
        if image is None:
            raise GRPCError(Status.NOT_FOUND, f"Image {image_id} not found")
        return image


def layers(state: State, image_id: str) -> list[ImageRecord]:
    """Return an image's layers, the base first."""
    image = state.images.get(image_id)
    if image is None:
        return []
    below = [layers(state, base.image_id) for base in image.message.base_images]
    return [layer for chain in below for layer in chain] + [image]


def image_environment(state: State, image_id: str) -> dict[str, str]:
    """Return the variables that an image's ENV commands set."""
    values: dict[str, str] = {}
    for layer in layers(state, image_id):
        for command in layer.message.dockerfile_commands:
            match = _ENV.fullmatch(command.strip())
            # PATH and the like of the real image mean nothing here.
            if match and match[1] not in ("PATH", "PYTHONPATH", "HOME"):
                values[match[1]] = " ".join(shlex.split(match[2]))
    return values


def _metadata(image: ImageRecord) -> api_pb2.ImageMetadata:
    return api_pb2.ImageMetadata(
        python_version_info=f"Python {sys.version.split()[0]}",
        workdir="/root",
        image_builder_version=image.builder_version,
    )
