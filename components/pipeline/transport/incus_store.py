"""The Nix store of an instance, as a store for this machine's nix.

Nix talks to a daemon over a socket; the other end of this one is `nix-daemon --stdio` in the
instance. So a copy asks which paths the instance has and sends the others in one stream, as over
ssh, and nothing in the instance has to listen.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from ..process.run import Argv
from ..process.socket_bridge import bridge

DAEMON: Final = ("nix-daemon", "--stdio")


@contextlib.asynccontextmanager
async def store(exec_argv: Callable[..., Argv]) -> AsyncIterator[str]:
    """The store's URL inside the block; `exec_argv` makes the argv that runs a command there."""
    async with bridge(exec_argv(*DAEMON)) as socket:
        yield f"unix://{socket}"
