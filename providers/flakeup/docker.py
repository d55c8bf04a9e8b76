"""What the Docker resources share: connections to daemons, and what counts as a change."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from components.pipeline.errors import DockerUnavailableError
from components.pipeline.targets.docker.daemon import Daemon
from components.pipeline.transport.ssh_files import folder_of
from components.pipeline.values import Owner

from ..sdk.diff import Diff
from ..sdk.errors import OperationError
from .servers import operation_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..sdk.resource import Operation

RECENTLY: Final = 10.0
"""Seconds for which diffs do not ask a daemon again that was unavailable."""
LEFTOVER: Final = "left by an interrupted `up`; the next one removes it"


class Daemons:
    """Connections to the Docker daemons of this process.

    A preview makes one request for each resource: over ssh, where a new connection takes a quarter
    of a second, they share one. And an unavailable daemon is waited for once, not by each.
    """

    def __init__(self) -> None:
        self._over_ssh: dict[str, Daemon] = {}
        self._stack = AsyncExitStack()
        self._lock = asyncio.Lock()
        self._unavailable: dict[str, tuple[float, DockerUnavailableError]] = {}

    @asynccontextmanager
    async def at(self, host: str, operation: Operation) -> AsyncIterator[Daemon]:
        """Connect to a daemon for one operation.

        Raises:
            OperationError: whatever goes wrong in the block.
        """
        with operation_errors():
            if host.startswith("ssh://"):
                yield await self._shared(host, Owner.of_urn(operation.urn).stack)
            else:
                async with Daemon(host) as docker:
                    yield docker

    async def _shared(self, host: str, stack: str) -> Daemon:
        """Return the connection over ssh, whose files the program wrote into this folder."""
        async with self._lock:
            if host not in self._over_ssh:
                docker = Daemon(host, folder_of(stack))
                self._over_ssh[host] = await self._stack.enter_async_context(docker)
            return self._over_ssh[host]

    @asynccontextmanager
    async def for_diff(self, host: str, operation: Operation) -> AsyncIterator[Daemon]:
        """Connect to a daemon for a diff.

        Raises:
            OperationError: whatever goes wrong in the block; or it was unavailable recently.
        """
        since, reason = self._unavailable.get(host, (0.0, None))
        if reason and time.monotonic() - since < RECENTLY:
            raise OperationError(str(reason)) from reason
        try:
            async with self.at(host, operation) as docker:
                yield docker
        except OperationError as error:
            if isinstance(error.__cause__, DockerUnavailableError):
                self._unavailable[host] = time.monotonic(), error.__cause__
            raise

    async def close(self) -> None:
        """Close the shared connections."""
        await self._stack.aclose()


def without_wait(found: Diff) -> Diff:
    """Ignore `wait`: how long something may take changes nothing."""
    return Diff(differences=tuple(one for one in found.differences if one.top != "wait"))
