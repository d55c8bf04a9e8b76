"""The only module that starts processes: always from argv, always with a timeout."""

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import OverdueError, OverlongError, ProcessError, printable
from . import bounded, programs
from .concurrency import all_of, background

log = logging.getLogger("flakeup")

Argv = tuple[str, ...]
T = TypeVar("T")

OUTPUT_LIMIT = 64 * 1024 * 1024
"""Bytes of stdout beyond which a process is terminated, unless its caller expects less."""
STDERR_LIMIT = bounded.FILE_LIMIT
"""Bytes of stderr that are kept: the last ones, since errors come last."""
LINE_LIMIT = bounded.REPLY_LIMIT
"""Bytes of one line of a followed process: the output of a host is hostile input."""
TERM_GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL."""
ORPHAN_GRACE = 5.0
"""Seconds that children of a process that has exited may keep its pipes open."""
_POLL = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedProcess:
    """A process that has exited: its exit code and its whole output."""

    argv: Argv
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Stdout as text, without trailing newlines."""
        return self.stdout.decode(errors="replace").rstrip("\n")

    @property
    def stderr_text(self) -> str:
        """Stderr as text, stripped."""
        return self.stderr.decode(errors="replace").strip()


async def run(  # noqa: PLR0913 its bounds are its own
    argv: Argv,
    *,
    timeout: float,  # noqa: ASYNC109 bounds the process, not the task
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    check: bool = True,
    limit: int = OUTPUT_LIMIT,
) -> CompletedProcess:
    """Run `argv`, and terminate it after `timeout` seconds or `limit` bytes of stdout.

    `env` is added to the environment. With `check`, an exit code other than 0 raises.

    Raises:
        OverlongError: more output than `limit`.
        ProcessError: not found, timed out, or (with `check`) failed.
    """
    process = await start(argv, env)
    try:
        async with asyncio.timeout(timeout):
            stdout, stderr = await _communicate(process, argv, stdin, limit)
    except TimeoutError:
        raise _overdue(argv, timeout) from None
    finally:
        await terminate(process)
    code = process.returncode if process.returncode is not None else -signal.SIGKILL
    finished = CompletedProcess(argv=argv, code=code, stdout=stdout, stderr=stderr)
    if check and code != 0:
        raise process_error(argv, code, finished.stderr_text)
    return finished


async def write(
    argv: Argv,
    target: Path,
    *,
    timeout: float,  # noqa: ASYNC109 bounds the process, not the task
) -> None:
    """Run `argv` with its stdout in the file `target`, whatever its size.

    Raises:
        ProcessError: as `run`; the file is then incomplete.
    """
    with target.open("wb") as file:
        process = await start(argv, stdout=file.fileno())
        try:
            async with asyncio.timeout(timeout):
                stderr = process.stderr or asyncio.StreamReader()
                stderr_text = await _read_until_exit(process, read_stderr(stderr))
                code = await process.wait()
        except TimeoutError:
            raise _overdue(argv, timeout) from None
        finally:
            await terminate(process)
    if code != 0:
        raise process_error(argv, code, stderr_text.decode(errors="replace").strip())


async def start(
    argv: Argv,
    env: Mapping[str, str] | None = None,
    *,
    limit: int = LINE_LIMIT,
    stdout: int = asyncio.subprocess.PIPE,
) -> asyncio.subprocess.Process:
    """Start `argv` with pipes; the caller has to `terminate` it.

    `limit` is the maximum number of bytes of one line of its output (`readline`).

    Raises:
        ProcessError: it cannot be started.
    """
    log.debug("run %s", shlex.join(argv))
    # Its own session: the engine handles Ctrl-C (hosts in progress finish), and the whole group
    # can be terminated after a timeout.
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
        # Shielded: if cancelled between fork and pipes, asyncio (3.11) waits forever.
        return await asyncio.shield(creation)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await terminate(await creation)
        raise
    except OSError as error:
        raise _start_error(argv, error) from error


def start_detached(argv: Argv) -> None:
    """Start a process that outlives this one, with no input and no output.

    Raises:
        ProcessError: it cannot be started.
    """
    log.debug("run %s", shlex.join(argv))
    try:
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_environment(None),
            start_new_session=True,
        )
    except OSError as error:
        raise _start_error(argv, error) from error


def _start_error(argv: Argv, error: OSError) -> ProcessError:
    # An unreadable folder on PATH makes "not found" look like "permission denied".
    program = argv[0]
    if isinstance(error, PermissionError) and ("/" in program or shutil.which(program)):
        detail, remedy = f"{program} is not executable", f"let this user run {program}"
        return ProcessError(argv=argv, code=None, detail=printable(detail, 4000), remedy=remedy)
    return _missing_error(argv, program)


def _missing_error(argv: Argv, program: str) -> ProcessError:
    detail = printable(f"{program} {programs.MISSING}", 4000)
    return ProcessError(argv=argv, code=None, detail=detail, remedy=programs.install(program))


def _overdue(argv: Argv, seconds: float) -> OverdueError:
    return OverdueError(argv=argv, code=None, detail=f"timed out after {seconds:g} s")


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    """Our environment, without the stack's config and plain secrets that Pulumi puts there."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PULUMI_CONFIG")}
    return {**kept, **(more or {})}


async def _communicate(
    process: asyncio.subprocess.Process, argv: Argv, stdin: bytes, limit: int
) -> tuple[bytes, bytes]:
    stdout, stderr = streams(process)

    async def fed() -> bytes:
        await feed(process, stdin)
        return b""

    work = all_of((_read(stdout, argv, limit), read_stderr(stderr), fed()))
    printed, stderr_text, _ = await _read_until_exit(process, work)
    await process.wait()
    return printed, stderr_text


async def _read_until_exit(
    process: asyncio.subprocess.Process, reading: Coroutine[Any, Any, T]
) -> T:
    """Read to the end of the pipes, but not forever once the process has exited.

    The children of a killed process stay: the ssh of a nix may wait for a host that never answers.
    """
    async with background(reading) as task:
        while not task.done():
            has_ended = process.returncode is not None
            await asyncio.wait({task}, timeout=ORPHAN_GRACE if has_ended else _POLL)
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


async def _read(stream: asyncio.StreamReader, argv: Argv, limit: int) -> bytes:
    try:
        return await bounded.whole(_chunks(stream), limit)
    except bounded.OversizeError as error:
        raise OverlongError(argv=argv, code=None, detail=f"{error} of output") from None


async def read_stderr(stream: asyncio.StreamReader) -> bytes:
    """Read a process's stderr to its end; of more than STDERR_LIMIT the last part is kept."""
    return await bounded.end(_chunks(stream), STDERR_LIMIT)


async def _chunks(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while chunk := await stream.read(1 << 16):
        yield chunk


async def feed(process: asyncio.subprocess.Process, stdin: bytes) -> None:
    """Write its stdin and close it; what the process does not read is dropped."""
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


async def terminate(process: asyncio.subprocess.Process) -> None:
    """Terminate the process and its children, even if the caller is cancelled meanwhile."""
    ending = asyncio.ensure_future(_terminate_group(process))
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await ending
        raise


async def _terminate_group(process: asyncio.subprocess.Process) -> None:
    """Send SIGTERM to the group, and SIGKILL after a grace period.

    A process that has exited may have left children that keep its pipes open.
    """
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe]
    if process.returncode is not None and all(pipe.at_eof() for pipe in pipes):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERM_GRACE):
                # asyncio (3.11) waits for pipes to close, and unread ones never do.
                await asyncio.gather(process.wait(), *map(_drain, pipes))


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(1 << 16):
        pass


def process_error(argv: Argv, code: int | None, detail: str) -> ProcessError:
    """The error for a process that exited with `code`, or had to be terminated (None)."""
    # ssh ends its lines with CRLF, for terminals in raw mode.
    text = detail.replace("\r\n", "\n")
    if argv[0] in programs.STARTING and (missing := programs.missing_in(text)):
        return _missing_error(argv, missing)
    return ProcessError(argv=argv, code=code, detail=printable(text, 4000, lines=True))
