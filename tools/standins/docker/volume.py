"""Volumes: every change is a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from providers.sdk.errors import OperationError
from providers.sdk.resource import Created, Found

from standins.docker import body, look
from standins.docker.daemon import DaemonError
from standins.docker.resource import OfDaemon
from standins.docker.retry import removed
from standins.docker.supported import refused
from standins.docker.tables import VOLUME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.check import Failure
    from providers.sdk.fields import Shape
    from providers.sdk.inputs import Inputs
    from providers.sdk.resource import Operation, Proposal, Stored
    from providers.sdk.values import Properties

    from standins.docker.daemon import Daemon

_BUSY: Final = "volume is in use"


class Volume(OfDaemon):
    """`docker:index/volume:Volume`; its id is its name."""

    shape: ClassVar[Shape] = VOLUME
    version = 1

    async def check(
        self, inputs: Properties, proposal: Proposal
    ) -> tuple[Properties, Sequence[Failure]]:
        """Types, and what only the release has."""
        checked, failures = await super().check(inputs, proposal)
        return checked, failures or refused(self.shape, inputs)

    async def create(self, inputs: Inputs, operation: Operation) -> Created:
        """Make it; one of that name that is there already is taken as it is."""
        daemon = await self.daemon(operation)
        seen = await operation.scope.race(_make(daemon, inputs))
        return Created(identity=seen["Name"], outputs=self.outputs(_state(seen)))

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Remove it, once nobody uses it any more."""
        daemon = await self.daemon(operation)
        await removed(daemon, f"/volumes/{stored.identity}", _BUSY, operation, {"force": "1"})

    async def read(self, stored: Stored, operation: Operation) -> Found | None:
        """Look at it."""
        try:
            seen = await self.told(f"/volumes/{stored.identity}", operation)
        except DaemonError as error:
            msg = f"Unable to inspect volume: {error}"
            raise OperationError(msg) from error
        return self.found(_state(seen)) if seen else None


async def _make(daemon: Daemon, inputs: Inputs) -> Any:
    asked = {
        "Name": inputs.text("name", ""),
        "Labels": body.labels(inputs),
        "Driver": inputs.text("driver", ""),
        "DriverOpts": inputs.mapping("driverOpts"),
    }
    try:
        made = await daemon.post("/volumes/create", asked)
        return await daemon.get(f"/volumes/{made['Name']}")
    except OperationError as error:
        msg = f"Unable to create volume: {error}"
        raise OperationError(msg) from error


def _state(seen: dict[str, Any]) -> Properties:
    return {
        "name": seen["Name"],
        "labels": look.labels(seen["Labels"]),
        "driver": seen["Driver"],
        "driverOpts": seen["Options"] or {},
        "mountpoint": seen["Mountpoint"],
    }
