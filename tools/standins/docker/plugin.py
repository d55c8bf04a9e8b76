"""The plugin: its resource types and its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from providers.sdk.errors import OperationError
from providers.sdk.plugin import Plugin

from standins.docker import VERSION
from standins.docker.connection import Connection
from standins.docker.container import Container
from standins.docker.network import Network
from standins.docker.schemas import CONFIG
from standins.docker.supported import unsupported
from standins.docker.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.inputs import Inputs
    from providers.sdk.resource import Resource
    from providers.sdk.schema import Schema


class DockerPlugin(Plugin):
    """The stand-in for pulumi-docker."""

    name = "docker"
    version = VERSION
    config: ClassVar[Schema] = CONFIG

    def __init__(self) -> None:
        connection = Connection()
        self.resources: Sequence[Resource[Any]] = (
            Container(connection), Network(connection), Volume(connection),
        )  # fmt: skip
        self._connection = connection

    async def configure(self, config: Inputs) -> None:
        """Keep the configuration, and ask the daemon, as the released plugin does."""
        for failure in unsupported(CONFIG, {name: config.value(name) for name in CONFIG.fields}):
            raise OperationError(failure.reason)
        await self._connection.configure(config)

    async def close(self) -> None:
        """Close the connections to the daemon."""
        await self._connection.close()

    def unsupported_message(self, what: str, token: str) -> str:
        """The error, which names the released plugin as the remedy."""
        known = ", ".join(resource.schema.token for resource in self.resources)
        return (
            f"{what} {token!r} is not in this stand-in for pulumi-docker: it has {known}; "
            "install the released plugin for the others"
        )
