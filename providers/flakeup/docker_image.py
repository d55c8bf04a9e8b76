"""`flakeup:docker:Image`: an image in a daemon."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from components.pipeline.config.registry import Registry
from components.pipeline.errors import DockerKeyError
from components.pipeline.targets.docker import image
from components.pipeline.targets.docker.daemon import Daemon, segment, steadily
from components.pipeline.targets.docker.pull import pulled
from components.pipeline.targets.docker.push import pushed

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, ReadResult, Resource
from .schemas import DOCKER_IMAGE
from .servers import operation_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..sdk.check import Failure
    from ..sdk.resource import CheckContext, Operation, PriorState
    from ..sdk.schema import Schema
    from ..sdk.values import Properties
    from .docker import Daemons


MEANS: Final = frozenset({"username", "password"})
"""Inputs that say how it gets there: another one changes nothing about what is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """The inputs of an image."""

    host: str
    ref: str
    built: Path
    registry: Registry | None


class DockerImageResource(Resource[ImageSpec]):
    """An image under a name that is never moved: one that is there is the right one."""

    schema: ClassVar[Schema] = DOCKER_IMAGE

    def __init__(self, daemons: Daemons) -> None:
        """Nothing is wanted yet."""
        self._daemons = daemons
        self._wanted: set[tuple[str, str]] = set()
        """Daemon and name of each image that the program asks for in this run."""
        self._away: set[str] = set()

    def parse(self, inputs: Inputs) -> ImageSpec:
        """The inputs as values."""
        address = inputs.string("registry")
        return ImageSpec(
            host=inputs.string("host", ""),
            ref=inputs.string("ref", ""),
            built=Path(inputs.string("built", "")),
            registry=Registry(
                address=address,
                username=inputs.string("username", ""),
                password=inputs.string("password", ""),
            )
            if address
            else None,
        )

    async def check(
        self, inputs: Properties, context: CheckContext
    ) -> tuple[Properties, Sequence[Failure]]:
        """What the program names is wanted; a refresh looks at all there is, and checks nothing."""
        match inputs.get("host"), inputs.get("ref"):
            case str(host), str(ref):
                self._wanted.add((host, ref))
        return await super().check(inputs, context)

    async def create(self, inputs: ImageSpec, operation: Operation) -> Created:
        """Push it, where it goes through a registry, and load it, where it is not there."""
        outputs = await operation.cancellation.race(self._loaded(inputs, operation))
        return Created(id=inputs.ref, outputs=outputs)

    async def update(
        self, inputs: ImageSpec, prior: PriorState, operation: Operation
    ) -> Properties:
        """Load it again: somebody has removed it."""
        del prior
        return await operation.cancellation.race(self._loaded(inputs, operation))

    async def _loaded(self, spec: ImageSpec, operation: Operation) -> Properties:
        ref, registry, say = spec.ref, spec.registry, operation.diagnostics.status
        if registry is None:
            async with self._daemons.at(spec.host, operation) as docker:
                identity = await steadily(
                    docker, lambda: image.ensure(docker, spec.built, ref, say)
                )
            return {"imageId": identity}
        with operation_errors():
            digest = await pushed(spec.built, ref, registry, say)
        async with self._daemons.at(spec.host, operation) as docker:
            identity = await steadily(docker, lambda: pulled(docker, ref, digest, registry, say))
        return {"imageId": identity, "digest": digest}

    async def preview(
        self, inputs: Properties, prior: PriorState | None, operation: Operation
    ) -> Properties:
        """A digest is of a registry only."""
        outputs = await super().preview(inputs, prior, operation)
        has_digest = "registry" in inputs
        return {key: value for key, value in outputs.items() if has_digest or key != "digest"}

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Take its name off; it stays where a container still needs it, and in the registry.

        After an `up` that failed, what was to be replaced can be what is wanted again.
        """
        state = Inputs(prior.state)
        spec, identity = self.parse(state), state.string("imageId", "")
        if (spec.host, spec.ref) in self._wanted:
            return
        async with self._daemons.at(spec.host, operation) as docker:
            await steadily(docker, lambda: image.remove(docker, spec.ref, identity))

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """Whether the daemon still has it."""
        if not prior.inputs:
            msg = "an image is not imported: `pulumi up` finds it where it is there already"
            raise OperationError(msg)
        state = Inputs(prior.state)
        async with self._daemons.at(state.string("host", ""), operation) as docker:
            identity = await _image_id(docker, state.string("ref", ""))
        return ReadResult(outputs={**prior.state, "imageId": identity}) if identity else None

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """Also an image that was removed from the daemon is to be loaded again."""
        every = (await super().diff(new, prior, operation)).differences
        found = Diff(differences=tuple(one for one in every if one.top not in MEANS))
        state = Inputs(prior.state)
        host, ref = state.string("host", ""), state.string("ref", "")
        try:
            async with self._daemons.look(host, operation) as docker:
                identity = await _image_id(docker, ref)
        except OperationError as error:
            stays = Inputs(new).string("host", "") == host
            if stays and isinstance(error.__cause__, DockerKeyError):
                raise  # before anything is begun: nobody knows whose machine it is
            if not found.differences and host not in self._away:
                operation.diagnostics.warning(f"{error}; what the state says is taken for true")
                self._away.add(host)
            return found
        if found.differences or identity:
            return found
        return Diff(differences=(Difference(path="imageId", top="imageId"),))


async def _image_id(docker: Daemon, ref: str) -> str | None:
    found = await docker.find(f"/images/{segment(ref)}/json")
    return None if found is None else str(found["Id"])
