"""The only place that starts processes: nix, git and ssh; always an argv, always bounded."""

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import signal
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from components.pipeline.errors import OverlongError, ProcessError, printable

log = logging.getLogger("flakeup")

Argv = tuple[str, ...]
T = TypeVar("T")

OUTPUT_LIMIT = 64 * 1024 * 1024
"""Bytes of stdout or stderr past which a process is ended: nothing we start prints more."""
LINE_LIMIT = 64 * 1024
"""Bytes of one line of a followed process: what a host sends is hostile input."""
TERM_GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL."""
HELD = 5.0
"""Seconds that what a process has left behind may hold its pipes open."""
_LOOK = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A process that has ended: its exit code and all that it printed."""

    argv: Argv
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Stdout as text, without the newline at its end."""
        return self.stdout.decode(errors="replace").rstrip("\n")

    @property
    def complaint(self) -> str:
        """Stderr as text, stripped."""
        return self.stderr.decode(errors="replace").strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """The stdout and the stdin of a process that runs."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    failure: Callable[[], Awaitable[ProcessError | None]]
    """Once its stdout has ended: why, where that was a failure."""


async def run(
    argv: Argv,
    *,
    timeout: float,  # noqa: ASYNC109 bounds the process, not the task
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> Finished:
    """Run `argv` to its end, or end it after `timeout` seconds.

    `env` is added to the environment. With `check`, an exit code other than 0 raises.

    Raises:
        ProcessError: not found, timed out, printed too much, or (with `check`) failed.
    """
    process = await _start(argv, env)
    try:
        async with asyncio.timeout(timeout):
            stdout, stderr = await _communicate(process, argv, stdin)
    except TimeoutError:
        raise _failed(argv, None, f"no end after {timeout:g} s") from None
    finally:
        await _end(process)
    code = process.returncode if process.returncode is not None else -signal.SIGKILL
    finished = Finished(argv=argv, code=code, stdout=stdout, stderr=stderr)
    if check and code != 0:
        raise _failed(argv, code, finished.complaint)
    return finished


async def write(
    argv: Argv,
    target: Path,
    *,
    timeout: float,  # noqa: ASYNC109 bounds the process, not the task
) -> None:
    """Run `argv` to its end with its stdout in the file `target`, however much that is.

    Raises:
        ProcessError: as `run`; what is in the file is then of no use.
    """
    with target.open("wb") as file:
        process = await _start(argv, None, stdout=file.fileno())
        try:
            async with asyncio.timeout(timeout):
                stderr = process.stderr or asyncio.StreamReader()
                complaint = await _unless_held(process, _read(stderr, argv))
                code = await process.wait()
        except TimeoutError:
            raise _failed(argv, None, f"no end after {timeout:g} s") from None
        finally:
            await _end(process)
    if code != 0:
        raise _failed(argv, code, complaint.decode(errors="replace").strip())


@contextlib.asynccontextmanager
async def piped(argv: Argv) -> AsyncIterator[Pipe]:
    """Give both ends of a process that is talked to; leaving the block ends it.

    Raises:
        ProcessError: it cannot be started.
    """
    process = await _start(argv, None)
    complaint = asyncio.create_task(_read(_streams(process)[1], argv))
    try:
        if process.stdin is None or process.stdout is None:
            msg = "started without pipes"
            raise RuntimeError(msg)
        yield Pipe(
            reader=process.stdout,
            writer=process.stdin,
            failure=lambda: _failure(process, argv, complaint),
        )
    finally:
        complaint.cancel()
        await asyncio.wait([complaint])
        await _end(process)


async def _failure(
    process: asyncio.subprocess.Process, argv: Argv, complaint: asyncio.Task[bytes]
) -> ProcessError | None:
    with contextlib.suppress(TimeoutError, ProcessError):
        async with asyncio.timeout(TERM_GRACE):
            said = (await asyncio.shield(complaint)).decode(errors="replace").strip()
            code = await process.wait()
            return _failed(argv, code, said) if code else None
    return None


async def all_of(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all of `works`; the first that fails ends the others, and is raised alone."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run `work` beside the block, which awaits it; where the block fails, it is ended."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


@contextlib.asynccontextmanager
async def lines(
    argv: Argv,
    *,
    timeout: float,  # noqa: ASYNC109 bounds the process, not the task
    stdin: bytes = b"",
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Give the stdout of `argv` line by line; leaving the block ends the process.

    The iteration stops when the process has ended, whatever its exit code; a process that
    fails, a line over LINE_LIMIT and the time-out raise.

    Raises:
        OverlongError: a line over LINE_LIMIT.
        ProcessError: as `run`; a failure carries what the process wrote to stderr.
    """
    process = await _start(argv, None, limit=LINE_LIMIT)
    iteration = _iterate(process, argv, stdin, timeout)
    try:
        yield iteration
    finally:
        await iteration.aclose()
        await _end(process)


async def _iterate(
    process: asyncio.subprocess.Process,
    argv: Argv,
    stdin: bytes,
    timeout: float,  # noqa: ASYNC109 bounds the process, not the task
) -> AsyncGenerator[bytes, None]:
    stdout, stderr = _streams(process)
    complaint = asyncio.create_task(_read(stderr, argv))
    feeding = asyncio.create_task(_feed(process, stdin))
    deadline = asyncio.get_running_loop().time() + timeout
    try:
        # Bounded line by line: a timer that runs across a `yield` would cancel its consumer.
        while True:
            async with asyncio.timeout_at(deadline):
                line = await _line(stdout, argv)
            if not line:
                break
            yield line
        async with asyncio.timeout_at(deadline):
            await feeding
            if code := await process.wait():
                text = (await complaint).decode(errors="replace").strip()
                raise _failed(argv, code, text)
    except TimeoutError:
        raise _failed(argv, None, f"no end after {timeout:g} s") from None
    finally:
        feeding.cancel()
        complaint.cancel()
        await asyncio.wait((feeding, complaint))


async def _line(stream: asyncio.StreamReader, argv: Argv) -> bytes:
    try:
        return await stream.readline()
    except ValueError:
        detail = f"a line of more than {LINE_LIMIT} bytes"
        raise OverlongError(argv=argv, code=None, detail=detail) from None


async def _start(
    argv: Argv,
    env: Mapping[str, str] | None,
    limit: int = LINE_LIMIT,
    stdout: int = asyncio.subprocess.PIPE,
) -> asyncio.subprocess.Process:
    log.debug("run %s", shlex.join(argv))
    # A session of its own: Ctrl-C in the terminal is the engine's affair (hosts under way
    # finish), and the whole group can be ended when time is up.
    creation = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(env),
            start_new_session=True,
            limit=limit,
        )
    )
    try:
        # Shielded: cancelled between fork and pipes, asyncio (3.11) waits for ever.
        return await asyncio.shield(creation)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await _end(await creation)
        raise
    except OSError as error:
        # A folder on PATH that we may not read makes "not found" look like "not allowed".
        found = isinstance(error, PermissionError) and ("/" in argv[0] or shutil.which(argv[0]))
        why = "may not be executed" if found else "is not installed, or not on PATH"
        raise _failed(argv, None, f"{argv[0]} {why}") from error


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    """Ours, without the stack's config, secrets in clear, that Pulumi's host hands us in it."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PULUMI_CONFIG")}
    return {**kept, **(more or {})}


async def _communicate(
    process: asyncio.subprocess.Process, argv: Argv, stdin: bytes
) -> tuple[bytes, bytes]:
    stdout, stderr = _streams(process)

    async def feed() -> bytes:
        await _feed(process, stdin)
        return b""

    work = all_of((_read(stdout, argv), _read(stderr, argv), feed()))
    printed, complaint, _ = await _unless_held(process, work)
    await process.wait()
    return printed, complaint


async def _unless_held(process: asyncio.subprocess.Process, reading: Coroutine[Any, Any, T]) -> T:
    """Read to the end of the pipes; a process that was killed does not end what it has started.

    The ssh under a nix that is gone waits for a host that may never answer again.
    """
    async with beside(reading) as task:
        while not task.done():
            has_ended = process.returncode is not None
            await asyncio.wait({task}, timeout=HELD if has_ended else _LOOK)
            if has_ended and not task.done():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                break
        return await task


def _streams(
    process: asyncio.subprocess.Process,
) -> tuple[asyncio.StreamReader, asyncio.StreamReader]:
    if process.stdout is None or process.stderr is None:
        msg = "started without pipes"
        raise RuntimeError(msg)
    return process.stdout, process.stderr


async def _read(stream: asyncio.StreamReader, argv: Argv) -> bytes:
    chunks, size = [], 0
    while chunk := await stream.read(1 << 16):
        size += len(chunk)
        if size > OUTPUT_LIMIT:
            raise _failed(argv, None, f"more than {OUTPUT_LIMIT} bytes of output")
        chunks.append(chunk)
    return b"".join(chunks)


async def _feed(process: asyncio.subprocess.Process, stdin: bytes) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave nothing behind, also where whoever asks for it is cancelled meanwhile."""
    ending = asyncio.ensure_future(_ended(process))
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await ending
        raise


async def _ended(process: asyncio.subprocess.Process) -> None:
    """TERM to the group, and KILL to what does not listen.

    A process that has ended by itself may have left others behind, which hold its pipes open.
    """
    streams = [stream for stream in (process.stdout, process.stderr) if stream]
    if process.returncode is not None and all(stream.at_eof() for stream in streams):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERM_GRACE):
                # A pipe with something in it is never closed, and asyncio (3.11) waits for that.
                await asyncio.gather(process.wait(), *map(_drain, streams))


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(1 << 16):
        pass


def _failed(argv: Argv, code: int | None, detail: str) -> ProcessError:
    # ssh ends its lines as a terminal in raw mode wants them.
    text = detail.replace("\r\n", "\n")
    return ProcessError(argv=argv, code=code, detail=printable(text, 4000, lines=True))
