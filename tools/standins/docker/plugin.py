"""The plugin: its resources, and the daemon that they are on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Final

from providers.sdk.errors import OperationError
from providers.sdk.inputs import Inputs
from providers.sdk.plugin import Plugin

from standins.docker import VERSION
from standins.docker.container import Container
from standins.docker.daemon import Credential, Daemon
from standins.docker.network import Network
from standins.docker.offered import refused
from standins.docker.roads import road
from standins.docker.secret import Secret
from standins.docker.service import Service
from standins.docker.tables import SETTINGS
from standins.docker.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.fields import Shape
    from providers.sdk.resource import Resource

_HOST: Final = "unix:///var/run/docker.sock"


class DockerPlugin(Plugin):
    """The stand-in for pulumi-docker."""

    name = "docker"
    version = VERSION
    settings: ClassVar[Shape] = SETTINGS

    def __init__(self) -> None:
        self.resources: Sequence[Resource[Any]] = (
            Container(self), Network(self), Secret(self), Service(self), Volume(self),
        )  # fmt: skip
        self._settings = Inputs({})
        self._daemon: Daemon | None = None

    async def configure(self, settings: Inputs) -> None:
        """Note the settings; nobody is connected to before a resource is to be made or seen."""
        given = {name: settings.value(name) for name in SETTINGS.fields}
        for failure in refused(SETTINGS, given):
            raise OperationError(failure.reason)
        self._settings = settings

    async def daemon(self) -> Daemon:
        """The daemon, which has answered once."""
        if self._daemon is None:
            self._daemon = _daemon(self._settings)
        await self._daemon.version()
        return self._daemon

    def not_offered(self, what: str, token: str) -> str:
        """The release has more of them."""
        known = ", ".join(resource.shape.token for resource in self.resources)
        return (
            f"{what} {token!r} is not in this stand-in for pulumi-docker: it has {known}; "
            "install the released plugin for the others"
        )


def _daemon(settings: Inputs) -> Daemon:
    address = settings.text("host") or os.environ.get("DOCKER_HOST") or _HOST
    options = settings.texts("sshOpts") or tuple(os.environ.get("DOCKER_SSH_OPTS", "").split())
    credentials = dict(_credential(each) for each in settings.each("registryAuth"))
    return Daemon(address=address, road=road(address, options), credentials=credentials)


def _credential(given: Inputs) -> tuple[str, Credential]:
    address = given.text("address", "")
    host = address.removeprefix("https://").removeprefix("http://").partition("/")[0]
    user, password = given.text("username"), given.text("password")
    if not user or password is None:
        msg = f"registryAuth: {host}: this stand-in takes a username and a password only"
        raise OperationError(msg)
    return host, Credential(username=user, password=password)
