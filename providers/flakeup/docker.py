"""What the resources of Docker share: a daemon, and what counts as a change."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from components.pipeline.errors import DockerAwayError
from components.pipeline.targets.docker.daemon import Daemon
from components.pipeline.targets.incus.ownership import Owner
from components.pipeline.transport.ssh import folder_of

from ..sdk.diff import Diff
from ..sdk.errors import OperationError
from .servers import operation_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..sdk.resource import Operation

JUST_NOW: Final = 10.0
"""Seconds in which diffs do not ask again one that was away."""
CUT_OFF: Final = "an `up` that did not come to its end; the next one removes it"


class Daemons:
    """The Docker daemons that this process speaks with.

    Each look of a preview is one request: over ssh, where a new connection takes a quarter of a
    second, one is kept for all of them. And one that is away is waited for once, not by each.
    """

    def __init__(self) -> None:
        """No daemon is spoken with yet."""
        self._kept: dict[str, Daemon] = {}
        self._open = AsyncExitStack()
        self._lock = asyncio.Lock()
        self._away: dict[str, tuple[float, DockerAwayError]] = {}

    @asynccontextmanager
    async def at(self, host: str, operation: Operation) -> AsyncIterator[Daemon]:
        """A daemon, for one operation.

        Raises:
            OperationError: whatever goes wrong in the block.
        """
        with operation_errors():
            if host.startswith("ssh://"):
                yield await self._far(host, Owner.of_urn(operation.urn).stack)
            else:
                async with Daemon(host) as docker:
                    yield docker

    async def _far(self, host: str, stack: str) -> Daemon:
        """The files of ssh are where the program writes them, and this is its folder too."""
        async with self._lock:
            if host not in self._kept:
                docker = Daemon(host, folder_of(stack))
                self._kept[host] = await self._open.enter_async_context(docker)
            return self._kept[host]

    @asynccontextmanager
    async def look(self, host: str, operation: Operation) -> AsyncIterator[Daemon]:
        """A daemon, for a diff.

        Raises:
            OperationError: whatever goes wrong in the block; or it was away just now.
        """
        since, away = self._away.get(host, (0.0, None))
        if away and time.monotonic() - since < JUST_NOW:
            raise OperationError(str(away)) from away
        try:
            async with self.at(host, operation) as docker:
                yield docker
        except OperationError as error:
            if isinstance(error.__cause__, DockerAwayError):
                self._away[host] = time.monotonic(), error.__cause__
            raise

    async def close(self) -> None:
        """End the connections that were kept."""
        await self._open.aclose()


def without_wait(found: Diff) -> Diff:
    """How long something may take is no change of it."""
    return Diff(differences=tuple(one for one in found.differences if one.top != "wait"))
