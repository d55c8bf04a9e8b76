"""A socket of ours that leads to a program's stdin and stdout, wherever that program runs."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from ..errors import ProcessError
from . import stream
from .run import Argv
from .stream import Pipe

_CHUNK: Final = 1 << 20

Told = Callable[[ProcessError], None]
"""Who is told why a program has failed, before its connection ends."""


@contextlib.asynccontextmanager
async def bridge(argv: Argv, told: Told = lambda _: None) -> AsyncIterator[Path]:
    """Give a socket for the time of a block; each connection to it starts `argv` once."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_serve(argv, reader, writer, told))
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


async def _serve(
    argv: Argv, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, told: Told
) -> None:
    """One connection: to its end, whichever side ends it."""
    try:
        # A program that cannot be started hangs up: whoever has connected says what that means.
        with contextlib.suppress(OSError):
            async with stream.piped(argv) as program:
                await _joined(_pump(reader, program.writer), _answer(program, writer, told))
    except ProcessError as error:
        told(error)
    finally:
        writer.close()


async def _joined(*works: Coroutine[Any, Any, None]) -> None:
    pumps = {asyncio.ensure_future(work) for work in works}
    try:
        # Whoever is done hangs up, and the program ends with that.
        await asyncio.wait(pumps)
    finally:
        for pump in pumps:
            pump.cancel()


async def _answer(program: Pipe, writer: asyncio.StreamWriter, told: Told) -> None:
    await _copy(program.reader, writer)
    if error := await program.failure():
        told(error)
    _hang_up(writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _copy(reader, writer)
    _hang_up(writer)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()


def _hang_up(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()
