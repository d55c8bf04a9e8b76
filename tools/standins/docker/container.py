"""Containers: created, waited for until healthy, updated in place where possible, deleted."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final

from providers.sdk.check import Failure
from providers.sdk.errors import OperationError, PartialFailureError
from providers.sdk.inputs import Inputs
from providers.sdk.resource import Created, ReadResult

from standins.docker import observed, payload, uploads
from standins.docker.container_schema import CONTAINER
from standins.docker.daemon import DaemonError
from standins.docker.resource import DockerResource
from standins.docker.supported import unsupported
from standins.docker.units import nanoseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.resource import CheckContext, Operation, PriorState
    from providers.sdk.schema import Schema
    from providers.sdk.values import Properties

    from standins.docker.daemon import Daemon, Version

_HEALTH_INTERVAL: Final = 1.0
"""Seconds between two checks of a container's health."""
_SUBPATH_VERSION: Final[Version] = (1, 45)
"""The first API version with subpaths of volumes."""
_UPDATABLE: Final = (
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
"""The inputs that the daemon can change on an existing container."""
_UNHEALTHY: Final = "container failed to be in healthy state"
_NO_HEALTHCHECK: Final = (
    "you have supplied a 'wait' argument, but the container does not have a healthcheck defined. "
    "Please remove the 'wait' argument or add a 'healthcheck' attribute"
)


class Container(DockerResource):
    """`docker:index/container:Container`."""

    schema: ClassVar[Schema] = CONTAINER
    deletes_first = True
    version = 2

    async def check(
        self, inputs: Properties, context: CheckContext
    ) -> tuple[Properties, Sequence[Failure]]:
        """Check types and durations, and refuse unsupported inputs."""
        checked, failures = await super().check(inputs, context)
        if failures:
            return checked, failures
        return checked, (*unsupported(self.schema, inputs), *_invalid_durations(Inputs(inputs)))

    async def create(self, inputs: Inputs, operation: Operation) -> Created:
        """Create it and start it; once it exists, a failure still records it in the state."""
        daemon = await self.daemon(operation)
        container_id = await operation.cancellation.race(_create(daemon, inputs))
        try:
            await operation.cancellation.race(_connect_and_upload(daemon, container_id, inputs))
            if inputs.boolean("start"):
                await operation.cancellation.race(_start(daemon, container_id))
                if inputs.boolean("wait"):
                    await _wait_until_healthy(
                        daemon, container_id, inputs.integer("waitTimeout", 60), operation
                    )
            path = f"/containers/{container_id}/json"
            container = await operation.cancellation.race(daemon.get(path))
        except OperationError as error:
            outputs = self.outputs({})
            raise PartialFailureError(
                str(error), resource_id=container_id, outputs=outputs
            ) from error
        return Created(id=container_id, outputs=self.outputs(observed.container(container, inputs)))

    async def update(self, inputs: Inputs, prior: PriorState, operation: Operation) -> Properties:
        """Start it if `mustRun` is new, and change its limits; nothing else.

        Defects of the released provider that a program has to know of: a changed healthcheck, tmpfs
        or init is recorded in the state only, the health is not checked, and a failed update is
        recorded as if it had succeeded, so the next one does not retry it.
        """
        outputs = self.unchanged_outputs(inputs, prior)
        try:
            daemon = await self.daemon(operation)
            await operation.cancellation.race(_update(daemon, prior, inputs))
        except OperationError as error:
            raise PartialFailureError(str(error), resource_id=prior.id, outputs=outputs) from error
        return outputs

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Stop it, with no grace period unless the state has one, and delete it."""
        daemon = await self.daemon(operation)
        await operation.cancellation.race(_delete(daemon, prior.id, Inputs(prior.state)))

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """Inspect it; only the full ID identifies it."""
        container = await self.inspect(f"/containers/{prior.id}/json", operation)
        if not container or container["Id"] != prior.id:
            return None
        return self.read_result(observed.container(container, Inputs(prior.state)))


def _invalid_durations(inputs: Inputs) -> list[Failure]:
    healthcheck = inputs.object("healthcheck")
    names = ("interval", "timeout", "startPeriod", "startInterval")
    durations = {name: healthcheck.string(name) for name in names} if healthcheck else {}
    return [
        Failure(
            field=f"healthcheck.{name}",
            reason=f"healthcheck.{name} must be a duration such as 30s or 1m30s, not {text!r}",
        )
        for name, text in durations.items()
        if text is not None and nanoseconds(text) is None
    ]


async def _prefix_errors(what: str, request: Any) -> Any:
    """Await a request; an error begins with what was tried."""
    try:
        return await request
    except OperationError as error:
        msg = f"{what}: {error}"
        raise OperationError(msg) from error


async def _create(daemon: Daemon, inputs: Inputs) -> str:
    image = inputs.string("image", "")
    await _prefix_errors(
        f"Unable to create container with image {image}", daemon.ensure_image(image)
    )
    version = await daemon.version()
    if version < _SUBPATH_VERSION and any(
        mount.object("volumeOptions") for mount in inputs.objects("mounts")
    ):
        msg = "Setting VolumeOptions.Subpath requires docker version 1.45 or higher"
        raise OperationError(msg)
    query = {"name": inputs.string("name", "")}
    if platform := inputs.string("platform"):
        query["platform"] = platform
    request = daemon.post("/containers/create", payload.container(inputs), query)
    return str((await _prefix_errors("Unable to create container", request))["Id"])


async def _connect_and_upload(daemon: Daemon, container_id: str, inputs: Inputs) -> None:
    """Connect its networks, instead of the default one, and upload its files."""
    networks = inputs.objects("networksAdvanced")
    if networks:
        request = daemon.post("/networks/bridge/disconnect", {"Container": container_id})
        try:
            await _prefix_errors("Unable to disconnect the default network", request)
        except OperationError as error:
            if "is not connected to" not in str(error):
                raise
    for network in networks:
        name = network.string("name", "")
        request_body = {"Container": container_id, "EndpointConfig": payload.endpoint(network)}
        request = daemon.post(f"/networks/{name}/connect", request_body)
        await _prefix_errors(f"Unable to connect to network '{name}'", request)
    for upload in inputs.objects("uploads"):
        content, path = uploads.archive(upload), f"/containers/{container_id}/archive"
        tar = "application/x-tar"
        request = daemon.call("PUT", path, {"path": "/"}, content=content, content_type=tar)
        await _prefix_errors("Unable to upload volume content", request)


async def _start(daemon: Daemon, container_id: str) -> None:
    await _prefix_errors(
        "Unable to start container", daemon.post(f"/containers/{container_id}/start")
    )


async def _update(daemon: Daemon, prior: PriorState, inputs: Inputs) -> None:
    old = Inputs(prior.state)
    if inputs.boolean("mustRun") and not old.boolean("mustRun") and inputs.boolean("start"):
        await _start(daemon, prior.id)
    if any((old.value(name) or None) != (inputs.value(name) or None) for name in _UPDATABLE):
        request = daemon.post(f"/containers/{prior.id}/update", payload.update(inputs))
        await _prefix_errors("Unable to update a container", request)


async def _wait_until_healthy(
    daemon: Daemon, container_id: str, seconds: int, operation: Operation
) -> None:
    """Wait until it is healthy; an unhealthy one may still become healthy.

    Raises:
        OperationError: it did not become healthy in time, or has no healthcheck.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        request = daemon.get(f"/containers/{container_id}/json")
        container = await operation.cancellation.race(
            _prefix_errors("error inspecting container state", request)
        )
        health = container["State"].get("Health")
        if health is None:
            raise OperationError(_NO_HEALTHCHECK)
        if health["Status"] == "healthy":
            return
        operation.diagnostics.status(f"waiting for the container to be healthy: {health['Status']}")
        remaining = deadline - asyncio.get_running_loop().time()
        if remaining <= _HEALTH_INTERVAL:
            await operation.cancellation.sleep(max(0, remaining))
            raise OperationError(_UNHEALTHY)
        await operation.cancellation.sleep(_HEALTH_INTERVAL)


async def _delete(daemon: Daemon, container_id: str, state: Inputs) -> None:
    path = f"/containers/{container_id}"
    if not state.boolean("attach"):
        grace = max(0, state.integer("destroyGraceSeconds", 0))
        request = daemon.post(f"{path}/stop", None, {"t": grace})
        await _ignore_missing(f"Error stopping container {container_id}", request)
    query = {"v": "0" if state.boolean("removeVolumes") is False else "1", "force": "1"}
    request = daemon.call("DELETE", path, query)
    await _ignore_missing(f"Error deleting container {container_id}", request)
    until = {"condition": "removed" if state.boolean("rm") else "not-running"}
    request = daemon.post(f"{path}/wait", None, until)
    await _ignore_missing(f"Error waiting for container removal '{container_id}'", request)


async def _ignore_missing(what: str, request: Any) -> None:
    try:
        await request
    except DaemonError as error:
        if error.status != HTTPStatus.NOT_FOUND and "is already in progress" not in str(error):
            msg = f"{what}: {error}"
            raise OperationError(msg) from error
