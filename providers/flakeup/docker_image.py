"""`flakeup:docker:Image`: an image in a daemon."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from components.pipeline.config.registry import Registry
from components.pipeline.errors import DockerKeyError
from components.pipeline.targets.docker import image
from components.pipeline.targets.docker.daemon import Daemon, retry_through_restart, segment
from components.pipeline.targets.docker.pull import ensure_pulled
from components.pipeline.targets.docker.push import ensure_pushed

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


LOGIN: Final = frozenset({"username", "password"})
"""Inputs for the transfer alone: a change of them does not change the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """The inputs of an image."""

    host: str
    ref: str
    built: Path
    registry: Registry | None


class DockerImageResource(Resource[ImageSpec]):
    """An image under a name that is never moved, nor believed: another image may have it."""

    schema: ClassVar[Schema] = DOCKER_IMAGE

    def __init__(self, daemons: Daemons) -> None:
        self._daemons = daemons
        self._desired: set[tuple[str, str]] = set()
        """Daemon and name of each image that the program asks for in this run."""
        self._warned: set[str] = set()
        """Daemons whose failure a diff has reported."""

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
        """Remember what the program asks for; a refresh reads all resources, and checks none."""
        match inputs.get("host"), inputs.get("ref"):
            case str(host), str(ref):
                self._desired.add((host, ref))
        return await super().check(inputs, context)

    async def create(self, inputs: ImageSpec, operation: Operation) -> Created:
        """Push it, if there is a registry, and load it, unless the daemon has it."""
        outputs = await operation.cancellation.race(self._load(inputs, operation))
        return Created(id=inputs.ref, outputs=outputs)

    async def update(
        self, inputs: ImageSpec, prior: PriorState, operation: Operation
    ) -> Properties:
        """Load it again: somebody has removed it."""
        del prior
        return await operation.cancellation.race(self._load(inputs, operation))

    async def _load(self, spec: ImageSpec, operation: Operation) -> Properties:
        ref, registry, report = spec.ref, spec.registry, operation.diagnostics.status
        if registry is None:
            async with self._daemons.at(spec.host, operation) as docker:
                image_id = await retry_through_restart(
                    docker, lambda: image.ensure_loaded(docker, spec.built, ref, report)
                )
            return {"imageId": image_id}
        with operation_errors():
            digest = await ensure_pushed(spec.built, ref, registry, report)
        async with self._daemons.at(spec.host, operation) as docker:
            image_id = await retry_through_restart(
                docker, lambda: ensure_pulled(docker, ref, digest, registry, report)
            )
        return {"imageId": image_id, "digest": digest}

    async def preview(
        self, inputs: Properties, prior: PriorState | None, operation: Operation
    ) -> Properties:
        """Only an image in a registry has a digest."""
        outputs = await super().preview(inputs, prior, operation)
        has_digest = "registry" in inputs
        return {key: value for key, value in outputs.items() if has_digest or key != "digest"}

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Remove its name; it stays as long as a container needs it, and in the registry.

        After a failed `up`, the image that was to be replaced may be the desired one again.
        """
        state = Inputs(prior.state)
        spec, image_id = self.parse(state), state.string("imageId", "")
        if (spec.host, spec.ref) in self._desired:
            return
        async with self._daemons.at(spec.host, operation) as docker:
            await retry_through_restart(docker, lambda: image.remove(docker, spec.ref, image_id))

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """Read whether the daemon still has it; another image under its name is not it."""
        if not prior.inputs:
            msg = "an image cannot be imported: `pulumi up` finds it if the daemon has it"
            raise OperationError(msg)
        state = Inputs(prior.state)
        async with self._daemons.at(state.string("host", ""), operation) as docker:
            image_id = await _image_id(docker, state.string("ref", ""))
        is_ours = image_id is not None and image_id == state.string("imageId", "")
        return ReadResult(outputs=prior.state) if is_ours else None

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """Compare; one that was removed from the daemon, or has lost its name, is loaded again."""
        every = (await super().diff(new, prior, operation)).differences
        found = Diff(differences=tuple(one for one in every if one.top not in LOGIN))
        state = Inputs(prior.state)
        host, ref = state.string("host", ""), state.string("ref", "")
        try:
            async with self._daemons.for_diff(host, operation) as docker:
                image_id = await _image_id(docker, ref)
        except OperationError as error:
            is_same_host = Inputs(new).string("host", "") == host
            if is_same_host and isinstance(error.__cause__, DockerKeyError):
                raise  # before anything is changed: it may be somebody else's machine
            if not found.differences and host not in self._warned:
                operation.diagnostics.warning(f"{error}; using the state instead")
                self._warned.add(host)
            return found
        if found.differences or image_id == state.string("imageId", ""):
            return found
        return Diff(differences=(Difference(path="imageId", top="imageId"),))


async def _image_id(docker: Daemon, ref: str) -> str | None:
    found = await docker.find(f"/images/{segment(ref)}/json")
    return None if found is None else str(found["Id"])
