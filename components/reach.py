"""How a host is reached: its config says so, or its instance does, once it is up."""

from collections.abc import Callable

import pulumi

from components.pipeline import transport
from components.pipeline.grammar import HostAddress, HostKey
from components.pipeline.settings import Endpoint, HostSpec
from components.pipeline.transport import Identity, Ssh


class Reach:
    """The way to one host, for inputs of resources and for hooks.

    `told` are the address and the host key of an instance, in this order.
    """

    def __init__(
        self,
        host: HostSpec,
        identity: Identity,
        told: tuple[pulumi.Output[str], pulumi.Output[str]] | None = None,
    ) -> None:
        self.host = host
        self._identity = identity
        self._told = told

    @property
    def address(self) -> pulumi.Input[str]:
        """Where its sshd listens."""
        return self._told[0] if self._told else self._known.endpoint.address.text

    @property
    def host_key(self) -> pulumi.Input[str]:
        """The key that it has to show."""
        return self._told[1] if self._told else self._known.endpoint.host_key.line

    @property
    def nix_sshopts(self) -> str:
        """NIX_SSHOPTS, which holds no address."""
        return transport.nix_sshopts(self.host, self._identity)

    def text(self, make: Callable[[Ssh], str]) -> pulumi.Input[str]:
        """An input that is made from the way there; not known before the instance is."""
        if self._told is None:
            return make(self._known)
        return pulumi.Output.all(*self._told).apply(lambda told: make(self._to(*told)))

    async def ssh(self) -> Ssh:
        """The way there, in a hook: by then an instance is up.

        Raises:
            GrammarError: an address or key that is none.
        """
        if self._told is None:
            return self._known
        address, key = [await output.future() for output in self._told]
        ssh = self._to(str(address), str(key))
        return transport.pin(self._identity, self.host, ssh.endpoint)

    @property
    def _known(self) -> Ssh:
        return Ssh.of(self.host, self._identity)

    def _to(self, address: str, key: str) -> Ssh:
        endpoint = Endpoint(address=HostAddress.parse(address), host_key=HostKey.parse(key))
        return Ssh(host=self.host, endpoint=endpoint, identity=self._identity)
