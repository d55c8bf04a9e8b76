"""`flakeup:docker:Traffic`: the container that a service's requests go to."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from components.pipeline.config.services import Traffic
from components.pipeline.targets.docker import edge, ownership
from components.pipeline.targets.docker.candidate import wait_healthy
from components.pipeline.targets.docker.daemon import Daemon, retry_through_restart, segment
from components.pipeline.targets.docker.route import Route

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, Resource
from .docker import LEFTOVER, Daemons, without_wait
from .owner import OWNER, owner_of, prior_owner, settle_owner
from .schemas import GRACE, TRAFFIC, WAIT

if TYPE_CHECKING:
    from components.pipeline.values import Owner

    from ..sdk.resource import Operation, PriorState
    from ..sdk.schema import Schema
    from ..sdk.values import Properties

REMEDY: Final = (
    "the previous version keeps serving; fix the release, then run `pulumi up` again, "
    "or `pulumi up --refresh` if somebody has stopped or removed it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSpec:
    """The inputs of a service's traffic."""

    host: str
    service: str
    edge: str
    route: Route
    wait: float
    owner: str
    """Empty in a state from before there was one."""


class TrafficResource(Resource[TrafficSpec]):
    """Where the edge of a service forwards requests to: a healthy container."""

    schema: ClassVar[Schema] = TRAFFIC

    def __init__(self, daemons: Daemons) -> None:
        self._daemons = daemons

    def parse(self, inputs: Inputs) -> TrafficSpec:
        """The inputs as values."""
        route = Route(
            ports={int(outer): int(inner) for outer, inner in inputs.string_map("ports").items()},
            container=inputs.string("container", ""),
            traffic=Traffic(inputs.string("traffic", "http")),
            grace=int(inputs.number("grace", GRACE)),
        )
        return TrafficSpec(
            host=inputs.string("host", ""),
            service=inputs.string("service", ""),
            edge=inputs.string("edge", ""),
            route=route,
            wait=inputs.number("wait", WAIT),
            owner=inputs.string(OWNER, ""),
        )

    async def create(self, inputs: TrafficSpec, operation: Operation) -> Created:
        """Wait until the container is healthy, and forward requests to it."""
        await operation.cancellation.race(self._switch(inputs, None, operation))
        return Created(id=inputs.service, outputs={})

    async def update(
        self, inputs: TrafficSpec, prior: PriorState, operation: Operation
    ) -> Properties:
        """Switch to the new container; until it is healthy, requests go to the previous one."""
        previous = self.parse(Inputs(prior.state))
        await operation.cancellation.race(self._switch(inputs, previous, operation))
        return {}

    async def _switch(
        self, spec: TrafficSpec, previous: TrafficSpec | None, operation: Operation
    ) -> None:
        report, route = operation.diagnostics.status, spec.route
        kept = {route.container, previous.route.container if previous else ""}
        async with self._daemons.at(spec.host, operation) as docker:

            async def work() -> None:
                if previous and spec.edge not in {"", previous.edge}:
                    # A new edge forwards nothing yet.
                    old = replace(route, container=previous.route.container)
                    await edge.send(docker, spec.edge, old)
                report("waiting for the new container")
                await wait_healthy(
                    docker, route.container, spec.service, seconds=spec.wait, remedy=REMEDY
                )
                if spec.edge:
                    report("switching the traffic")
                    await edge.send(docker, spec.edge, route)
                # The engine removes the previous container, which the state knows.
                owner = owner_of(spec.owner, operation.urn)
                unknown = await _unknown(docker, spec.service, kept, owner)
                await ownership.stop_and_remove(docker, unknown, route.grace)

            await retry_through_restart(docker, work)

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Do nothing: the edge is removed with its configuration."""
        del prior, operation

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """Compare; containers that the state does not know are a change: they are to be removed.

        A container that is not running is only reported: a refresh makes it a change.
        """
        found = without_wait(await super().diff(new, prior, operation))
        found = settle_owner(found, new, prior, operation)
        if found.differences:
            return found
        spec = self.parse(Inputs(prior.state))
        with suppress(OperationError):  # the image's diff has reported it
            async with self._daemons.for_diff(spec.host, operation) as docker:
                for one, name in ((spec.route.container, "container"), (spec.edge, "edge")):
                    if one and (why := await _not_running(docker, one)):
                        text = f"the {name} of {spec.service} {why}"
                        operation.diagnostics.warning(f"{text}: `pulumi up --refresh` restores it")
                kept = {spec.route.container}
                owner = prior_owner(prior, operation.urn)
                unknown = await _unknown(docker, spec.service, kept, owner)
            if unknown:
                names = ", ".join(one.name for one in unknown)
                operation.diagnostics.warning(f"{names}: {LEFTOVER}")
                return Diff(differences=(Difference(path="container", top="container"),))
        return found


async def _unknown(
    docker: Daemon, service: str, kept: set[str], owner: Owner
) -> tuple[ownership.Container, ...]:
    """Return the service's containers that the state does not know, and unused secrets ones."""
    labels = {ownership.OWNER: owner.text, ownership.SERVICE: service}
    found = await ownership.containers(docker, labels)
    known = [one for one in found if one.name in kept]
    unused = await ownership.unused_secrets_containers(docker, owner.text, service, known)
    return (*(one for one in found if one.name not in kept), *unused)


async def _not_running(docker: Daemon, container: str) -> str:
    """Return why a container is not running; empty if it is."""
    seen = await docker.find(f"/containers/{segment(container)}/json")
    if seen is None:
        return "does not exist"
    return "" if seen["State"]["Running"] else f"({seen['Name'][1:]}) is not running"
