"""The plugin: its resources, and the daemon that they are on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from providers.sdk.errors import OperationError
from providers.sdk.plugin import Plugin

from standins.docker import VERSION
from standins.docker.connection import Connection
from standins.docker.container import Container
from standins.docker.network import Network
from standins.docker.supported import refused
from standins.docker.tables import SETTINGS
from standins.docker.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.fields import Shape
    from providers.sdk.inputs import Inputs
    from providers.sdk.resource import Resource


class DockerPlugin(Plugin):
    """The stand-in for pulumi-docker."""

    name = "docker"
    version = VERSION
    settings: ClassVar[Shape] = SETTINGS

    def __init__(self) -> None:
        connection = Connection()
        self.resources: Sequence[Resource[Any]] = (
            Container(connection), Network(connection), Volume(connection),
        )  # fmt: skip
        self._connection = connection

    async def configure(self, settings: Inputs) -> None:
        """Keep the settings; no connection is opened before a resource needs the daemon."""
        given = {name: settings.value(name) for name in SETTINGS.fields}
        for failure in refused(SETTINGS, given):
            raise OperationError(failure.reason)
        self._connection.configure(settings)

    async def close(self) -> None:
        """Close the connections to the daemon."""
        await self._connection.close()

    def not_offered(self, what: str, token: str) -> str:
        """The release has more of them."""
        known = ", ".join(resource.shape.token for resource in self.resources)
        return (
            f"{what} {token!r} is not in this stand-in for pulumi-docker: it has {known}; "
            "install the released plugin for the others"
        )
