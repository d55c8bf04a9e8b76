"""The only place that starts processes: nix, git and ssh; always an argv, always bounded."""

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import signal
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ProcessError, printable
from .concurrency import all_of, background

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
class CompletedProcess:
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
    def stderr_text(self) -> str:
        """Stderr as text, stripped."""
        return self.stderr.decode(errors="replace").strip()


async def run(
    argv: Argv,
    *,
    timeout: float,  # noqa: ASYNC109 bounds the process, not the task
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> CompletedProcess:
    """Run `argv` to its end, or end it after `timeout` seconds.

    `env` is added to the environment. With `check`, an exit code other than 0 raises.

    Raises:
        ProcessError: not found, timed out, printed too much, or (with `check`) failed.
    """
    process = await start(argv, env)
    try:
        async with asyncio.timeout(timeout):
            stdout, stderr = await _communicate(process, argv, stdin)
    except TimeoutError:
        raise failed(argv, None, f"no end after {timeout:g} s") from None
    finally:
        await end(process)
    code = process.returncode if process.returncode is not None else -signal.SIGKILL
    finished = CompletedProcess(argv=argv, code=code, stdout=stdout, stderr=stderr)
    if check and code != 0:
        raise failed(argv, code, finished.stderr_text)
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
        process = await start(argv, stdout=file.fileno())
        try:
            async with asyncio.timeout(timeout):
                stderr = process.stderr or asyncio.StreamReader()
                stderr_text = await _unless_held(process, read(stderr, argv))
                code = await process.wait()
        except TimeoutError:
            raise failed(argv, None, f"no end after {timeout:g} s") from None
        finally:
            await end(process)
    if code != 0:
        raise failed(argv, code, stderr_text.decode(errors="replace").strip())


async def start(
    argv: Argv,
    env: Mapping[str, str] | None = None,
    *,
    limit: int = LINE_LIMIT,
    stdout: int = asyncio.subprocess.PIPE,
) -> asyncio.subprocess.Process:
    """Start `argv` with pipes, for whoever follows it; `end` has to come after it.

    `limit` is in bytes, of one line of its output (`readline`).

    Raises:
        ProcessError: it cannot be started.
    """
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
            await end(await creation)
        raise
    except OSError as error:
        # A folder on PATH that we may not read makes "not found" look like "not allowed".
        found = isinstance(error, PermissionError) and ("/" in argv[0] or shutil.which(argv[0]))
        why = "may not be executed" if found else "is not installed, or not on PATH"
        raise failed(argv, None, f"{argv[0]} {why}") from error


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    """Ours, without the stack's config, secrets in clear, that Pulumi's host hands us in it."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PULUMI_CONFIG")}
    return {**kept, **(more or {})}


async def _communicate(
    process: asyncio.subprocess.Process, argv: Argv, stdin: bytes
) -> tuple[bytes, bytes]:
    stdout, stderr = streams(process)

    async def fed() -> bytes:
        await feed(process, stdin)
        return b""

    work = all_of((read(stdout, argv), read(stderr, argv), fed()))
    printed, stderr_text, _ = await _unless_held(process, work)
    await process.wait()
    return printed, stderr_text


async def _unless_held(process: asyncio.subprocess.Process, reading: Coroutine[Any, Any, T]) -> T:
    """Read to the end of the pipes; a process that was killed does not end what it has started.

    The ssh under a nix that is gone waits for a host that may never answer again.
    """
    async with background(reading) as task:
        while not task.done():
            has_ended = process.returncode is not None
            await asyncio.wait({task}, timeout=HELD if has_ended else _LOOK)
            if has_ended and not task.done():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                break
        return await task


def streams(
    process: asyncio.subprocess.Process,
) -> tuple[asyncio.StreamReader, asyncio.StreamReader]:
    """Its stdout and stderr."""
    if process.stdout is None or process.stderr is None:
        msg = "started without pipes"
        raise RuntimeError(msg)
    return process.stdout, process.stderr


async def read(stream: asyncio.StreamReader, argv: Argv) -> bytes:
    """All that a stream gives.

    Raises:
        ProcessError: it is more than OUTPUT_LIMIT.
    """
    chunks, size = [], 0
    while chunk := await stream.read(1 << 16):
        size += len(chunk)
        if size > OUTPUT_LIMIT:
            raise failed(argv, None, f"more than {OUTPUT_LIMIT} bytes of output")
        chunks.append(chunk)
    return b"".join(chunks)


async def feed(process: asyncio.subprocess.Process, stdin: bytes) -> None:
    """Write its stdin and close it; what it does not want to read is dropped."""
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


async def end(process: asyncio.subprocess.Process) -> None:
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
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe]
    if process.returncode is not None and all(pipe.at_eof() for pipe in pipes):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERM_GRACE):
                # A pipe with something in it is never closed, and asyncio (3.11) waits for that.
                await asyncio.gather(process.wait(), *map(_drain, pipes))


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(1 << 16):
        pass


def failed(argv: Argv, code: int | None, detail: str) -> ProcessError:
    """The error for a process that ended with `code`, or had to be ended (None)."""
    # ssh ends its lines as a terminal in raw mode wants them.
    text = detail.replace("\r\n", "\n")
    return ProcessError(argv=argv, code=code, detail=printable(text, 4000, lines=True))
