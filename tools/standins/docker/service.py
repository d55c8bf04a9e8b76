"""Services of a swarm: made, rolled out task by task, removed."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

from providers.sdk.errors import OperationError, PartlyDoneError
from providers.sdk.inputs import Inputs
from providers.sdk.resource import Created, Found

from standins.docker.daemon import DaemonError
from standins.docker.resource import OfDaemon
from standins.docker.service_spec import spec, state
from standins.docker.service_table import SERVICE
from standins.docker.supported import refused_in_service
from standins.docker.units import duration, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from providers.sdk.check import Failure
    from providers.sdk.fields import Shape
    from providers.sdk.resource import Operation, Proposal, Stored
    from providers.sdk.values import Properties

    from standins.docker.daemon import Daemon

_SECOND: Final = 1_000_000_000
_LOOK: Final = 1.0
_BEFORE_A_LOOK: Final = 7.0
"""Seconds in which an update surely begins, whatever `delay` says."""
_ENDED_BADLY: Final = {
    "paused": "service update paused",
    "rollback_paused": "service rollback paused",
    "rollback_completed": "service rollback completed",
}


class Service(OfDaemon):
    """`docker:index/service:Service`."""

    shape: ClassVar[Shape] = SERVICE
    version = 2

    async def check(
        self, inputs: Properties, proposal: Proposal
    ) -> tuple[Properties, Sequence[Failure]]:
        """Types, and what only the release has."""
        checked, failures = await super().check(inputs, proposal)
        return checked, failures or refused_in_service(Inputs(inputs))

    async def create(self, inputs: Inputs, operation: Operation) -> Created:
        """Make it; one that does not converge, where that is waited for, is removed again."""
        daemon = await self.daemon(operation)
        login = daemon.login(_image(inputs))
        request = daemon.post("/services/create", await _spec(daemon, inputs), None, login)
        identity = (await operation.scope.race(request))["ID"]
        try:
            await _converged(daemon, identity, inputs, operation)
        except OperationError:
            await daemon.call("DELETE", f"/services/{identity}")
            raise
        told = await operation.scope.race(daemon.get(f"/services/{identity}"))
        return Created(identity=identity, outputs=self.outputs(state(told)))

    async def update(self, inputs: Inputs, stored: Stored, operation: Operation) -> Properties:
        """Roll it out; a failure is in the state as if there was none, also after a rollback."""
        try:
            return await self._update(inputs, stored, operation)
        except OperationError as error:
            outputs = self.kept(inputs, stored)
            identity = stored.identity
            raise PartlyDoneError(str(error), identity=identity, outputs=outputs) from error

    async def _update(self, inputs: Inputs, stored: Stored, operation: Operation) -> Properties:
        daemon = await self.daemon(operation)
        path = f"/services/{stored.identity}"
        told = await operation.scope.race(daemon.get(path))
        version = {"version": told["Version"]["Index"]}
        wanted, login = await _spec(daemon, inputs), daemon.login(_image(inputs))
        await operation.scope.race(daemon.post(f"{path}/update", wanted, version, login))
        await _rolled_out(daemon, stored.identity, inputs, operation)
        told = await operation.scope.race(daemon.get(path))
        return self.outputs(state(told))

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Remove it, and wait for its containers where the program has given them a grace."""
        daemon = await self.daemon(operation)
        inputs = Inputs(stored.state)
        grace = nanoseconds(_container(inputs).text("stopGracePeriod", "0s")) or 0
        try:
            containers = await _containers(daemon, stored.identity) if grace else []
            await operation.scope.race(daemon.call("DELETE", f"/services/{stored.identity}"))
        except DaemonError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return
            msg = f"Error deleting service with ID '{stored.identity}': {error}"
            raise OperationError(msg) from error
        for container in containers:
            await operation.scope.race(_gone(daemon, container, grace / _SECOND))

    async def read(self, stored: Stored, operation: Operation) -> Found | None:
        """Look at it."""
        told = await self.told(f"/services/{stored.identity}", operation)
        return self.found(state(told)) if told else None


def _container(inputs: Inputs) -> Inputs:
    task = inputs.inside("taskSpec") or Inputs({})
    return task.inside("containerSpec") or Inputs({})


def _image(inputs: Inputs) -> str:
    return _container(inputs).text("image", "")


async def _spec(daemon: Daemon, inputs: Inputs) -> dict[str, Any]:
    """The request, with the ids of the networks that the program gives by name."""
    wanted = spec(inputs)
    for network in wanted["TaskTemplate"].get("Networks", ()):
        network["Target"] = (await daemon.get(f"/networks/{network['Target']}"))["Id"]
    return wanted


async def _converged(daemon: Daemon, identity: str, inputs: Inputs, operation: Operation) -> None:
    """Wait until all replicas run, where the program wants to."""
    config = inputs.inside("convergeConfig")
    if config is not None:
        delay = (nanoseconds(config.text("delay", "7s")) or 0) / _SECOND

        async def runs() -> bool:
            return await _runs(daemon, identity, operation)

        await _until(runs, identity, config, delay, operation)


async def _rolled_out(daemon: Daemon, identity: str, inputs: Inputs, operation: Operation) -> None:
    """Wait for the end of an update, where the program wants to.

    Raises:
        OperationError: it was paused or rolled back, or has not ended in time.
    """
    config = inputs.inside("convergeConfig")
    if config is None:
        return

    async def ended() -> bool:
        told = await operation.scope.race(daemon.get(f"/services/{identity}"))
        status = told.get("UpdateStatus") or {}
        if (where := status.get("State")) in _ENDED_BADLY:
            msg = f"{_ENDED_BADLY[where]}: {status.get('Message', '')}"
            raise OperationError(msg)
        return where == "completed" or (not where and await _runs(daemon, identity, operation))

    await _until(ended, identity, config, _BEFORE_A_LOOK, operation)


async def _until(
    is_so: Callable[[], Awaitable[bool]],
    identity: str,
    config: Inputs,
    delay: float,
    operation: Operation,
) -> None:
    longest = nanoseconds(config.text("timeout", "3m")) or 0
    deadline = asyncio.get_running_loop().time() + longest / _SECOND
    await operation.scope.sleep(delay)
    while not await is_so():
        if asyncio.get_running_loop().time() > deadline:
            msg = f"Service with ID ({identity}) did not converge after {duration(longest)}"
            raise OperationError(msg)
        operation.journal.status("waiting for the service to converge")
        await operation.scope.sleep(_LOOK)


async def _runs(daemon: Daemon, identity: str, operation: Operation) -> bool:
    told = await operation.scope.race(daemon.get(f"/services/{identity}"))
    replicated = told["Spec"]["Mode"].get("Replicated")
    if replicated is None:
        msg = "no replica count"
        raise OperationError(msg)
    tasks = await operation.scope.race(_tasks(daemon, identity))
    running = {
        task["Slot"]
        for task in tasks
        if task["Status"]["State"] == task["DesiredState"] == "running"
    }
    return len(running) == int(replicated["Replicas"])


async def _tasks(daemon: Daemon, identity: str) -> list[dict[str, Any]]:
    filters = quote(json.dumps({"service": [identity], "desired-state": ["running"]}))
    tasks: list[dict[str, Any]] = await daemon.get(f"/tasks?filters={filters}")
    return tasks


async def _containers(daemon: Daemon, identity: str) -> list[str]:
    told = (task["Status"].get("ContainerStatus") for task in await _tasks(daemon, identity))
    return [status["ContainerID"] for status in told if status and status.get("ContainerID")]


async def _gone(daemon: Daemon, container: str, grace: float) -> None:
    """Wait for a container to be removed by the swarm, and remove it when it takes too long."""
    path = f"/containers/{container}"
    try:
        async with asyncio.timeout(grace):
            await daemon.post(f"{path}/wait", None, {"condition": "removed"})
    except DaemonError:
        return
    except TimeoutError:
        try:
            await daemon.call("DELETE", path, {"force": "1", "v": "1"})
        except DaemonError as error:
            gone = error.status == HTTPStatus.NOT_FOUND
            if not gone and "is already in progress" not in str(error):
                raise
