"""What all resource types share: the connection to the daemon, and how its objects are read."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from standins.bridged import Bridged
from standins.docker.daemon import DaemonError

if TYPE_CHECKING:
    from providers.sdk.inputs import Inputs
    from providers.sdk.resource import Operation, Stored
    from providers.sdk.values import Properties

    from standins.docker.connection import Connection
    from standins.docker.daemon import Daemon


class OfDaemon(Bridged):
    """A resource type whose resources are objects of a Docker daemon."""

    def __init__(self, connection: Connection) -> None:
        """`connection` may be configured later."""
        self._connection = connection

    async def daemon(self, operation: Operation) -> Daemon:
        """The daemon, after it has answered a ping."""
        return await operation.scope.race(self._connection.daemon())

    async def told(self, path: str, operation: Operation) -> Any | None:
        """What the daemon tells of a resource; None where it has none.

        Raises:
            DaemonError: it says something else.
        """
        daemon = await self.daemon(operation)
        try:
            return await operation.scope.race(daemon.get(path))
        except DaemonError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def update(self, inputs: Inputs, stored: Stored, operation: Operation) -> Properties:
        """Nothing to do, where a resource has no input that can be changed."""
        del operation
        return self.kept(inputs, stored)
