"""The daemon that the provider's configuration names, shared by all resources."""

from __future__ import annotations

import os
from typing import Final

from providers.sdk.errors import OperationError
from providers.sdk.inputs import Inputs

from standins.docker.daemon import Credential, Daemon
from standins.docker.transport import Address, Transport

_HOST: Final = "unix:///var/run/docker.sock"
_NO_DAEMON: Final = (
    "docker native provider returned an unexpected error from Configure: "
    "failed to connect to any docker daemon"
)


class Connection:
    """The configured daemon, connected to when the first resource needs it."""

    def __init__(self) -> None:
        self._settings = Inputs({})
        self._daemon: Daemon | None = None

    async def configure(self, settings: Inputs) -> None:
        """Set the provider's configuration, and ask the daemon, unless it is one over ssh.

        The released plugin keeps nothing of that: the first resource asks again.

        Raises:
            OperationError: it does not answer, in a preview too.
        """
        self._settings = settings
        daemon = _daemon(settings)
        if daemon.address.startswith("ssh://"):
            return
        try:
            await daemon.version()
        except OperationError as error:
            raise OperationError(_NO_DAEMON) from error
        finally:
            await daemon.transport.close()

    async def daemon(self) -> Daemon:
        """The daemon, after it has answered a ping.

        Raises:
            OperationError: it cannot be reached, or the configuration does not name one.
        """
        if self._daemon is None:
            self._daemon = _daemon(self._settings)
        await self._daemon.version()
        return self._daemon

    async def close(self) -> None:
        """Close all connections."""
        if self._daemon is not None:
            await self._daemon.transport.close()


def _daemon(settings: Inputs) -> Daemon:
    host = settings.string("host") or os.environ.get("DOCKER_HOST") or _HOST
    options = settings.strings("sshOpts") or tuple(os.environ.get("DOCKER_SSH_OPTS", "").split())
    credentials = dict(_credential(each) for each in settings.objects("registryAuth"))
    transport = Transport(Address.parse(host, options))
    return Daemon(address=host, transport=transport, credentials=credentials)


def _credential(settings: Inputs) -> tuple[str, Credential]:
    address = settings.string("address", "")
    host = address.removeprefix("https://").removeprefix("http://").partition("/")[0]
    username, password = settings.string("username"), settings.string("password")
    if not username or password is None:
        msg = f"registryAuth: {host}: this stand-in takes a username and a password only"
        raise OperationError(msg)
    return host, Credential(username=username, password=password)
