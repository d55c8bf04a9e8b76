"""Networks: every change replaces one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from providers.sdk.check import without_nulls
from providers.sdk.errors import OperationError
from providers.sdk.resource import Created, ReadResult

from standins.docker import observed, payload, retry
from standins.docker.resource import DockerResource
from standins.docker.schemas import NETWORK

if TYPE_CHECKING:
    from providers.sdk.inputs import Inputs
    from providers.sdk.resource import Operation, PriorState
    from providers.sdk.schema import Schema
    from providers.sdk.values import Properties, Value

    from standins.docker.daemon import Daemon

_BUSY: Final = "has active endpoints"


class Network(DockerResource):
    """`docker:index/network:Network`."""

    schema: ClassVar[Schema] = NETWORK
    version = 1

    async def create(self, inputs: Inputs, operation: Operation) -> Created:
        """Create it."""
        daemon = await self.daemon(operation)
        network_id = await operation.cancellation.race(_create(daemon, inputs))
        network = await operation.cancellation.race(daemon.get(f"/networks/{network_id}"))
        return Created(id=network_id, outputs=self.outputs(_state(network)))

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Delete it, once no container is connected to it."""
        daemon = await self.daemon(operation)
        await retry.delete(daemon, f"/networks/{prior.id}", operation, busy=_BUSY)

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """Inspect it."""
        network = await self.inspect(f"/networks/{prior.id}", operation)
        return self.read_result(_state(network)) if network else None


async def _create(daemon: Daemon, inputs: Inputs) -> str:
    request = {
        "Name": inputs.string("name"),
        "CheckDuplicate": True,
        "Labels": payload.labels(inputs),
        "Driver": inputs.string("driver", "bridge"),
        "Options": inputs.string_map("options"),
        "Internal": inputs.boolean("internal") or False,
        "Attachable": inputs.boolean("attachable") or False,
        "Ingress": inputs.boolean("ingress") or False,
        "EnableIPv6": inputs.boolean("ipv6") or False,
        "IPAM": {
            "Driver": inputs.string("ipamDriver", "default"),
            "Config": [_subnet(each) for each in inputs.objects("ipamConfigs")],
            "Options": inputs.string_map("ipamOptions"),
        },
    }
    try:
        return str((await daemon.post("/networks/create", request))["Id"])
    except OperationError as error:
        msg = f"Unable to create network: {error}"
        raise OperationError(msg) from error


def _subnet(inputs: Inputs) -> dict[str, Any]:
    strings = {
        "Subnet": inputs.string("subnet"),
        "IPRange": inputs.string("ipRange"),
        "Gateway": inputs.string("gateway"),
    }
    given_strings = {name: value for name, value in strings.items() if value}
    return {**given_strings, "AuxiliaryAddresses": inputs.string_map("auxAddress")}


def _state(network: dict[str, Any]) -> Properties:
    ipam = network["IPAM"]
    return {
        "name": network["Name"],
        "labels": observed.labels(network["Labels"]),
        "driver": network["Driver"],
        "options": network["Options"] or {},
        "internal": network["Internal"],
        "attachable": network["Attachable"],
        "ingress": network["Ingress"],
        "ipv6": network["EnableIPv6"],
        "ipamDriver": ipam["Driver"],
        "ipamOptions": ipam.get("Options") or {},
        "ipamConfigs": [_ipam_config(each) for each in ipam.get("Config") or ()],
        "scope": network["Scope"],
    }


def _ipam_config(config: dict[str, Any]) -> Value:
    return without_nulls(
        {
            "subnet": config.get("Subnet") or None,
            "ipRange": config.get("IPRange") or None,
            "gateway": config.get("Gateway") or None,
            "auxAddress": config.get("AuxiliaryAddresses") or None,
        }
    )
