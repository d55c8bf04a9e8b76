"""Networks: every change is a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from providers.sdk.check import without_nulls
from providers.sdk.errors import OperationError
from providers.sdk.resource import Created, Found

from standins.docker import body, look
from standins.docker.resource import OfDaemon
from standins.docker.retry import removed
from standins.docker.tables import NETWORK

if TYPE_CHECKING:
    from providers.sdk.fields import Shape
    from providers.sdk.inputs import Inputs
    from providers.sdk.resource import Operation, Stored
    from providers.sdk.values import Properties, Value

    from standins.docker.daemon import Daemon

_BUSY: Final = "has active endpoints"


class Network(OfDaemon):
    """`docker:index/network:Network`."""

    shape: ClassVar[Shape] = NETWORK
    version = 1

    async def create(self, inputs: Inputs, operation: Operation) -> Created:
        """Make it."""
        daemon = await self.daemon(operation)
        identity = await operation.scope.race(_make(daemon, inputs))
        seen = await operation.scope.race(daemon.get(f"/networks/{identity}"))
        return Created(identity=identity, outputs=self.outputs(_state(seen)))

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Remove it, once nobody is in it any more."""
        daemon = await self.daemon(operation)
        await removed(daemon, f"/networks/{stored.identity}", _BUSY, operation)

    async def read(self, stored: Stored, operation: Operation) -> Found | None:
        """Look at it."""
        seen = await self.told(f"/networks/{stored.identity}", operation)
        return self.found(_state(seen)) if seen else None


async def _make(daemon: Daemon, inputs: Inputs) -> str:
    asked = {
        "Name": inputs.text("name"),
        "CheckDuplicate": True,
        "Labels": body.labels(inputs),
        "Driver": inputs.text("driver", "bridge"),
        "Options": inputs.mapping("options"),
        "Internal": inputs.flag("internal") or False,
        "Attachable": inputs.flag("attachable") or False,
        "Ingress": inputs.flag("ingress") or False,
        "EnableIPv6": inputs.flag("ipv6") or False,
        "IPAM": {
            "Driver": inputs.text("ipamDriver", "default"),
            "Config": [_subnet(each) for each in inputs.each("ipamConfigs")],
            "Options": inputs.mapping("ipamOptions"),
        },
    }
    try:
        return str((await daemon.post("/networks/create", asked))["Id"])
    except OperationError as error:
        msg = f"Unable to create network: {error}"
        raise OperationError(msg) from error


def _subnet(given: Inputs) -> dict[str, Any]:
    texts = {
        "Subnet": given.text("subnet"),
        "IPRange": given.text("ipRange"),
        "Gateway": given.text("gateway"),
    }
    said: dict[str, Any] = {name: text for name, text in texts.items() if text}
    return {**said, "AuxiliaryAddresses": given.mapping("auxAddress")}


def _state(seen: dict[str, Any]) -> Properties:
    ipam = seen["IPAM"]
    return {
        "name": seen["Name"],
        "labels": look.labels(seen["Labels"]),
        "driver": seen["Driver"],
        "options": seen["Options"] or {},
        "internal": seen["Internal"],
        "attachable": seen["Attachable"],
        "ingress": seen["Ingress"],
        "ipv6": seen["EnableIPv6"],
        "ipamDriver": ipam["Driver"],
        "ipamOptions": ipam.get("Options") or {},
        "ipamConfigs": [_config(each) for each in ipam.get("Config") or ()],
        "scope": seen["Scope"],
    }


def _config(told: dict[str, Any]) -> Value:
    return without_nulls(
        {
            "subnet": told.get("Subnet") or None,
            "ipRange": told.get("IPRange") or None,
            "gateway": told.get("Gateway") or None,
            "auxAddress": told.get("AuxiliaryAddresses") or None,
        }
    )
