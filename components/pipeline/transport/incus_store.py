"""The nix store of an instance that only Incus can reach, as a store of this machine's nix.

Nix speaks its own protocol with a daemon over a socket: here there is one whose other end is
`nix-daemon --stdio` in the instance. So a copy asks which paths are there, and sends the others as
one stream, as it does over ssh; nothing in the instance has to listen.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from ..process.run import Argv
from ..process.socket_bridge import bridge

DAEMON: Final = ("nix-daemon", "--stdio")


@contextlib.asynccontextmanager
async def store(inside: Callable[..., Argv]) -> AsyncIterator[str]:
    """Give a store's URL for the time of a block; `inside` makes the argv of a command in there."""
    async with bridge(inside(*DAEMON)) as socket:
        yield f"unix://{socket}"
