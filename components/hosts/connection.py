"""How a host is reached: its config says so, or its instance does, once it is up."""

from collections.abc import Callable
from typing import Final

import pulumi

from ..pipeline.config.stack import Endpoint, HostSpec
from ..pipeline.transport import ssh
from ..pipeline.transport.ssh import Ssh, SshFiles, Transport
from ..pipeline.values import HostAddress, HostKey

Told = tuple[str, str]
"""The address and the host key of an instance."""
NOWHERE: Final = ":"
"""Stands in texts of resources that are not begun: their instance could not be made."""


class Reach:
    """The way to one host, for inputs of resources and for hooks.

    `told` is what an instance says of itself; nothing where it could not be made.
    """

    def __init__(
        self,
        host: HostSpec,
        identity: SshFiles,
        told: pulumi.Output[Told | None] | None = None,
    ) -> None:
        self.host = host
        self._identity = identity
        self._told = told

    @property
    def address(self) -> pulumi.Input[str]:
        """Where its sshd listens."""
        return self._of_ssh(lambda ssh: ssh.endpoint.address.text)

    @property
    def host_key(self) -> pulumi.Input[str]:
        """The key that it has to show."""
        return self._of_ssh(lambda ssh: ssh.endpoint.host_key.line)

    @property
    def nix_sshopts(self) -> str:
        """NIX_SSHOPTS, which holds no address."""
        return ssh.nix_sshopts(self.host, self._identity)

    def text(self, make: Callable[[Transport], str]) -> pulumi.Input[str]:
        """An input that is made from the way there; not known before the instance is."""
        return self._of_ssh(make)

    def _of_ssh(self, make: Callable[[Ssh], str]) -> pulumi.Input[str]:
        if self._told is None:
            return make(self._known)
        return self._told.apply(lambda told: make(self._to(*told)) if told else NOWHERE)

    async def way(self) -> Transport:
        """The way there, in a hook: by then an instance is up.

        Raises:
            InvalidValue: an address or key that is none.
        """
        if self._told is None:
            return self._known
        address, key = await self._told.future() or ("", "")
        return ssh.pin(self._identity, self.host, self._to(address, key).endpoint)

    @property
    def _known(self) -> Ssh:
        return Ssh.of(self.host, self._identity)

    def _to(self, address: str, key: str) -> Ssh:
        endpoint = Endpoint(address=HostAddress.parse(address), host_key=HostKey.parse(key))
        return Ssh(host=self.host, endpoint=endpoint, identity=self._identity)
