"""`flakeup:incus:Volume`: what an instance keeps when its root is made anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from components.pipeline.targets.incus import volume
from components.pipeline.targets.incus.api import steadily
from components.pipeline.targets.incus.ownership import Owner
from components.pipeline.targets.incus.volume import Volume

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, ReadResult, Resource
from .schemas import VOLUME
from .servers import Place, Servers, meaningful, place_now, place_of

if TYPE_CHECKING:
    from ..sdk.resource import Operation, PriorState
    from ..sdk.schema import Schema
    from ..sdk.values import Properties


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The inputs of a volume."""

    place: Place
    volume: Volume

    @classmethod
    def of(cls, inputs: Inputs) -> Spec:
        """Read what has passed the check."""
        return cls(
            place=place_of(inputs),
            volume=Volume(
                pool=inputs.string("pool", ""),
                name=inputs.string("name", ""),
                size=inputs.string("size", ""),
                member=inputs.string("member", ""),
            ),
        )


class VolumeResource(Resource[Spec]):
    """A volume, which is never made anew where it is there."""

    schema: ClassVar[Schema] = VOLUME

    def __init__(self, servers: Servers) -> None:
        """`servers` are what all resources of this process share."""
        self._servers = servers

    def parse(self, inputs: Inputs) -> Spec:
        """The inputs as values."""
        return Spec.of(inputs)

    async def create(self, inputs: Spec, operation: Operation) -> Created:
        """Make it; one that an earlier `up` of the same stack has made is taken as it is."""
        await operation.cancellation.race(self._ensured(inputs, operation))
        identity = inputs.place.identity(inputs.volume.pool, inputs.volume.name)
        return Created(id=identity, outputs={})

    async def update(self, inputs: Spec, prior: PriorState, operation: Operation) -> Properties:
        """Only its size can change."""
        del prior
        await operation.cancellation.race(self._ensured(inputs, operation))
        return {}

    async def _ensured(self, spec: Spec, operation: Operation) -> None:
        owner = Owner.of_urn(operation.urn)
        async with self._servers.at(spec.place) as incus:
            await steadily(incus, lambda: volume.ensure(incus, spec.volume, owner))

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Remove it: the engine asks for this only where it is not protected."""
        spec, owner = Spec.of(Inputs(prior.state)), Owner.of_urn(operation.urn)
        async with self._servers.at(place_of(Inputs(prior.inputs))) as incus:
            await steadily(incus, lambda: volume.delete(incus, spec.volume, owner))

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """Whether the server still has it."""
        del operation
        if not prior.inputs:
            msg = "a volume is not imported: mark it as the stack's, and `pulumi up` takes it"
            raise OperationError(msg)
        place = place_of(Inputs(prior.inputs))
        return ReadResult(outputs=prior.state) if await self._is_there(prior, place) else None

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """Also one that was removed on the server is to be made again."""
        found = meaningful(await super().diff(new, prior, operation))
        if "*" in operation.ignore_changes:
            return found
        place = place_now(prior, new)
        try:
            if await self._is_there(prior, place):
                return found
        except OperationError as error:
            self._servers.excuse(place, error, operation.diagnostics)
            return found
        gone = Difference(path="name", top="name")
        return Diff(differences=(*found.differences, gone))

    async def _is_there(self, prior: PriorState, place: Place) -> bool:
        wanted = Spec.of(Inputs(prior.inputs)).volume
        async with self._servers.at(place) as incus:
            return await volume.is_there(incus, wanted)
