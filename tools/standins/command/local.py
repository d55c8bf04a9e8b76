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
from standins.command.messages import failed, quoted, system_error, trimmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.sdk.cancellation import Cancellation
    from providers.sdk.diagnostics import Diagnostics

_SHELL: Final = ("/bin/sh", "-c")
_GRACE: Final = 1.0
"""Seconds for the pipes of a killed shell to close: its children may hold them forever."""
_CHUNK: Final = 1 << 16


class _Captured:
    """What the process printed: each stream, and both in order of arrival."""

    def __init__(self) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.both = bytearray()


async def run(
    command: str,
    spec: Command,
    *,
    previous: Output,
    cancellation: Cancellation,
    diagnostics: Diagnostics,
) -> Output:
    """Run a command to completion.

    Cancellation kills the shell, and only the shell: processes that it started go on.

    Raises:
        OperationError: it did not exit with status 0; the text contains all that it printed.
    """
    argv = (*(spec.interpreter or _SHELL), command)
    captured = _Captured()
    if cancellation.reason:
        raise failed(cancellation.reason, command, b"")
    try:
        process = await _start(argv, spec, previous)
    except OperationError as error:
        raise failed(str(error), command, b"") from error
    try:
        await _follow(process, spec, captured, cancellation, diagnostics)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    if process.returncode:
        raise failed(_exit_reason(process.returncode), command, bytes(captured.both))
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
        msg = f"fork/exec {program}: {system_error(error)}"
        raise OperationError(msg) from error
    except ValueError as error:  # a NUL in the text or in a variable
        msg = f"fork/exec {program}: invalid argument"
        raise OperationError(msg) from error


def _check_directory(path: str) -> None:
    try:
        if not stat.S_ISDIR(Path(path).stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    except OSError as error:
        msg = f"chdir {path}: {system_error(error)}"
        raise OperationError(msg) from error


async def _follow(
    process: asyncio.subprocess.Process,
    spec: Command,
    captured: _Captured,
    cancellation: Cancellation,
    diagnostics: Diagnostics,
) -> None:
    """Feed and read the process until it has exited and its pipes are closed."""
    assert process.stdout is not None  # noqa: S101 asked for at the start
    assert process.stderr is not None  # noqa: S101 asked for at the start
    out = _read(
        process.stdout, captured.stdout, captured, diagnostics if spec.logs_stdout else None
    )
    err = _read(
        process.stderr, captured.stderr, captured, diagnostics if spec.logs_stderr else None
    )
    pipes = [asyncio.ensure_future(work) for work in (out, err, _feed(process, spec.stdin))]
    try:
        await cancellation.race(_wait(process, pipes))
    except OperationError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.wait(pipes, timeout=_GRACE)
        await _wait_for_killed(process)
    finally:
        for pipe in pipes:
            pipe.cancel()


async def _wait(process: asyncio.subprocess.Process, pipes: Sequence[asyncio.Future[None]]) -> None:
    await process.wait()
    await asyncio.wait(pipes[:2])


async def _wait_for_killed(process: asyncio.subprocess.Process) -> None:
    """Wait for the killed shell itself; `wait` would also wait for others that hold its pipes."""
    while process.returncode is None:  # noqa: ASYNC110 there is no event for it
        await asyncio.sleep(0.01)


async def _read(
    stream: asyncio.StreamReader,
    sink: bytearray,
    captured: _Captured,
    diagnostics: Diagnostics | None,
) -> None:
    while data := await stream.read(_CHUNK):
        sink += data
        captured.both += data
        if diagnostics is not None:
            diagnostics.output(data)


async def _feed(process: asyncio.subprocess.Process, stdin: str) -> None:
    if process.stdin is None:
        return
    # A command need not read its stdin.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin.encode())
        await process.stdin.drain()
    process.stdin.close()


def _exit_reason(returncode: int) -> str:
    if returncode > 0:
        return f"exit status {returncode}"
    name = signal.strsignal(-returncode) or str(-returncode)
    return f"signal: {name.lower()}"
