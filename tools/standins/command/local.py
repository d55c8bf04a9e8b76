"""Runs a command on this machine: `/bin/sh -c`, or another interpreter."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from providers.sdk.errors import OperationError

from standins.command.inputs import Command, Output
from standins.command.texts import failed, quoted, reason, trimmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.journal import Journal
    from providers.sdk.scope import Scope

_SHELL: Final = ("/bin/sh", "-c")
_GRACE: Final = 1.0
"""Seconds for the pipes of a killed shell to end: its children may hold them for ever."""
_CHUNK: Final = 1 << 16


class _Captured:
    """What the process printed, apart and in order of arrival."""

    def __init__(self) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.both = bytearray()


async def run(
    text: str, spec: Command, *, previous: Output, scope: Scope, journal: Journal
) -> Output:
    """Run the text to its end; raises OperationError with all it printed when that is not status 0.

    A stopped scope kills the shell, and only the shell: what it has started goes on.
    """
    argv = (*(spec.interpreter or _SHELL), text)
    captured = _Captured()
    if scope.reason:
        raise failed(scope.reason, text, b"")
    try:
        process = await _start(argv, spec, previous)
    except OperationError as error:
        raise failed(str(error), text, b"") from error
    try:
        await _follow(process, spec, captured, scope, journal)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    if process.returncode:
        raise failed(_ending(process.returncode), text, bytes(captured.both))
    return Output(stdout=trimmed(captured.stdout), stderr=trimmed(captured.stderr))


async def _start(
    argv: tuple[str, ...], spec: Command, previous: Output
) -> asyncio.subprocess.Process:
    environment = {**os.environ, **spec.environment}
    if spec.passes_previous:
        environment.update(previous.variables())
    program = argv[0]
    if os.sep not in program:
        found = shutil.which(program)
        if found is None:
            msg = f"exec: {quoted(program)}: executable file not found in $PATH"
            raise OperationError(msg)
        program = found
    try:
        if spec.directory is not None:
            _check_directory(spec.directory)
        return await asyncio.create_subprocess_exec(
            *argv,
            executable=program,
            cwd=spec.directory,
            env=environment,
            stdin=asyncio.subprocess.PIPE if spec.stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        msg = f"fork/exec {program}: {reason(error)}"
        raise OperationError(msg) from error
    except ValueError as error:  # a NUL in the text or in a variable
        msg = f"fork/exec {program}: invalid argument"
        raise OperationError(msg) from error


def _check_directory(path: str) -> None:
    try:
        if not stat.S_ISDIR(Path(path).stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    except OSError as error:
        msg = f"chdir {path}: {reason(error)}"
        raise OperationError(msg) from error


async def _follow(
    process: asyncio.subprocess.Process,
    spec: Command,
    captured: _Captured,
    scope: Scope,
    journal: Journal,
) -> None:
    """Feed and read the process until it and all who hold its pipes have ended."""
    assert process.stdout is not None  # noqa: S101 asked for at the start
    assert process.stderr is not None  # noqa: S101 asked for at the start
    out = _read(process.stdout, captured.stdout, captured, journal if spec.logs_stdout else None)
    err = _read(process.stderr, captured.stderr, captured, journal if spec.logs_stderr else None)
    pipes = [asyncio.ensure_future(work) for work in (out, err, _feed(process, spec.stdin))]
    try:
        await scope.race(_ended(process, pipes))
    except OperationError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.wait(pipes, timeout=_GRACE)
        await _reaped(process)
    finally:
        for pipe in pipes:
            pipe.cancel()


async def _ended(
    process: asyncio.subprocess.Process, pipes: Sequence[asyncio.Future[None]]
) -> None:
    await process.wait()
    await asyncio.wait(pipes[:2])


async def _reaped(process: asyncio.subprocess.Process) -> None:
    """Wait for the killed shell itself; `wait` would wait for those who hold its pipes too."""
    while process.returncode is None:  # noqa: ASYNC110 there is no event for it
        await asyncio.sleep(0.01)


async def _read(
    stream: asyncio.StreamReader, sink: bytearray, captured: _Captured, journal: Journal | None
) -> None:
    while data := await stream.read(_CHUNK):
        sink += data
        captured.both += data
        if journal is not None:
            journal.output(data)


async def _feed(process: asyncio.subprocess.Process, text: str) -> None:
    if process.stdin is None:
        return
    # A command need not read what it is given.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(text.encode())
        await process.stdin.drain()
    process.stdin.close()


def _ending(returncode: int) -> str:
    if returncode > 0:
        return f"exit status {returncode}"
    name = signal.strsignal(-returncode) or str(-returncode)
    return f"signal: {name.lower()}"
