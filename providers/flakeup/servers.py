"""The Incus servers that this process speaks with, and what they have said."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from components.pipeline.errors import FlakeupError, IncusPinError
from components.pipeline.targets.incus.api import Incus
from components.pipeline.targets.incus.image import fingerprints
from components.pipeline.targets.incus.observed import Seen, listed
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
"""The input that says which server is meant; it changes nothing on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A remote's name, and a project on it; with the certificate that the stack has pinned."""

    remote: str
    project: str
    certificate: str = ""

    def identity(self, *names: str) -> str:
        """The id of what is there."""
        return "/".join((self.remote, self.project, *names))


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong as the engine is told of it: the message alone."""
    try:
        yield
    except FlakeupError as error:
        raise OperationError(str(error)) from error


class Servers:
    """One listing of each project for all that the engine asks before anything is done."""

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._listings: dict[Place, asyncio.Task[dict[str, Seen]]] = {}
        self._images: dict[Place, asyncio.Task[frozenset[str]]] = {}
        self._excused: set[Place] = set()

    @asynccontextmanager
    async def at(self, place: Place) -> AsyncIterator[Incus]:
        """A server, for one operation.

        Raises:
            OperationError: whatever goes wrong in the block.
        """
        with told():
            remote = Remote.find(place.remote, place.certificate)
            async with Incus(remote, place.project) as incus:
                yield incus

    async def instances(self, place: Place) -> dict[str, Seen]:
        """The instances of a project as they were when this process first asked."""
        return await self._once(self._listings, place, listed)

    async def images(self, place: Place) -> frozenset[str]:
        """The fingerprints of a project's images, as they were when this process first asked."""
        return await self._once(self._images, place, fingerprints)

    def excuse(self, place: Place, error: OperationError, diagnostics: Diagnostics) -> None:
        """Say once that a server could not be asked, for all who wanted to know.

        A preview may run where it cannot be reached: then the state's word counts. But not where
        the server is another one than the stack means.
        """
        if isinstance(error.__cause__, IncusPinError):
            raise error
        if place not in self._excused:
            self._excused.add(place)
            diagnostics.warning(f"{error}; what the state says is taken for true")

    async def _once(
        self,
        asked: dict[Place, asyncio.Task[T]],
        place: Place,
        ask: Callable[[Incus], Awaitable[T]],
    ) -> T:
        async def answer() -> T:
            async with self.at(place) as incus:
                return await ask(incus)

        if place not in asked:
            asked[place] = asyncio.create_task(answer())
        return await asyncio.shield(asked[place])


def place_of(inputs: Inputs) -> Place:
    """Where a resource is."""
    return Place(
        remote=inputs.string("remote", ""),
        project=inputs.string("project", ""),
        certificate=inputs.string(CERTIFICATE, ""),
    )


def place_now(prior: PriorState, new: Properties) -> Place:
    """Where a resource of the state is, with the certificate that is pinned by now."""
    place, now = place_of(Inputs(prior.inputs)), place_of(Inputs(new))
    if place.remote != now.remote:
        return place
    return replace(place, certificate=now.certificate)


def meaningful(found: Diff) -> Diff:
    """A diff without the certificate: another pin changes nothing on the server."""
    kept = tuple(one for one in found.differences if one.top != CERTIFICATE)
    return replace(found, differences=kept)
