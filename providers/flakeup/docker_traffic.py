"""`flakeup:docker:Traffic`: whose requests go where."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from components.pipeline.targets.docker import edge, ownership, trial
from components.pipeline.targets.docker.daemon import Daemon, segment, steadily
from components.pipeline.targets.docker.route import Route, Traffic
from components.pipeline.targets.incus.ownership import Owner

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, Resource
from .docker import CUT_OFF, Daemons, without_wait
from .schemas import TRAFFIC

if TYPE_CHECKING:
    from ..sdk.resource import Operation, PriorState
    from ..sdk.schema import Schema
    from ..sdk.values import Properties

AGAIN: Final = (
    "what served before serves on; fix the release, then run `pulumi up` again, "
    "or `pulumi up --refresh` where somebody has stopped or removed it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSpec:
    """The inputs of a service's traffic."""

    host: str
    service: str
    edge: str
    route: Route
    wait: float


class TrafficResource(Resource[TrafficSpec]):
    """Where the edge of a service sends what it is asked: to one that is healthy."""

    schema: ClassVar[Schema] = TRAFFIC

    def __init__(self, daemons: Daemons) -> None:
        """All resources of Docker speak with the same `daemons`."""
        self._daemons = daemons

    def parse(self, inputs: Inputs) -> TrafficSpec:
        """The inputs as values."""
        route = Route(
            ports={int(outer): int(inner) for outer, inner in inputs.string_map("ports").items()},
            container=inputs.string("container", ""),
            traffic=Traffic(inputs.string("traffic", "http")),
            grace=int(inputs.number("grace", 10.0)),
        )
        return TrafficSpec(
            host=inputs.string("host", ""),
            service=inputs.string("service", ""),
            edge=inputs.string("edge", ""),
            route=route,
            wait=inputs.number("wait", 60.0),
        )

    async def create(self, inputs: TrafficSpec, operation: Operation) -> Created:
        """Send it there."""
        await operation.cancellation.race(self._sent(inputs, None, operation))
        return Created(id=inputs.service, outputs={})

    async def update(
        self, inputs: TrafficSpec, prior: PriorState, operation: Operation
    ) -> Properties:
        """Send it to the new one; until that is healthy, all goes where it went."""
        before = self.parse(Inputs(prior.state))
        await operation.cancellation.race(self._sent(inputs, before, operation))
        return {}

    async def _sent(
        self, spec: TrafficSpec, before: TrafficSpec | None, operation: Operation
    ) -> None:
        say, route = operation.diagnostics.status, spec.route
        kept = {route.container, before.route.container if before else ""}
        async with self._daemons.at(spec.host, operation) as docker:

            async def work() -> None:
                if before and spec.edge not in {"", before.edge}:
                    # A new edge sends nobody anywhere.
                    old = replace(route, container=before.route.container)
                    await edge.send(docker, spec.edge, old)
                say("waiting for the new container")
                await trial.healthy(
                    docker, route.container, spec.service, seconds=spec.wait, remedy=AGAIN
                )
                if spec.edge:
                    say("moving the traffic")
                    await edge.send(docker, spec.edge, route)
                # The one of before is the engine's to remove, as the state knows it.
                others = await _others(docker, spec.service, kept, operation)
                await ownership.end(docker, others, route.grace)

            await steadily(docker, work)

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """The edge goes by itself, and its configuration with it."""
        del prior, operation

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """How long it may take is no change; containers that nobody knows of are to be ended.

        What does not run is only named here: the state brings it back once it is refreshed.
        """
        found = without_wait(await super().diff(new, prior, operation))
        if found.differences:
            return found
        spec = self.parse(Inputs(prior.state))
        with suppress(OperationError):  # the image has said that the daemon is away
            async with self._daemons.look(spec.host, operation) as docker:
                for one, name in ((spec.route.container, "container"), (spec.edge, "edge")):
                    if one and (how := await _stopped(docker, one)):
                        said = f"the {name} of {spec.service} {how}"
                        operation.diagnostics.warning(
                            f"{said}: `pulumi up --refresh` brings it back"
                        )
                kept = {spec.route.container}
                others = await _others(docker, spec.service, kept, operation)
            if others:
                names = ", ".join(one.name for one in others)
                operation.diagnostics.warning(f"{names}: left by {CUT_OFF}")
                return Diff(differences=(Difference(path="container", top="container"),))
        return found


async def _others(
    docker: Daemon, service: str, kept: set[str], operation: Operation
) -> tuple[ownership.Container, ...]:
    """The service's containers beside those that the state knows, and what those do not need."""
    owner = Owner.of_urn(operation.urn).text
    found = await ownership.containers(docker, {ownership.OWNER: owner, ownership.SERVICE: service})
    known = [one for one in found if one.name in kept]
    idle = await ownership.holders(docker, owner, service, known)
    return (*(one for one in found if one.name not in kept), *idle)


async def _stopped(docker: Daemon, container: str) -> str:
    """How it is that a container does not run; empty where it does."""
    seen = await docker.find(f"/containers/{segment(container)}/json")
    if seen is None:
        return "is gone"
    return "" if seen["State"]["Running"] else f"({seen['Name'][1:]}) does not run"
