"""Volumes: every change replaces one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from providers.sdk.errors import OperationError
from providers.sdk.resource import Created, ReadResult

from standins.docker import observed, payload, retry
from standins.docker.daemon import DaemonError
from standins.docker.resource import DockerResource
from standins.docker.schemas import VOLUME
from standins.docker.supported import unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.check import Failure
    from providers.sdk.inputs import Inputs
    from providers.sdk.resource import CheckContext, Operation, PriorState
    from providers.sdk.schema import Schema
    from providers.sdk.values import Properties

    from standins.docker.daemon import Daemon

_BUSY: Final = "volume is in use"


class Volume(DockerResource):
    """`docker:index/volume:Volume`; its id is its name."""

    schema: ClassVar[Schema] = VOLUME
    version = 1

    async def check(
        self, inputs: Properties, context: CheckContext
    ) -> tuple[Properties, Sequence[Failure]]:
        """Check types, and refuse unsupported inputs."""
        checked, failures = await super().check(inputs, context)
        return checked, failures or unsupported(self.schema, inputs)

    async def create(self, inputs: Inputs, operation: Operation) -> Created:
        """Create it; an existing volume of that name is adopted as it is."""
        daemon = await self.daemon(operation)
        volume = await operation.cancellation.race(_create(daemon, inputs))
        return Created(id=volume["Name"], outputs=self.outputs(_state(volume)))

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Delete it, once no container uses it."""
        daemon = await self.daemon(operation)
        path, query = f"/volumes/{prior.id}", {"force": "1"}
        await retry.delete(daemon, path, operation, busy=_BUSY, query=query)

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """Inspect it."""
        try:
            volume = await self.inspect(f"/volumes/{prior.id}", operation)
        except DaemonError as error:
            msg = f"Unable to inspect volume: {error}"
            raise OperationError(msg) from error
        return self.read_result(_state(volume)) if volume else None


async def _create(daemon: Daemon, inputs: Inputs) -> Any:
    request = {
        "Name": inputs.string("name", ""),
        "Labels": payload.labels(inputs),
        "Driver": inputs.string("driver", ""),
        "DriverOpts": inputs.string_map("driverOpts"),
    }
    try:
        created = await daemon.post("/volumes/create", request)
        return await daemon.get(f"/volumes/{created['Name']}")
    except OperationError as error:
        msg = f"Unable to create volume: {error}"
        raise OperationError(msg) from error


def _state(volume: dict[str, Any]) -> Properties:
    return {
        "name": volume["Name"],
        "labels": observed.labels(volume["Labels"]),
        "driver": volume["Driver"],
        "driverOpts": volume["Options"] or {},
        "mountpoint": volume["Mountpoint"],
    }
