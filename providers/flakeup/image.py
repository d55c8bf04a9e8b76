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
from ..sdk.resource import Created, ReadResult, Resource
from .schemas import IMAGE
from .servers import Place, Servers, meaningful, place_now, place_of

if TYPE_CHECKING:
    from ..sdk.resource import Operation, PriorState
    from ..sdk.schema import Schema
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

    schema: ClassVar[Schema] = IMAGE

    def __init__(self, servers: Servers) -> None:
        """`servers` are what all resources of this process share."""
        self._servers = servers

    def parse(self, inputs: Inputs) -> Spec:
        """The inputs as values."""
        return Spec(
            place=place_of(inputs),
            metadata=StorePath(inputs.string("metadata", "")),
            rootfs=StorePath(inputs.string("rootfs", "")),
            system=inputs.string("system", ""),
        )

    async def create(self, inputs: Spec, operation: Operation) -> Created:
        """Send it where it is not there; then remove those of ours that nobody needs."""
        fingerprint = await operation.cancellation.race(self._sent(inputs, operation))
        identity = inputs.place.identity(fingerprint)
        return Created(id=identity, outputs={"fingerprint": fingerprint})

    async def _sent(self, spec: Spec, operation: Operation) -> str:
        async with self._servers.at(spec.place) as incus:
            files = image.ImageFiles.of(spec.metadata, spec.rootfs)
            use, say = Use.of_urn(operation.urn, *spec.files), operation.diagnostics.status
            text = f"{spec.system} ({spec.rootfs.digest}), sent by flakeup"
            fingerprint = await steadily(incus, lambda: image.ensure(incus, files, use, text, say))
            await steadily(incus, lambda: image.prune(incus, fingerprint, use))
            return fingerprint

    async def update(self, inputs: Spec, prior: PriorState, operation: Operation) -> Properties:
        """Send it again, where somebody has removed it on the server."""
        del prior
        return {"fingerprint": await operation.cancellation.race(self._sent(inputs, operation))}

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Give it up; it goes where nothing uses it, and no instance was made from it."""
        state, spec = Inputs(prior.state), self.parse(Inputs(prior.state))
        use, fingerprint = Use.of_urn(operation.urn, *spec.files), state.string("fingerprint", "")
        async with self._servers.at(place_of(Inputs(prior.inputs))) as incus:
            await steadily(incus, lambda: image.release(incus, fingerprint, use))
            await steadily(incus, lambda: image.prune(incus))

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """Whether the server still has it."""
        del operation
        if not prior.inputs:
            msg = "an image is not imported: `pulumi up` finds it where it is there already"
            raise OperationError(msg)
        state = Inputs(prior.state)
        images = await self._servers.images(place_of(Inputs(prior.inputs)))
        is_there = state.string("fingerprint") in images
        return ReadResult(outputs=prior.state) if is_there else None

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """Also an image that was removed on the server is to be sent again."""
        found = meaningful(await super().diff(new, prior, operation))
        state, place = Inputs(prior.state), place_now(prior, new)
        try:
            images = await self._servers.images(place)
        except OperationError as error:
            self._servers.excuse(place, error, operation.diagnostics)
            return found
        if state.string("fingerprint") in images:
            return found
        # An update: the image is named by what it is, and will be the same one.
        gone = Difference(path="fingerprint", top="fingerprint")
        return Diff(differences=(*found.differences, gone))
