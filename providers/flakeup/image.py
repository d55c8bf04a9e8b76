"""`flakeup:incus:Image`: a split image on a server, shared by all that send the same one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from components.pipeline.targets.incus import image
from components.pipeline.targets.incus.api import steadily
from components.pipeline.targets.incus.ownership import Use
from components.pipeline.values import StorePath

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, Found, Resource
from .servers import Place, Servers, meaningful, place_now, place_of
from .shapes import IMAGE

if TYPE_CHECKING:
    from ..sdk.fields import Shape
    from ..sdk.resource import Operation, Stored
    from ..sdk.values import Properties


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The inputs of an image."""

    place: Place
    metadata: StorePath
    rootfs: StorePath
    system: str

    @property
    def files(self) -> tuple[StorePath, StorePath]:
        """What it is made of."""
        return self.metadata, self.rootfs


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
        identity = inputs.place.identity(fingerprint)
        return Created(identity=identity, outputs={"fingerprint": fingerprint})

    async def _sent(self, spec: Spec, operation: Operation) -> str:
        async with self._servers.at(spec.place) as incus:
            files = image.ImageFiles.of(spec.metadata, spec.rootfs)
            use, say = Use.of_urn(operation.urn, *spec.files), operation.journal.status
            text = f"{spec.system} ({spec.rootfs.digest}), sent by flakeup"
            fingerprint = await steadily(incus, lambda: image.ensure(incus, files, use, text, say))
            await steadily(incus, lambda: image.prune(incus, fingerprint, use))
            return fingerprint

    async def update(self, inputs: Spec, stored: Stored, operation: Operation) -> Properties:
        """Send it again, where somebody has removed it on the server."""
        del stored
        return {"fingerprint": await operation.scope.race(self._sent(inputs, operation))}

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Give it up; it goes where nothing uses it, and no instance was made from it."""
        state, spec = Inputs(stored.state), self.parse(Inputs(stored.state))
        use, fingerprint = Use.of_urn(operation.urn, *spec.files), state.text("fingerprint", "")
        async with self._servers.at(place_of(Inputs(stored.inputs))) as incus:
            await steadily(incus, lambda: image.release(incus, fingerprint, use))
            await steadily(incus, lambda: image.prune(incus))

    async def read(self, stored: Stored, operation: Operation) -> Found | None:
        """Whether the server still has it."""
        del operation
        if not stored.inputs:
            msg = "an image is not imported: `pulumi up` finds it where it is there already"
            raise OperationError(msg)
        state = Inputs(stored.state)
        images = await self._servers.images(place_of(Inputs(stored.inputs)))
        is_there = state.text("fingerprint") in images
        return Found(outputs=stored.state) if is_there else None

    async def diff(self, new: Properties, stored: Stored, operation: Operation) -> Diff:
        """Also an image that was removed on the server is to be sent again."""
        found = meaningful(await super().diff(new, stored, operation))
        state, place = Inputs(stored.state), place_now(stored, new)
        try:
            images = await self._servers.images(place)
        except OperationError as error:
            self._servers.excuse(place, error, operation.journal)
            return found
        if state.text("fingerprint") in images:
            return found
        # An update: the image is named by what it is, and will be the same one.
        gone = Difference(path="fingerprint", top="fingerprint")
        return Diff(differences=(*found.differences, gone))
