"""`flakeup:incus:Image`: a split image on a server, shared by all that send the same one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plugin_protocol.diff import Diff, Difference
from plugin_protocol.errors import OperationError
from plugin_protocol.inputs import Inputs
from plugin_protocol.resource import Created, Found, Resource

from components.pipeline.grammar import StorePath
from components.pipeline.incus import image
from components.pipeline.incus.api import steadily
from components.pipeline.incus.marks import Owner
from flakeup_plugin.servers import Place, Servers, place_of
from flakeup_plugin.shapes import IMAGE

if TYPE_CHECKING:
    from plugin_protocol.fields import Shape
    from plugin_protocol.resource import Operation, Stored
    from plugin_protocol.values import Properties


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The inputs of an image."""

    place: Place
    metadata: StorePath
    rootfs: StorePath
    system: str


class ImageResource(Resource[Spec]):
    """An image that is there already is the same image: its name is the digest of what it is."""

    shape: ClassVar[Shape] = IMAGE

    def __init__(self, servers: Servers) -> None:
        """`servers` are what all resources of this process share."""
        self._servers = servers

    def parse(self, inputs: Inputs) -> Spec:
        """The inputs as values."""
        return Spec(
            place=place_of(inputs),
            metadata=StorePath(inputs.text("metadata", "")),
            rootfs=StorePath(inputs.text("rootfs", "")),
            system=inputs.text("system", ""),
        )

    async def create(self, inputs: Spec, operation: Operation) -> Created:
        """Send it where it is not there; then remove those of ours that nobody needs."""
        fingerprint = await operation.scope.race(self._sent(inputs, operation))
        identity = "/".join((*inputs.place, fingerprint))
        return Created(identity=identity, outputs={"fingerprint": fingerprint})

    async def _sent(self, spec: Spec, operation: Operation) -> str:

        async with self._servers.at(spec.place) as incus:
            files = image.ImageFiles.of(spec.metadata, spec.rootfs)
            owner, say = Owner.of_urn(operation.urn), operation.journal.status
            text = f"{spec.system} ({spec.rootfs.digest}), sent by flakeup"
            fingerprint = await steadily(lambda: image.ensure(incus, files, owner, text, say))
            await steadily(lambda: image.prune(incus, fingerprint))
            return fingerprint

    async def update(self, inputs: Spec, stored: Stored, operation: Operation) -> Properties:
        """Only what is for people can change."""
        del inputs, operation
        return {"fingerprint": stored.state["fingerprint"]}

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Give it up; it goes where no stack uses it, and no instance was made from it."""
        state, owner = Inputs(stored.state), Owner.of_urn(operation.urn)
        async with self._servers.at(place_of(state)) as incus:
            fingerprint = state.text("fingerprint", "")
            await steadily(lambda: image.release(incus, fingerprint, owner))

    async def read(self, stored: Stored, operation: Operation) -> Found | None:
        """Whether the server still has it."""
        del operation
        if not stored.inputs:
            msg = "an image is not imported: `pulumi up` finds it where it is there already"
            raise OperationError(msg)
        state = Inputs(stored.state)
        images = await self._servers.images(place_of(state))
        is_there = state.text("fingerprint") in images
        return Found(outputs=stored.state) if is_there else None

    async def diff(self, new: Properties, stored: Stored, operation: Operation) -> Diff:
        """Also an image that was removed on the server is to be sent again."""
        found = await super().diff(new, stored, operation)
        state = Inputs(stored.state)
        try:
            images = await self._servers.images(place_of(state))
        except OperationError as error:
            # A preview may run where no server can be reached: then the state's word counts.
            operation.journal.warning(f"{error}; what the state says is taken for true")
            return found
        if state.text("fingerprint") in images:
            return found
        gone = Difference(path="fingerprint", top="fingerprint", replaces=True)
        return Diff(differences=(*found.differences, gone))
