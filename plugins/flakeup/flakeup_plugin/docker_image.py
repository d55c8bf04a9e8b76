"""`flakeup:docker:Image`: an image in a daemon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from plugin_protocol.diff import Diff, Difference
from plugin_protocol.errors import OperationError
from plugin_protocol.inputs import Inputs
from plugin_protocol.resource import Created, Found, Resource

from components.pipeline.docker import image
from components.pipeline.docker.daemon import Daemon, segment, steadily
from components.pipeline.errors import DockerKeyError
from components.pipeline.grammar import StorePath
from flakeup_plugin.shapes import DOCKER_IMAGE

if TYPE_CHECKING:
    from plugin_protocol.fields import Shape
    from plugin_protocol.resource import Operation, Stored
    from plugin_protocol.values import Properties

    from flakeup_plugin.docker import Daemons


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """The inputs of an image."""

    host: str
    ref: str
    built: StorePath


class DockerImageResource(Resource[ImageSpec]):
    """An image under a name that is never moved: one that is there is the right one."""

    shape: ClassVar[Shape] = DOCKER_IMAGE

    def __init__(self, daemons: Daemons) -> None:
        """Nothing is wanted yet."""
        self._daemons = daemons
        self._wanted: set[tuple[str, str]] = set()
        self._away: set[str] = set()

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

    async def update(self, inputs: ImageSpec, stored: Stored, operation: Operation) -> Properties:
        """Load it again: somebody has removed it."""
        del stored
        return {"imageId": await operation.scope.race(self._loaded(inputs, operation))}

    async def _loaded(self, spec: ImageSpec, operation: Operation) -> str:
        self._wanted.add((spec.host, spec.ref))
        async with self._daemons.at(spec.host, operation) as docker:
            say = operation.journal.status
            return await steadily(docker, lambda: image.ensure(docker, spec.built, spec.ref, say))

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Take its name off; it stays where a container still needs it.

        After an `up` that failed, what was to be replaced can be what is wanted again.
        """
        spec = self.parse(Inputs(stored.state))
        if (spec.host, spec.ref) in self._wanted:
            return
        async with self._daemons.at(spec.host, operation) as docker:
            await steadily(docker, lambda: image.remove(docker, spec.ref))

    async def read(self, stored: Stored, operation: Operation) -> Found | None:
        """Whether the daemon still has it."""
        if not stored.inputs:
            msg = "an image is not imported: `pulumi up` finds it where it is there already"
            raise OperationError(msg)
        state = Inputs(stored.state)
        async with self._daemons.at(state.text("host", ""), operation) as docker:
            identity = await _image_id(docker, state.text("ref", ""))
        return Found(outputs={**stored.state, "imageId": identity}) if identity else None

    async def diff(self, new: Properties, stored: Stored, operation: Operation) -> Diff:
        """Also an image that was removed from the daemon is to be loaded again."""
        found = await super().diff(new, stored, operation)
        state = Inputs(stored.state)
        host, ref = state.text("host", ""), state.text("ref", "")
        if not found.differences:
            self._wanted.add((host, ref))
        try:
            async with self._daemons.look(host, operation) as docker:
                identity = await _image_id(docker, ref)
        except OperationError as error:
            stays = Inputs(new).text("host", "") == host
            if stays and isinstance(error.__cause__, DockerKeyError):
                raise  # before anything is begun: nobody knows whose machine it is
            if not found.differences and host not in self._away:
                operation.journal.warning(f"{error}; what the state says is taken for true")
                self._away.add(host)
            return found
        if found.differences or identity:
            return found
        return Diff(differences=(Difference(path="imageId", top="imageId"),))


async def _image_id(docker: Daemon, ref: str) -> str | None:
    found = await docker.find(f"/images/{segment(ref)}/json")
    return None if found is None else str(found["Id"])
