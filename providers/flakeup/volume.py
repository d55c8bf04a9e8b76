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
from ..sdk.resource import Created, Found, Resource
from .servers import Place, Servers, meaningful, place_now, place_of
from .shapes import VOLUME

if TYPE_CHECKING:
    from ..sdk.fields import Shape
    from ..sdk.resource import Operation, Stored
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
                pool=inputs.text("pool", ""),
                name=inputs.text("name", ""),
                size=inputs.text("size", ""),
                member=inputs.text("member", ""),
            ),
        )


class VolumeResource(Resource[Spec]):
    """A volume, which is never made anew where it is there."""

    shape: ClassVar[Shape] = VOLUME

    def __init__(self, servers: Servers) -> None:
        """`servers` are what all resources of this process share."""
        self._servers = servers

    def parse(self, inputs: Inputs) -> Spec:
        """The inputs as values."""
        return Spec.of(inputs)

    async def create(self, inputs: Spec, operation: Operation) -> Created:
        """Make it; one that an earlier `up` of the same stack has made is taken as it is."""
        await operation.scope.race(self._ensured(inputs, operation))
        identity = inputs.place.identity(inputs.volume.pool, inputs.volume.name)
        return Created(identity=identity, outputs={})

    async def update(self, inputs: Spec, stored: Stored, operation: Operation) -> Properties:
        """Only its size can change."""
        del stored
        await operation.scope.race(self._ensured(inputs, operation))
        return {}

    async def _ensured(self, spec: Spec, operation: Operation) -> None:
        owner = Owner.of_urn(operation.urn)
        async with self._servers.at(spec.place) as incus:
            await steadily(incus, lambda: volume.ensure(incus, spec.volume, owner))

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Remove it: the engine asks for this only where it is not protected."""
        spec, owner = Spec.of(Inputs(stored.state)), Owner.of_urn(operation.urn)
        async with self._servers.at(place_of(Inputs(stored.inputs))) as incus:
            await steadily(incus, lambda: volume.delete(incus, spec.volume, owner))

    async def read(self, stored: Stored, operation: Operation) -> Found | None:
        """Whether the server still has it."""
        del operation
        if not stored.inputs:
            msg = "a volume is not imported: mark it as the stack's, and `pulumi up` takes it"
            raise OperationError(msg)
        place = place_of(Inputs(stored.inputs))
        return Found(outputs=stored.state) if await self._is_there(stored, place) else None

    async def diff(self, new: Properties, stored: Stored, operation: Operation) -> Diff:
        """Also one that was removed on the server is to be made again."""
        found = meaningful(await super().diff(new, stored, operation))
        if "*" in operation.ignored:
            return found
        place = place_now(stored, new)
        try:
            if await self._is_there(stored, place):
                return found
        except OperationError as error:
            self._servers.excuse(place, error, operation.journal)
            return found
        gone = Difference(path="name", top="name")
        return Diff(differences=(*found.differences, gone))

    async def _is_there(self, stored: Stored, place: Place) -> bool:
        wanted = Spec.of(Inputs(stored.inputs)).volume
        async with self._servers.at(place) as incus:
            return await volume.is_there(incus, wanted)
