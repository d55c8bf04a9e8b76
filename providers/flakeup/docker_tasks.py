"""`flakeup:docker:Tasks`: what runs of a service of a swarm."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from components.pipeline.targets.docker import swarm
from components.pipeline.targets.docker.daemon import steadily

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, Resource
from .docker import without_wait
from .shapes import TASKS

if TYPE_CHECKING:
    from ..sdk.fields import Shape
    from ..sdk.resource import Operation, Stored
    from ..sdk.values import Properties
    from .docker import Daemons


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksSpec:
    """The inputs of the tasks of a service."""

    host: str
    service: str
    identity: str
    image: str
    wait: float


class TasksResource(Resource[TasksSpec]):
    """All tasks run what was asked for: a swarm that has gone back by itself is no success.

    The provider's state has what was wanted, also after a rollback.
    """

    shape: ClassVar[Shape] = TASKS

    def __init__(self, daemons: Daemons) -> None:
        """Those that it speaks with."""
        self._daemons = daemons

    def parse(self, inputs: Inputs) -> TasksSpec:
        """The inputs as values."""
        return TasksSpec(
            host=inputs.text("host", ""),
            service=inputs.text("service", ""),
            identity=inputs.text("swarmService", ""),
            image=inputs.text("image", ""),
            wait=inputs.number("wait", 60.0),
        )

    async def create(self, inputs: TasksSpec, operation: Operation) -> Created:
        """Wait for them."""
        await operation.scope.race(self._running(inputs, operation))
        return Created(identity=inputs.service, outputs={})

    async def update(self, inputs: TasksSpec, stored: Stored, operation: Operation) -> Properties:
        """Wait for the new ones."""
        del stored
        await operation.scope.race(self._running(inputs, operation))
        return {}

    async def _running(self, spec: TasksSpec, operation: Operation) -> None:
        operation.journal.status("waiting for the tasks")
        async with self._daemons.at(spec.host, operation) as docker:
            await steadily(
                docker,
                lambda: swarm.serving(docker, spec.identity, spec.image, spec.service, spec.wait),
            )

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """They go with their service."""
        del stored, operation

    async def diff(self, new: Properties, stored: Stored, operation: Operation) -> Diff:
        """How long it may take is no change; a service that is not as it was asked for is one."""
        found = without_wait(await super().diff(new, stored, operation))
        if found.differences:
            return found
        spec = self.parse(Inputs(stored.state))
        with suppress(OperationError):  # the image has said that the daemon is away
            async with self._daemons.look(spec.host, operation) as docker:
                why = await swarm.wrong(docker, spec.identity, spec.image)
            if why:
                remedy = "`pulumi up --refresh` brings it back"
                operation.journal.warning(f"the service {spec.service}: {why}: {remedy}")
                return Diff(differences=(Difference(path="swarmService", top="swarmService"),))
        return found
