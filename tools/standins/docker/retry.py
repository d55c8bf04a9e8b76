"""Deletes objects of the daemon that may still be in use for a moment."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from providers.sdk.errors import OperationError

from standins.docker.daemon import DaemonError

if TYPE_CHECKING:
    from providers.sdk.resource import Operation

    from standins.docker.daemon import Daemon, Query

_TIMEOUT: Final = 30
"""Seconds until the users of the object must be gone."""
_INTERVAL: Final = 1.0


async def delete(
    daemon: Daemon, path: str, operation: Operation, *, busy: str, query: Query | None = None
) -> None:
    """Delete an object, retrying while the daemon's error contains `busy`; it may be gone.

    Raises:
        OperationError: it stays in use, or the daemon answered with another error.
    """
    deadline = asyncio.get_running_loop().time() + _TIMEOUT
    while True:
        try:
            await operation.cancellation.race(daemon.call("DELETE", path, query))
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
        await operation.cancellation.sleep(_INTERVAL)
