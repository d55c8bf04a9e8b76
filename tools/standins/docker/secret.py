"""Secrets of a swarm: made, and removed; none can be changed, and none is told again."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, ClassVar

from providers.sdk.check import Failure
from providers.sdk.inputs import Inputs
from providers.sdk.resource import Created, Found

from standins.docker import body
from standins.docker.resource import OfDaemon
from standins.docker.tables import SECRET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.fields import Shape
    from providers.sdk.resource import Operation, Proposal, Stored
    from providers.sdk.values import Properties


class Secret(OfDaemon):
    """`docker:index/secret:Secret`."""

    shape: ClassVar[Shape] = SECRET
    version = 1

    async def check(
        self, inputs: Properties, proposal: Proposal
    ) -> tuple[Properties, Sequence[Failure]]:
        """Types, and that the data is base64."""
        checked, failures = await super().check(inputs, proposal)
        return checked, failures or _bad_data(Inputs(inputs))

    async def create(self, inputs: Inputs, operation: Operation) -> Created:
        """Make it; a name that there is already is refused."""
        daemon = await self.daemon(operation)
        asked = {
            "Name": inputs.text("name", ""),
            "Labels": body.labels(inputs),
            "Data": inputs.text("data", ""),
        }
        made = await operation.scope.race(daemon.post("/secrets/create", asked))
        return Created(identity=made["ID"], outputs=self.outputs({}))

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Remove it; as in the release, one that is gone or in use is an error."""
        daemon = await self.daemon(operation)
        await operation.scope.race(daemon.call("DELETE", f"/secrets/{stored.identity}"))

    async def read(self, stored: Stored, operation: Operation) -> Found | None:
        """Look whether it is there, and what it is called."""
        seen = await self.told(f"/secrets/{stored.identity}", operation)
        return self.found({"name": seen["Spec"]["Name"]}) if seen else None


def _bad_data(inputs: Inputs) -> list[Failure]:
    try:
        base64.b64decode(inputs.text("data", ""), validate=True)
    except binascii.Error:
        return [Failure(field="data", reason="data is no base64")]
    return []
