"""Removal of what may still be in use for a moment."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from providers.sdk.errors import OperationError

from standins.docker.daemon import DaemonError

if TYPE_CHECKING:
    from providers.sdk.resource import Operation

    from standins.docker.daemon import Daemon, Query

_LONGEST: Final = 30
"""Seconds for those who use it to let go."""
_AGAIN: Final = 1.0


async def removed(
    daemon: Daemon, path: str, busy: str, operation: Operation, query: Query | None = None
) -> None:
    """Remove it, waiting while the daemon says `busy`; that it is gone already is well.

    Raises:
        OperationError: it is still in use, or the daemon refuses for another reason.
    """
    deadline = asyncio.get_running_loop().time() + _LONGEST
    while True:
        try:
            await operation.scope.race(daemon.call("DELETE", path, query))
        except DaemonError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return
            if busy not in str(error):
                raise
            if asyncio.get_running_loop().time() > deadline:
                msg = f"timeout while waiting for state to become 'removed' ({error})"
                raise OperationError(msg) from error
        else:
            return
        await operation.scope.sleep(_AGAIN)
