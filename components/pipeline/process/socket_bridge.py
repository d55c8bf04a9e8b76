"""A local socket that is connected to the stdin and stdout of a program."""

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

OnFailure = Callable[[ProcessError], None]
"""Called with a program's error before its connection ends."""


@contextlib.asynccontextmanager
async def bridge(argv: Argv, on_failure: OnFailure = lambda _: None) -> AsyncIterator[Path]:
    """A socket inside the block; each connection to it starts `argv`."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_serve(argv, reader, writer, on_failure))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    # Private (0700): whoever can open the socket has the program's rights.
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
    argv: Argv, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_failure: OnFailure
) -> None:
    """One connection, until either side ends it."""
    try:
        # A program that cannot be started closes the connection: the client reports that.
        with contextlib.suppress(OSError):
            async with stream.open_pipe(argv) as program:
                await _run_both(_pump(reader, program.writer), _answer(program, writer, on_failure))
    except ProcessError as error:
        on_failure(error)
    finally:
        writer.close()


async def _run_both(*directions: Coroutine[Any, Any, None]) -> None:
    pumps = {asyncio.ensure_future(one) for one in directions}
    try:
        # Each direction closes its end when it is done, and the program exits with that.
        await asyncio.wait(pumps)
    finally:
        for pump in pumps:
            pump.cancel()


async def _answer(program: Pipe, writer: asyncio.StreamWriter, on_failure: OnFailure) -> None:
    await _copy(program.reader, writer)
    if error := await program.failure():
        on_failure(error)
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
