"""The way to an instance that only Incus can reach: its config says all of it."""

from collections.abc import Callable
from pathlib import PurePosixPath

import pulumi

from ..pipeline.config.stack import HostSpec
from ..pipeline.transport.incus_exec import Exec
from ..pipeline.transport.ssh import SshFiles, Transport


class Inside:
    """As `Reach`, for `transport: exec`: known before the instance is there."""

    def __init__(self, host: HostSpec, identity: SshFiles) -> None:
        self.exec = Exec(host=host, folder=PurePosixPath(identity.known_hosts.parent))

    def text(self, make: Callable[[Transport], str]) -> pulumi.Input[str]:
        """An input that is made from the way there."""
        return make(self.exec)

    async def way(self) -> Transport:
        """The way there, in a hook."""
        return self.exec
