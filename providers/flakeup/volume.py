"""`flakeup:incus:Volume`: storage that an instance keeps when its root is recreated."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from components.pipeline.targets.incus import volume
from components.pipeline.targets.incus.api import retry_through_restart
from components.pipeline.targets.incus.ownership import OWNER as LABEL
from components.pipeline.targets.incus.volume import StorageVolume
from components.pipeline.values import Owner

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, ReadResult, Resource
from .owner import OWNER, known_owner, owner_of, prior_owner, settle_owner
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
    owner: str
    """Empty in a state from before there was one."""

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
            owner=inputs.string(OWNER, ""),
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
        """Change its size or its owner: the only changes in place."""
        previous = prior_owner(prior, operation.urn)
        await operation.cancellation.race(self._ensure(inputs, operation, previous))
        return {}

    async def _ensure(
        self, inputs: VolumeInputs, operation: Operation, previous: Owner | None = None
    ) -> None:
        owner = owner_of(inputs.owner, operation.urn)
        async with self._servers.connect(inputs.location) as incus:
            await retry_through_restart(
                incus, lambda: volume.ensure(incus, inputs.volume, owner, previous=previous)
            )

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Delete it; the engine does not ask for this while it is protected."""
        inputs, owner = VolumeInputs.of(Inputs(prior.state)), prior_owner(prior, operation.urn)
        async with self._servers.connect(location_of(Inputs(prior.inputs))) as incus:
            await retry_through_restart(incus, lambda: volume.delete(incus, inputs.volume, owner))

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """Check whether the server still has it."""
        del operation
        if not prior.inputs:
            msg = (
                "a volume cannot be imported: `pulumi up` uses one whose "
                f"{LABEL} is the owner of this stack"
            )
            raise OperationError(msg)
        location = location_of(Inputs(prior.inputs))
        return ReadResult(outputs=prior.state) if await self._exists(prior, location) else None

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """Changes of the inputs; and a volume that was deleted from the server is a change, too."""
        found = without_certificate(await super().diff(new, prior, operation))
        found = settle_owner(found, new, prior, operation)
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

    async def preview(
        self, inputs: Properties, prior: PriorState | None, operation: Operation
    ) -> Properties:
        """Refuse a name that its creation would refuse; an unavailable server is asked nothing."""
        given = Inputs(inputs)
        if prior is None and given.has("name"):
            await self._refuse_taken_name(VolumeInputs.of(given), inputs, operation)
        return await super().preview(inputs, prior, operation)

    async def _refuse_taken_name(
        self, wanted: VolumeInputs, inputs: Properties, operation: Operation
    ) -> None:
        owner, label = known_owner(inputs, operation.urn), None
        with suppress(OperationError):
            async with self._servers.connect(wanted.location) as incus:
                label = await volume.owner_label(incus, wanted.volume)
                stack = Owner.of_urn(operation.urn).name
                taken = volume.name_taken(incus, wanted.volume, label or "", stack, owner)
        if label is not None and (owner is None or label != owner.text):
            raise OperationError(taken)

    async def _exists(self, prior: PriorState, location: Location) -> bool:
        parsed = VolumeInputs.of(Inputs(prior.inputs)).volume
        async with self._servers.connect(location) as incus:
            return await volume.exists(incus, parsed)
