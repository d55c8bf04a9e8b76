"""`flakeup:incus:Volume`: storage that an instance keeps when its root is recreated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from components.pipeline.targets.incus import volume
from components.pipeline.targets.incus.api import retry_through_restart
from components.pipeline.targets.incus.ownership import OWNER, Owner
from components.pipeline.targets.incus.volume import StorageVolume

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, ReadResult, Resource
from .schemas import VOLUME
from .servers import Location, Servers, current_location, location_of, without_certificate

if TYPE_CHECKING:
    from ..sdk.resource import Operation, PriorState
    from ..sdk.schema import Schema
    from ..sdk.values import Properties


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeInputs:
    """The inputs of a volume."""

    location: Location
    volume: StorageVolume

    @classmethod
    def of(cls, inputs: Inputs) -> VolumeInputs:
        """Parse inputs that have passed the check."""
        return cls(
            location=location_of(inputs),
            volume=StorageVolume(
                pool=inputs.string("pool", ""),
                name=inputs.string("name", ""),
                size=inputs.string("size", ""),
                member=inputs.string("member", ""),
            ),
        )


class VolumeResource(Resource[VolumeInputs]):
    """A volume; an existing one is never recreated."""

    schema: ClassVar[Schema] = VOLUME

    def __init__(self, servers: Servers) -> None:
        """`servers` is shared by all resources of this process."""
        self._servers = servers

    def parse(self, inputs: Inputs) -> VolumeInputs:
        """Parse the inputs."""
        return VolumeInputs.of(inputs)

    async def create(self, inputs: VolumeInputs, operation: Operation) -> Created:
        """Create it, or use one that an interrupted `up` of the same stack created."""
        await operation.cancellation.race(self._ensure(inputs, operation))
        identity = inputs.location.identity(inputs.volume.pool, inputs.volume.name)
        return Created(id=identity, outputs={})

    async def update(
        self, inputs: VolumeInputs, prior: PriorState, operation: Operation
    ) -> Properties:
        """Change its size: the only change in place."""
        del prior
        await operation.cancellation.race(self._ensure(inputs, operation))
        return {}

    async def _ensure(self, inputs: VolumeInputs, operation: Operation) -> None:
        owner = Owner.of_urn(operation.urn)
        async with self._servers.connect(inputs.location) as incus:
            await retry_through_restart(incus, lambda: volume.ensure(incus, inputs.volume, owner))

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Delete it; the engine does not ask for this while it is protected."""
        inputs, owner = VolumeInputs.of(Inputs(prior.state)), Owner.of_urn(operation.urn)
        async with self._servers.connect(location_of(Inputs(prior.inputs))) as incus:
            await retry_through_restart(incus, lambda: volume.delete(incus, inputs.volume, owner))

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """Check whether the server still has it."""
        del operation
        if not prior.inputs:
            msg = (
                "a volume cannot be imported: `pulumi up` uses one whose "
                f"{OWNER} is PROJECT/STACK of this stack"
            )
            raise OperationError(msg)
        location = location_of(Inputs(prior.inputs))
        return ReadResult(outputs=prior.state) if await self._exists(prior, location) else None

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """Changes of the inputs; and a volume that was deleted from the server is a change, too."""
        found = without_certificate(await super().diff(new, prior, operation))
        if "*" in operation.ignore_changes:
            return found
        location = current_location(prior, new)
        try:
            if await self._exists(prior, location):
                return found
        except OperationError as error:
            self._servers.warn_unavailable(location, error, operation.diagnostics)
            return found
        gone = Difference(path="name", top="name")
        return Diff(differences=(*found.differences, gone))

    async def _exists(self, prior: PriorState, location: Location) -> bool:
        parsed = VolumeInputs.of(Inputs(prior.inputs)).volume
        async with self._servers.connect(location) as incus:
            return await volume.exists(incus, parsed)
