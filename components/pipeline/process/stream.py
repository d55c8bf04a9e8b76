"""Processes used while they run: read line by line, or talked to over both pipes."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from ..errors import OverlongError, ProcessError
from . import run
from .run import Argv


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """The stdout and the stdin of a running process."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    failure: Callable[[], Awaitable[ProcessError | None]]
    """To call at the end of stdout: why the process failed, or None."""


@contextlib.asynccontextmanager
async def lines(
    argv: Argv,
    *,
    timeout: float,  # noqa: ASYNC109 bounds the process, not the task
    stdin: bytes = b"",
) -> AsyncIterator[AsyncIterator[bytes]]:
    """The stdout of `argv` line by line; leaving the block terminates the process.

    Raises:
        OverlongError: a line over LINE_LIMIT.
        ProcessError: as `run`, at the end of the iteration.
    """
    running = await run.start(argv, limit=run.LINE_LIMIT)
    iteration = _iterate(running, argv, stdin, timeout)
    try:
        yield iteration
    finally:
        await iteration.aclose()
        await run.terminate(running)


async def _iterate(
    running: asyncio.subprocess.Process,
    argv: Argv,
    stdin: bytes,
    timeout: float,  # noqa: ASYNC109 bounds the process, not the task
) -> AsyncGenerator[bytes, None]:
    stdout, stderr = run.streams(running)
    stderr_text = asyncio.create_task(run.read_stderr(stderr))
    feeding = asyncio.create_task(run.feed(running, stdin))
    deadline = asyncio.get_running_loop().time() + timeout
    try:
        # A timeout per line: one across a `yield` would cancel the consumer.
        while True:
            async with asyncio.timeout_at(deadline):
                line = await _line(stdout, argv)
            if not line:
                break
            yield line
        async with asyncio.timeout_at(deadline):
            await feeding
            if code := await running.wait():
                text = (await stderr_text).decode(errors="replace").strip()
                raise run.process_error(argv, code, text)
    except TimeoutError:
        raise run.process_error(argv, None, f"timed out after {timeout:g} s") from None
    finally:
        feeding.cancel()
        stderr_text.cancel()
        await asyncio.wait((feeding, stderr_text))


async def _line(stream: asyncio.StreamReader, argv: Argv) -> bytes:
    try:
        return await stream.readline()
    except ValueError:
        detail = f"a line of more than {run.LINE_LIMIT} bytes"
        raise OverlongError(argv=argv, code=None, detail=detail) from None


@contextlib.asynccontextmanager
async def open_pipe(argv: Argv) -> AsyncIterator[Pipe]:
    """Both pipes of a process; leaving the block terminates it.

    Raises:
        ProcessError: it cannot be started.
    """
    running = await run.start(argv)
    stderr_text = asyncio.create_task(run.read_stderr(run.streams(running)[1]))
    try:
        if running.stdin is None or running.stdout is None:
            msg = "started without pipes"
            raise RuntimeError(msg)
        yield Pipe(
            reader=running.stdout,
            writer=running.stdin,
            failure=lambda: _failure(running, argv, stderr_text),
        )
    finally:
        stderr_text.cancel()
        await asyncio.wait([stderr_text])
        await run.terminate(running)


async def _failure(
    running: asyncio.subprocess.Process, argv: Argv, stderr_text: asyncio.Task[bytes]
) -> ProcessError | None:
    with contextlib.suppress(TimeoutError, ProcessError):
        async with asyncio.timeout(run.TERM_GRACE):
            text = (await asyncio.shield(stderr_text)).decode(errors="replace").strip()
            code = await running.wait()
            return run.process_error(argv, code, text) if code else None
    return None
