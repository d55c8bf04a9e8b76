"""The nix store of an instance that only Incus can reach, as a store of this machine's nix.

Nix speaks its own protocol with a daemon over a socket: here there is one whose other end is
`nix-daemon --stdio` in the instance. So a copy asks which paths are there, and sends the others as
one stream, as it does over ssh; nothing in the instance has to listen.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from components.pipeline import process
from components.pipeline.process import Argv

DAEMON: Final = ("nix-daemon", "--stdio")
_CHUNK: Final = 1 << 20


@contextlib.asynccontextmanager
async def store(inside: Callable[..., Argv]) -> AsyncIterator[str]:
    """Give a store's URL for the time of a block; `inside` makes the argv of a command in there."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_serve(inside(*DAEMON), reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    with tempfile.TemporaryDirectory(prefix="flakeup-store-") as folder:
        socket = Path(folder) / "socket"
        server = await asyncio.start_unix_server(accept, socket, limit=_CHUNK)
        try:
            yield f"unix://{socket}"
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)


async def _serve(argv: Argv, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection of nix: to its end, whichever side ends it."""
    with contextlib.suppress(OSError):
        async with process.piped(argv) as daemon:
            ways = {
                asyncio.ensure_future(_pump(reader, daemon.writer)),
                asyncio.ensure_future(_pump(daemon.reader, writer)),
            }
            try:
                # When nix is done it hangs up, and the daemon ends with it.
                await asyncio.wait(ways)
            finally:
                for way in ways:
                    way.cancel()
    writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()
