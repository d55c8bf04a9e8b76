"""The base of the resource types: their connection to the daemon."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from standins.bridged import BridgedResource
from standins.docker.daemon import DaemonError

if TYPE_CHECKING:
    from providers.sdk.inputs import Inputs
    from providers.sdk.resource import Operation, PriorState
    from providers.sdk.values import Properties

    from standins.docker.connection import Connection
    from standins.docker.daemon import Daemon


class DockerResource(BridgedResource):
    """A resource type whose resources are objects of a Docker daemon."""

    def __init__(self, connection: Connection) -> None:
        """`connection` may be configured later."""
        self._connection = connection

    async def daemon(self, operation: Operation) -> Daemon:
        """The daemon, after it has answered a ping."""
        return await operation.cancellation.race(self._connection.daemon())

    async def inspect(self, path: str, operation: Operation) -> Any | None:
        """The daemon's description of an object; None if there is none.

        Raises:
            DaemonError: it answered with another error.
        """
        daemon = await self.daemon(operation)
        try:
            return await operation.cancellation.race(daemon.get(path))
        except DaemonError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def update(self, inputs: Inputs, prior: PriorState, operation: Operation) -> Properties:
        """Do nothing: unless overridden, no input can be changed in place."""
        del operation
        return self.unchanged_outputs(inputs, prior)
