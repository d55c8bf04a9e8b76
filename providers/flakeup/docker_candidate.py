"""`flakeup:docker:Candidate`: a candidate that has become healthy."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from components.pipeline.errors import DockerUnavailableError
from components.pipeline.targets.docker import candidate as candidates
from components.pipeline.targets.docker import ownership
from components.pipeline.targets.docker.candidate import Candidate, HealthCheck
from components.pipeline.targets.docker.daemon import retry_through_restart
from components.pipeline.values import Owner

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, Resource
from .docker import LEFTOVER, Daemons, without_wait
from .owner import OWNER, known_owner, owner_of, prior_owner, settle_owner
from .schemas import CANDIDATE, INTERVAL, WAIT

if TYPE_CHECKING:
    from ..sdk.resource import Operation, PriorState
    from ..sdk.schema import Schema
    from ..sdk.values import Properties


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSpec:
    """The inputs of a candidate."""

    host: str
    candidate: Candidate
    wait: float
    owner: str
    """Empty in a state from before there was one."""


class CandidateResource(Resource[CandidateSpec]):
    """A candidate that became healthy: only then is anything changed that depends on it."""

    schema: ClassVar[Schema] = CANDIDATE

    def __init__(self, daemons: Daemons) -> None:
        self._daemons = daemons

    def parse(self, inputs: Inputs) -> CandidateSpec:
        """The inputs as values."""
        check = inputs.strings("healthcheck")
        interval = inputs.number("interval", INTERVAL)
        candidate = Candidate(
            service=inputs.string("service", ""),
            image=inputs.string("image", ""),
            command=inputs.strings("command"),
            env=inputs.string_map("environment"),
            secrets=inputs.string_map("secrets"),
            network=inputs.string("network", ""),
            user=inputs.string("user", ""),
            read_only=bool(inputs.boolean("readOnly")),
            health_check=HealthCheck(command=check, interval=interval) if check else None,
            ports=tuple(map(int, inputs.strings("ports"))),
        )
        return CandidateSpec(
            host=inputs.string("host", ""),
            candidate=candidate,
            wait=inputs.number("wait", WAIT),
            owner=inputs.string(OWNER, ""),
        )

    async def create(self, inputs: CandidateSpec, operation: Operation) -> Created:
        """Run it until it is healthy."""
        owner = owner_of(inputs.owner, operation.urn)
        await self._refuse_namesakes(inputs.host, inputs.candidate.service, owner, operation)
        await operation.cancellation.race(self._run(inputs, operation))
        return Created(id=inputs.candidate.service, outputs={})

    async def update(
        self, inputs: CandidateSpec, prior: PriorState, operation: Operation
    ) -> Properties:
        """Run the new one until it is healthy."""
        del prior
        await operation.cancellation.race(self._run(inputs, operation))
        return {}

    async def _run(self, spec: CandidateSpec, operation: Operation) -> None:
        owner, report = owner_of(spec.owner, operation.urn).text, operation.diagnostics.status
        async with self._daemons.at(spec.host, operation) as docker:
            await retry_through_restart(
                docker,
                lambda: candidates.run_candidate(
                    docker, spec.candidate, owner, seconds=spec.wait, report=report
                ),
            )

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Remove what an interrupted `up` has left of the service.

        All of the service that the state knows depends on this resource, and is removed before it.
        """
        state, owner = Inputs(prior.state), prior_owner(prior, operation.urn).text
        service = state.string("service", "")
        async with self._daemons.at(state.string("host", ""), operation) as docker:

            async def work() -> None:
                await candidates.remove_leftovers(docker, f"{owner}/{service}")
                for label in (ownership.SERVICE, ownership.EDGE, ownership.SECRETS):
                    labels = {ownership.OWNER: owner, label: service}
                    found = await ownership.containers(docker, labels)
                    await ownership.stop_and_remove(docker, found, grace=0)

            await retry_through_restart(docker, work)

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """Compare; a candidate that an interrupted `up` has left is a change."""
        found = without_wait(await super().diff(new, prior, operation))
        found = settle_owner(found, new, prior, operation)
        if found.differences:
            return found
        state, owner = Inputs(prior.state), prior_owner(prior, operation.urn).text
        with suppress(OperationError):  # the image's diff has reported it
            async with self._daemons.for_diff(state.string("host", ""), operation) as docker:
                leftovers = await candidates.leftovers(
                    docker, f"{owner}/{state.string('service', '')}"
                )
            if leftovers:
                names = ", ".join(one.name for one in leftovers)
                operation.diagnostics.warning(f"{names}: {LEFTOVER}")
                return Diff(differences=(Difference(path="image", top="image"),))
        return found

    async def preview(
        self, inputs: Properties, prior: PriorState | None, operation: Operation
    ) -> Properties:
        """Refuse what its creation would refuse; an unavailable daemon is asked nothing."""
        given = Inputs(inputs)
        host, service = given.string("host", ""), given.string("service", "")
        if prior is None and host:
            owner = known_owner(inputs, operation.urn)
            try:
                await self._refuse_namesakes(host, service, owner, operation)
            except OperationError as error:
                if not isinstance(error.__cause__, DockerUnavailableError):
                    raise
        return await super().preview(inputs, prior, operation)

    async def _refuse_namesakes(
        self, host: str, service: str, owner: Owner | None, operation: Operation
    ) -> None:
        stack = Owner.of_urn(operation.urn).name
        async with self._daemons.at(host, operation) as docker:
            await ownership.refuse_namesakes(docker, service, stack, owner)
