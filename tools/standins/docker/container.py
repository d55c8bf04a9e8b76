"""Containers: made, watched until they are healthy, changed where that is possible, removed."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final

from providers.sdk.check import Failure
from providers.sdk.errors import OperationError, PartlyDoneError
from providers.sdk.inputs import Inputs
from providers.sdk.resource import Created, Found

from standins.docker import body, look, uploads
from standins.docker.container_table import CONTAINER
from standins.docker.daemon import DaemonError
from standins.docker.resource import OfDaemon
from standins.docker.supported import refused
from standins.docker.units import nanoseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.fields import Shape
    from providers.sdk.resource import Operation, Proposal, Stored
    from providers.sdk.values import Properties

    from standins.docker.daemon import Daemon, Version

_LOOK: Final = 1.0
"""Seconds between looks at the health of a container."""
_SUBPATHS: Final[Version] = (1, 45)
_LIVE: Final = (
    "restart",
    "maxRetryCount",
    "cpuShares",
    "memory",
    "memoryReservation",
    "cpuSet",
    "memorySwap",
    "deviceReadBps",
    "deviceReadIops",
    "deviceWriteBps",
    "deviceWriteIops",
)
"""What the daemon changes on a container that it has."""
_UNHEALTHY: Final = "container failed to be in healthy state"
_NO_CHECK: Final = (
    "you have supplied a 'wait' argument, but the container does not have a healthcheck defined. "
    "Please remove the 'wait' argument or add a 'healthcheck' attribute"
)


class Container(OfDaemon):
    """`docker:index/container:Container`."""

    shape: ClassVar[Shape] = CONTAINER
    deletes_first = True
    version = 2

    async def check(
        self, inputs: Properties, proposal: Proposal
    ) -> tuple[Properties, Sequence[Failure]]:
        """Types, durations, and what only the release has."""
        checked, failures = await super().check(inputs, proposal)
        if failures:
            return checked, failures
        return checked, (*refused(self.shape, inputs), *_bad_durations(Inputs(inputs)))

    async def create(self, inputs: Inputs, operation: Operation) -> Created:
        """Make it and start it; from the moment it is there, a failure leaves it in the state."""
        daemon = await self.daemon(operation)
        identity = await operation.scope.race(_make(daemon, inputs))
        try:
            await operation.scope.race(_furnish(daemon, identity, inputs))
            if inputs.flag("start"):
                await operation.scope.race(_start(daemon, identity))
                if inputs.flag("wait"):
                    await _healthy(daemon, identity, inputs.whole("waitTimeout", 60), operation)
            seen = await operation.scope.race(daemon.get(f"/containers/{identity}/json"))
        except OperationError as error:
            outputs = self.outputs({})
            raise PartlyDoneError(str(error), identity=identity, outputs=outputs) from error
        return Created(identity=identity, outputs=self.outputs(look.container(seen, inputs)))

    async def update(self, inputs: Inputs, stored: Stored, operation: Operation) -> Properties:
        """Start it where it must run again, and change its limits; nothing else is done.

        Defects of the release that a program has to know of: a changed healthcheck, tmpfs or init
        is no more than noted in the state, the health is not looked at, and an update that fails
        is in the state as if it had not, so the next one does not try it again.
        """
        outputs = self.kept(inputs, stored)
        try:
            daemon = await self.daemon(operation)
            await operation.scope.race(_change(daemon, stored, inputs))
        except OperationError as error:
            identity = stored.identity
            raise PartlyDoneError(str(error), identity=identity, outputs=outputs) from error
        return outputs

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Stop it, with no grace unless the state has one, and remove it."""
        daemon = await self.daemon(operation)
        await operation.scope.race(_remove(daemon, stored.identity, Inputs(stored.state)))

    async def read(self, stored: Stored, operation: Operation) -> Found | None:
        """Look at it; only a whole id is its name."""
        seen = await self.told(f"/containers/{stored.identity}/json", operation)
        if not seen or seen["Id"] != stored.identity:
            return None
        return self.found(look.container(seen, Inputs(stored.state)))


def _bad_durations(inputs: Inputs) -> list[Failure]:
    healthcheck = inputs.inside("healthcheck")
    names = ("interval", "timeout", "startPeriod", "startInterval")
    told = {name: healthcheck.text(name) for name in names} if healthcheck else {}
    return [
        Failure(
            field=f"healthcheck.{name}",
            reason=f"healthcheck.{name} must be a duration as 30s or 1m30s, not {text!r}",
        )
        for name, text in told.items()
        if text is not None and nanoseconds(text) is None
    ]


async def _said(what: str, request: Any) -> Any:
    """The answer; a failure says what was tried."""
    try:
        return await request
    except OperationError as error:
        msg = f"{what}: {error}"
        raise OperationError(msg) from error


async def _make(daemon: Daemon, inputs: Inputs) -> str:
    image = inputs.text("image", "")
    await _said(f"Unable to create container with image {image}", daemon.ensure_image(image))
    version = await daemon.version()
    if version < _SUBPATHS and any(each.inside("volumeOptions") for each in inputs.each("mounts")):
        msg = "Setting VolumeOptions.Subpath requires docker version 1.45 or higher"
        raise OperationError(msg)
    query = {"name": inputs.text("name", "")}
    if platform := inputs.text("platform"):
        query["platform"] = platform
    request = daemon.post("/containers/create", body.container(inputs), query)
    return str((await _said("Unable to create container", request))["Id"])


async def _furnish(daemon: Daemon, identity: str, inputs: Inputs) -> None:
    """Its networks, instead of the default one, and its files."""
    networks = inputs.each("networksAdvanced")
    if networks:
        request = daemon.post("/networks/bridge/disconnect", {"Container": identity})
        try:
            await _said("Unable to disconnect the default network", request)
        except OperationError as error:
            if "is not connected to" not in str(error):
                raise
    for network in networks:
        name = network.text("name", "")
        asked = {"Container": identity, "EndpointConfig": body.endpoint(network)}
        request = daemon.post(f"/networks/{name}/connect", asked)
        await _said(f"Unable to connect to network '{name}'", request)
    for upload in inputs.each("uploads"):
        content, path = uploads.archive(upload), f"/containers/{identity}/archive"
        kind = "application/x-tar"
        request = daemon.call("PUT", path, {"path": "/"}, content=content, content_type=kind)
        await _said("Unable to upload volume content", request)


async def _start(daemon: Daemon, identity: str) -> None:
    await _said("Unable to start container", daemon.post(f"/containers/{identity}/start"))


async def _change(daemon: Daemon, stored: Stored, inputs: Inputs) -> None:
    old = Inputs(stored.state)
    if inputs.flag("mustRun") and not old.flag("mustRun") and inputs.flag("start"):
        await _start(daemon, stored.identity)
    if any((old.value(name) or None) != (inputs.value(name) or None) for name in _LIVE):
        request = daemon.post(f"/containers/{stored.identity}/update", body.updated(inputs))
        await _said("Unable to update a container", request)


async def _healthy(daemon: Daemon, identity: str, seconds: int, operation: Operation) -> None:
    """Wait until it is; one that is unhealthy may still become healthy.

    Raises:
        OperationError: it did not, or the daemon has nothing to tell it by.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        request = daemon.get(f"/containers/{identity}/json")
        seen = await operation.scope.race(_said("error inspecting container state", request))
        health = seen["State"].get("Health")
        if health is None:
            raise OperationError(_NO_CHECK)
        if health["Status"] == "healthy":
            return
        operation.journal.status(f"waiting for the container to be healthy: {health['Status']}")
        left = deadline - asyncio.get_running_loop().time()
        if left <= _LOOK:
            await operation.scope.sleep(max(0, left))
            raise OperationError(_UNHEALTHY)
        await operation.scope.sleep(_LOOK)


async def _remove(daemon: Daemon, identity: str, state: Inputs) -> None:
    path = f"/containers/{identity}"
    if not state.flag("attach"):
        grace = max(0, state.whole("destroyGraceSeconds", 0))
        request = daemon.post(f"{path}/stop", None, {"t": grace})
        await _gone_is_well(f"Error stopping container {identity}", request)
    query = {"v": "0" if state.flag("removeVolumes") is False else "1", "force": "1"}
    request = daemon.call("DELETE", path, query)
    await _gone_is_well(f"Error deleting container {identity}", request)
    until = {"condition": "removed" if state.flag("rm") else "not-running"}
    request = daemon.post(f"{path}/wait", None, until)
    await _gone_is_well(f"Error waiting for container removal '{identity}'", request)


async def _gone_is_well(what: str, request: Any) -> None:
    try:
        await request
    except DaemonError as error:
        if error.status != HTTPStatus.NOT_FOUND and "is already in progress" not in str(error):
            msg = f"{what}: {error}"
            raise OperationError(msg) from error
