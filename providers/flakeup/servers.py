"""Incus servers: connections, and listings that are read once per process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from components.pipeline.errors import FlakeupError, IncusPinError
from components.pipeline.targets.incus.api import Incus
from components.pipeline.targets.incus.image import list_fingerprints
from components.pipeline.targets.incus.observed import InstanceState, list_instances
from components.pipeline.targets.incus.remote import Remote

from ..sdk.errors import OperationError
from ..sdk.inputs import Inputs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from ..sdk.diagnostics import Diagnostics
    from ..sdk.diff import Diff
    from ..sdk.resource import PriorState
    from ..sdk.values import Properties


T = TypeVar("T")
CERTIFICATE: Final = "certificate"
"""The input that pins the server's certificate; a change of it changes nothing on the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A remote and a project on it, with the fingerprint that the stack pins."""

    remote: str
    project: str
    certificate: str = ""

    def identity(self, *names: str) -> str:
        """The id of a resource there."""
        return "/".join((self.remote, self.project, *names))


@contextmanager
def operation_errors() -> Iterator[None]:
    """Raise an error of the pipeline as an OperationError with the same message."""
    try:
        yield
    except FlakeupError as error:
        raise OperationError(str(error)) from error


class Servers:
    """Connections to servers; each project is listed once for all resources of a preview."""

    def __init__(self) -> None:
        """Start without connections."""
        self._listings: dict[Location, asyncio.Task[dict[str, InstanceState]]] = {}
        self._images: dict[Location, asyncio.Task[frozenset[str]]] = {}
        self._warned: set[Location] = set()

    @asynccontextmanager
    async def connect(self, location: Location) -> AsyncIterator[Incus]:
        """Connect to a server for one operation.

        Raises:
            OperationError: for every error in the block.
        """
        with operation_errors():
            remote = Remote.find(location.remote, location.certificate)
            async with Incus(remote, location.project) as incus:
                yield incus

    async def instances(self, location: Location) -> dict[str, InstanceState]:
        """The instances of a project, as of this process's first request."""
        return await self._once(self._listings, location, list_instances)

    async def images(self, location: Location) -> frozenset[str]:
        """The fingerprints of a project's images, as of this process's first request."""
        return await self._once(self._images, location, list_fingerprints)

    def warn_unavailable(
        self, location: Location, error: OperationError, diagnostics: Diagnostics
    ) -> None:
        """Warn, once for all resources, that a server is unavailable and the state is used.

        A preview may run where the server cannot be reached. A server whose certificate is not the
        pinned one is an error all the same.
        """
        if isinstance(error.__cause__, IncusPinError):
            raise error
        if location not in self._warned:
            self._warned.add(location)
            diagnostics.warning(f"{error}; using the state instead")

    async def _once(
        self,
        asked: dict[Location, asyncio.Task[T]],
        location: Location,
        ask: Callable[[Incus], Awaitable[T]],
    ) -> T:
        async def answer() -> T:
            async with self.connect(location) as incus:
                return await ask(incus)

        if location not in asked:
            asked[location] = asyncio.create_task(answer())
        return await asyncio.shield(asked[location])


def location_of(inputs: Inputs) -> Location:
    """The location of a resource."""
    return Location(
        remote=inputs.string("remote", ""),
        project=inputs.string("project", ""),
        certificate=inputs.string(CERTIFICATE, ""),
    )


def current_location(prior: PriorState, new: Properties) -> Location:
    """The location of a resource in the state, with the fingerprint that is pinned now."""
    location, now = location_of(Inputs(prior.inputs)), location_of(Inputs(new))
    if location.remote != now.remote:
        return location
    return replace(location, certificate=now.certificate)


def without_certificate(found: Diff) -> Diff:
    """A diff without the pinned fingerprint: a new pin changes nothing on the server."""
    kept = tuple(one for one in found.differences if one.top != CERTIFICATE)
    return replace(found, differences=kept)
