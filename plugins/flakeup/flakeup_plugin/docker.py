"""What the resources of Docker share: a daemon, and what counts as a change."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from plugin_protocol.diff import Diff

from components.pipeline.docker.daemon import Daemon
from flakeup_plugin.servers import told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CUT_OFF: Final = "an `up` that did not come to its end; the next one removes it"


@asynccontextmanager
async def daemon(host: str) -> AsyncIterator[Daemon]:
    """A daemon, for one operation.

    Raises:
        OperationError: whatever goes wrong in the block.
    """
    with told():
        async with Daemon(host) as docker:
            yield docker


def without_wait(found: Diff) -> Diff:
    """How long something may take is no change of it."""
    return Diff(differences=tuple(one for one in found.differences if one.top != "wait"))
