"""A socket of ours that leads to a program's stdin and stdout, wherever that program runs."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from components.pipeline import process
from components.pipeline.errors import ProcessError
from components.pipeline.process import Argv

_CHUNK: Final = 1 << 20


@contextlib.asynccontextmanager
async def bridge(argv: Argv) -> AsyncIterator[Path]:
    """Give a socket for the time of a block; each connection to it starts `argv` once."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_serve(argv, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    # Private (0700): whoever could open the socket would have the program's rights.
    with tempfile.TemporaryDirectory(prefix="flakeup-bridge-") as folder:
        socket = Path(folder) / "socket"
        server = await asyncio.start_unix_server(accept, socket, limit=_CHUNK)
        try:
            yield socket
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)


async def _serve(argv: Argv, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection: to its end, whichever side ends it."""
    try:
        # A program that cannot be started hangs up: whoever has connected says what that means.
        with contextlib.suppress(OSError, ProcessError):
            async with process.piped(argv) as program:
                await _joined((reader, program.writer), (program.reader, writer))
    finally:
        writer.close()


async def _joined(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    pumps = {asyncio.ensure_future(_pump(*way)) for way in ways}
    try:
        # Whoever is done hangs up, and the program ends with that.
        await asyncio.wait(pumps)
    finally:
        for pump in pumps:
            pump.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()
