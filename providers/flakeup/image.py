"""`flakeup:incus:Image`: a split image on a server, shared by all stacks that use the same one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from components.pipeline.targets.incus import image
from components.pipeline.targets.incus.api import retry_through_restart
from components.pipeline.targets.incus.ownership import ImageReference
from components.pipeline.values import StorePath

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, ReadResult, Resource
from .owner import OWNER, owner_of, prior_owner, settle_owner
from .schemas import IMAGE
from .servers import Location, Servers, current_location, location_of, without_certificate

if TYPE_CHECKING:
    from ..sdk.resource import Operation, PriorState
    from ..sdk.schema import Schema
    from ..sdk.values import Properties


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInputs:
    """The inputs of an image."""

    location: Location
    metadata: StorePath
    rootfs: StorePath
    system: str
    owner: str = ""
    """Empty in a state from before there was one."""

    @property
    def files(self) -> tuple[StorePath, StorePath]:
        """The store paths that it consists of."""
        return self.metadata, self.rootfs


class ImageResource(Resource[ImageInputs]):
    """An image that the server already has is the same image: the fingerprint is its digest."""

    schema: ClassVar[Schema] = IMAGE

    def __init__(self, servers: Servers) -> None:
        """`servers` is shared by all resources of this process."""
        self._servers = servers

    def parse(self, inputs: Inputs) -> ImageInputs:
        """Parse the inputs."""
        return ImageInputs(
            location=location_of(inputs),
            metadata=StorePath(inputs.string("metadata", "")),
            rootfs=StorePath(inputs.string("rootfs", "")),
            system=inputs.string("system", ""),
            owner=inputs.string(OWNER, ""),
        )

    async def create(self, inputs: ImageInputs, operation: Operation) -> Created:
        """Upload it if it is missing; then remove uploaded images that nothing uses."""
        fingerprint = await operation.cancellation.race(self._upload(inputs, operation))
        identity = inputs.location.identity(fingerprint)
        return Created(id=identity, outputs={"fingerprint": fingerprint})

    async def _upload(self, inputs: ImageInputs, operation: Operation) -> str:
        async with self._servers.connect(inputs.location) as incus:
            files = image.ImageFiles.of(inputs.metadata, inputs.rootfs)
            owner = owner_of(inputs.owner, operation.urn)
            reference = ImageReference.of(owner, operation.name, *inputs.files)
            say = operation.diagnostics.status
            text = f"{inputs.system} ({inputs.rootfs.digest}), uploaded by flakeup"
            fingerprint = await retry_through_restart(
                incus, lambda: image.ensure(incus, files, reference, text, say)
            )
            await retry_through_restart(incus, lambda: image.prune(incus, fingerprint, reference))
            return fingerprint

    async def update(
        self, inputs: ImageInputs, prior: PriorState, operation: Operation
    ) -> Properties:
        """Upload it again after somebody has deleted it; or refer to it as another owner."""
        fingerprint = await operation.cancellation.race(self._upload(inputs, operation))
        if prior_owner(prior, operation.urn) != owner_of(inputs.owner, operation.urn):
            await self._remove_reference(prior, operation)
        return {"fingerprint": fingerprint}

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Remove the reference, and the image if nothing else uses it."""
        await self._remove_reference(prior, operation)
        async with self._servers.connect(location_of(Inputs(prior.inputs))) as incus:
            await retry_through_restart(incus, lambda: image.prune(incus))

    async def _remove_reference(self, prior: PriorState, operation: Operation) -> None:
        state, inputs = Inputs(prior.state), self.parse(Inputs(prior.state))
        owner = prior_owner(prior, operation.urn)
        reference = ImageReference.of(owner, operation.name, *inputs.files)
        fingerprint = state.string("fingerprint", "")
        async with self._servers.connect(location_of(Inputs(prior.inputs))) as incus:
            await retry_through_restart(
                incus, lambda: image.remove_reference(incus, fingerprint, reference)
            )

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """Check whether the server still has it."""
        del operation
        if not prior.inputs:
            msg = "an image cannot be imported: `pulumi up` uses one that the server already has"
            raise OperationError(msg)
        state = Inputs(prior.state)
        images = await self._servers.images(location_of(Inputs(prior.inputs)))
        exists = state.string("fingerprint") in images
        return ReadResult(outputs=prior.state) if exists else None

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """Changes of the inputs; and an image that was deleted from the server is a change, too."""
        found = without_certificate(await super().diff(new, prior, operation))
        found = settle_owner(found, new, prior, operation)
        state, location = Inputs(prior.state), current_location(prior, new)
        try:
            images = await self._servers.images(location)
        except OperationError as error:
            self._servers.warn_unavailable(location, error, operation.diagnostics)
            return found
        if state.string("fingerprint") in images:
            return found
        # An update, no replacement: the same content has the same fingerprint.
        gone = Difference(path="fingerprint", top="fingerprint")
        return Diff(differences=(*found.differences, gone))
