"""`flakeup:docker:Trial`: a candidate that has become healthy."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from components.pipeline.targets.docker import ownership, trial
from components.pipeline.targets.docker.daemon import steadily
from components.pipeline.targets.docker.trial import Candidate, Health
from components.pipeline.targets.incus.ownership import Owner

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, Resource
from .docker import CUT_OFF, Daemons, without_wait
from .schemas import TRIAL

if TYPE_CHECKING:
    from ..sdk.resource import Operation, PriorState
    from ..sdk.schema import Schema
    from ..sdk.values import Properties


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """The inputs of a trial."""

    host: str
    candidate: Candidate
    wait: float


class TrialResource(Resource[TrialSpec]):
    """A candidate that became healthy: what depends on it is changed only then."""

    schema: ClassVar[Schema] = TRIAL

    def __init__(self, daemons: Daemons) -> None:
        """All resources of Docker speak with the same `daemons`."""
        self._daemons = daemons

    def parse(self, inputs: Inputs) -> TrialSpec:
        """The inputs as values."""
        check = inputs.strings("healthcheck")
        health = Health(command=check, interval=inputs.number("interval", 2.0)) if check else None
        candidate = Candidate(
            service=inputs.string("service", ""),
            image=inputs.string("image", ""),
            command=inputs.strings("command"),
            env=inputs.string_map("environment"),
            secrets=inputs.string_map("secrets"),
            network=inputs.string("network", ""),
            user=inputs.string("user", ""),
            read_only=bool(inputs.boolean("readOnly")),
            health=health,
            ports=tuple(map(int, inputs.strings("ports"))),
        )
        return TrialSpec(
            host=inputs.string("host", ""), candidate=candidate, wait=inputs.number("wait", 60.0)
        )

    async def create(self, inputs: TrialSpec, operation: Operation) -> Created:
        """Try it."""
        await operation.cancellation.race(self._tried(inputs, operation))
        return Created(id=inputs.candidate.service, outputs={})

    async def update(
        self, inputs: TrialSpec, prior: PriorState, operation: Operation
    ) -> Properties:
        """Try the new one."""
        del prior
        await operation.cancellation.race(self._tried(inputs, operation))
        return {}

    async def _tried(self, spec: TrialSpec, operation: Operation) -> None:
        owner, say = Owner.of_urn(operation.urn).text, operation.diagnostics.status
        async with self._daemons.at(spec.host, operation) as docker:
            await steadily(
                docker,
                lambda: trial.tried(docker, spec.candidate, owner, seconds=spec.wait, say=say),
            )

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Nothing of it is left; what of the service an `up` that was cut off has left goes too.

        All that the state knows of the service depends on this, and is gone by now.
        """
        state, owner = Inputs(prior.state), Owner.of_urn(operation.urn).text
        service = state.string("service", "")
        async with self._daemons.at(state.string("host", ""), operation) as docker:

            async def work() -> None:
                await trial.left(docker, f"{owner}/{service}", remove=True)
                for label in (ownership.SERVICE, ownership.EDGE, ownership.SECRETS):
                    labels = {ownership.OWNER: owner, label: service}
                    await ownership.end(docker, await ownership.containers(docker, labels), grace=0)

            await steadily(docker, work)

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """How long it may take is no reason to try it again; a candidate that is left is one."""
        found = without_wait(await super().diff(new, prior, operation))
        if found.differences:
            return found
        state, owner = Inputs(prior.state), Owner.of_urn(operation.urn).text
        with suppress(OperationError):  # the image has said that the daemon is away
            async with self._daemons.look(state.string("host", ""), operation) as docker:
                left = await trial.left(docker, f"{owner}/{state.string('service', '')}")
            if left:
                operation.diagnostics.warning(f"{', '.join(left)}: left by {CUT_OFF}")
                return Diff(differences=(Difference(path="image", top="image"),))
        return found
