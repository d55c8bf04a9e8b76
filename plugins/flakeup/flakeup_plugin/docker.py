"""`flakeup:docker:*`: an image in a daemon, a candidate tried, and whose requests go where."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plugin_protocol.diff import Diff, Difference
from plugin_protocol.errors import OperationError
from plugin_protocol.inputs import Inputs
from plugin_protocol.resource import Created, Found, Resource

from components.pipeline.docker import edge, image, trial
from components.pipeline.docker.daemon import Daemon, segment
from components.pipeline.docker.route import Route, Traffic
from components.pipeline.docker.trial import Candidate, Health
from components.pipeline.grammar import StorePath
from components.pipeline.incus.marks import Owner
from flakeup_plugin.servers import told
from flakeup_plugin.shapes import DOCKER_IMAGE, TRAFFIC, TRIAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugin_protocol.fields import Shape
    from plugin_protocol.resource import Operation, Stored
    from plugin_protocol.values import Properties


@asynccontextmanager
async def _daemon(host: str) -> AsyncIterator[Daemon]:
    with told():
        async with Daemon(host) as docker:
            yield docker


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """The inputs of an image."""

    host: str
    ref: str
    built: StorePath


class DockerImageResource(Resource[ImageSpec]):
    """An image under a name that is never moved: one that is there is the right one."""

    shape: ClassVar[Shape] = DOCKER_IMAGE

    def parse(self, inputs: Inputs) -> ImageSpec:
        """The inputs as values."""
        return ImageSpec(
            host=inputs.text("host", ""),
            ref=inputs.text("ref", ""),
            built=StorePath(inputs.text("built", "")),
        )

    async def create(self, inputs: ImageSpec, operation: Operation) -> Created:
        """Load it where it is not there."""
        identity = await operation.scope.race(self._loaded(inputs, operation))
        return Created(identity=inputs.ref, outputs={"imageId": identity})

    async def _loaded(self, spec: ImageSpec, operation: Operation) -> str:
        async with _daemon(spec.host) as docker:
            return await image.ensure(docker, spec.built, spec.ref, operation.journal.status)

    async def update(self, inputs: ImageSpec, stored: Stored, operation: Operation) -> Properties:
        """Nothing of it can change."""
        del inputs, operation
        return {"imageId": stored.state["imageId"]}

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Take its name off; it stays where a container still needs it."""
        del operation
        state = Inputs(stored.state)
        async with _daemon(state.text("host", "")) as docker:
            await image.remove(docker, state.text("ref", ""))

    async def read(self, stored: Stored, operation: Operation) -> Found | None:
        """Whether the daemon still has it."""
        del operation
        if not stored.inputs:
            msg = "an image is not imported: `pulumi up` finds it where it is there already"
            raise OperationError(msg)
        identity = await _image_id(Inputs(stored.state))
        return Found(outputs={**stored.state, "imageId": identity}) if identity else None

    async def diff(self, new: Properties, stored: Stored, operation: Operation) -> Diff:
        """Also an image that was removed from the daemon is to be loaded again."""
        found = await super().diff(new, stored, operation)
        try:
            identity = await _image_id(Inputs(stored.state))
        except OperationError as error:
            operation.journal.warning(f"{error}; what the state says is taken for true")
            return found
        if identity:
            return found
        gone = Difference(path="imageId", top="imageId", replaces=True)
        return Diff(differences=(*found.differences, gone))


async def _image_id(state: Inputs) -> str | None:
    async with _daemon(state.text("host", "")) as docker:
        found = await docker.find(f"/images/{segment(state.text('ref', ''))}/json")
    return None if found is None else str(found["Id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """The inputs of a trial."""

    host: str
    candidate: Candidate
    wait: float


class TrialResource(Resource[TrialSpec]):
    """A candidate that became healthy: what depends on it is changed only then."""

    shape: ClassVar[Shape] = TRIAL

    def parse(self, inputs: Inputs) -> TrialSpec:
        """The inputs as values."""
        check = inputs.texts("healthcheck")
        health = Health(command=check, interval=inputs.number("interval", 2.0)) if check else None
        candidate = Candidate(
            service=inputs.text("service", ""),
            image=inputs.text("image", ""),
            command=inputs.texts("command"),
            env=inputs.mapping("environment"),
            network=inputs.text("network", ""),
            user=inputs.text("user", ""),
            read_only=bool(inputs.flag("readOnly")),
            health=health,
        )
        return TrialSpec(
            host=inputs.text("host", ""), candidate=candidate, wait=inputs.number("wait", 60.0)
        )

    async def create(self, inputs: TrialSpec, operation: Operation) -> Created:
        """Try it."""
        await operation.scope.race(self._tried(inputs, operation))
        return Created(identity=inputs.candidate.service, outputs={})

    async def update(self, inputs: TrialSpec, stored: Stored, operation: Operation) -> Properties:
        """Try the new one."""
        del stored
        await operation.scope.race(self._tried(inputs, operation))
        return {}

    async def _tried(self, spec: TrialSpec, operation: Operation) -> None:
        owner, say = Owner.of_urn(operation.urn).text, operation.journal.status
        async with _daemon(spec.host) as docker:
            await trial.tried(docker, spec.candidate, owner, seconds=spec.wait, say=say)

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Nothing of it is left."""
        del stored, operation

    async def diff(self, new: Properties, stored: Stored, operation: Operation) -> Diff:
        """How long it may take is no reason to try it again."""
        found = await super().diff(new, stored, operation)
        return Diff(differences=tuple(one for one in found.differences if one.top != "wait"))


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

    shape: ClassVar[Shape] = TRAFFIC

    def parse(self, inputs: Inputs) -> TrafficSpec:
        """The inputs as values."""
        route = Route(
            ports={int(outer): int(inner) for outer, inner in inputs.mapping("ports").items()},
            container=inputs.text("container", ""),
            traffic=Traffic(inputs.text("traffic", "http")),
            grace=int(inputs.number("grace", 10.0)),
        )
        return TrafficSpec(
            host=inputs.text("host", ""),
            service=inputs.text("service", ""),
            edge=inputs.text("edge", ""),
            route=route,
            wait=inputs.number("wait", 60.0),
        )

    async def create(self, inputs: TrafficSpec, operation: Operation) -> Created:
        """Send it there."""
        await operation.scope.race(self._sent(inputs, operation))
        return Created(identity=inputs.service, outputs={})

    async def update(self, inputs: TrafficSpec, stored: Stored, operation: Operation) -> Properties:
        """Send it to the new one; until that is healthy, all goes where it went."""
        del stored
        await operation.scope.race(self._sent(inputs, operation))
        return {}

    async def _sent(self, spec: TrafficSpec, operation: Operation) -> None:
        async with _daemon(spec.host) as docker:
            operation.journal.status("waiting for the new container")
            await trial.healthy(docker, spec.route.container, spec.service, seconds=spec.wait)
            operation.journal.status("moving the traffic")
            await edge.send(docker, spec.edge, spec.route)

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """The edge goes by itself, and its configuration with it."""
        del stored, operation

    async def diff(self, new: Properties, stored: Stored, operation: Operation) -> Diff:
        """How long it may take is no change."""
        found = await super().diff(new, stored, operation)
        return Diff(differences=tuple(one for one in found.differences if one.top != "wait"))
