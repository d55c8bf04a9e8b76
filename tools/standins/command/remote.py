"""Runs a command on another machine: one ssh connection, one session, in the login shell."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import asyncssh
from asyncssh.channel import SSHClientChannel
from asyncssh.packet import String
from providers.sdk.errors import OperationError

from standins.command.dial import dial
from standins.command.inputs import Command, Output
from standins.command.messages import failed, quoted, trimmed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.sdk.cancellation import Cancellation
    from providers.sdk.diagnostics import Diagnostics

_NO_STATUS: Final = "wait: remote command exited without exit status or exit signal"
_SIGNALS: Final = {
    "ABRT": 6,
    "ALRM": 14,
    "FPE": 8,
    "HUP": 1,
    "ILL": 4,
    "INT": 2,
    "KILL": 9,
    "PIPE": 13,
    "QUIT": 3,
    "SEGV": 11,
    "TERM": 15,
}
_WINDOW: Final = 2 << 20
_PACKET: Final = 32 << 10
OUTPUT_LIMIT: Final = 1 << 20
"""Bytes of output, of both streams together, beyond which the command fails.

The released plugin keeps whatever is printed, several times, and puts it into the state. A command
that prints without end uses up its memory; here it fails before.
"""
_KEPT: Final = 4096
"""Bytes of that output in the error."""


class _Session(asyncssh.SSHClientSession[bytes]):
    """Collects what the command prints: each stream, and both in order of arrival."""

    def __init__(self, spec: Command, diagnostics: Diagnostics) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.both = bytearray()
        self.ended = asyncio.get_running_loop().create_future()
        self.is_flooded = False
        self._spec = spec
        self._diagnostics = diagnostics

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Keep the output, and show it if logging is enabled."""
        if self.is_flooded or len(self.both) + len(data) > OUTPUT_LIMIT:
            self.is_flooded = True
            self.connection_lost(None)
            return
        is_error = datatype == asyncssh.EXTENDED_DATA_STDERR
        sink = self.stderr if is_error else self.stdout
        sink += data
        self.both += data
        if self._spec.logs_stderr if is_error else self._spec.logs_stdout:
            self._diagnostics.output(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Mark the session as ended, however it ended."""
        if not self.ended.done():
            self.ended.set_result(None)


class _Channel(SSHClientChannel[bytes]):
    """A channel that detects refused environment variables before the command starts.

    asyncssh sends variables without requesting a reply. Replies come in the order of the requests,
    so requesting them costs no round trip: `create` sends them all, then waits here.
    """

    def prepare(self, required: Mapping[str, str], optional: Mapping[str, str]) -> None:
        """The variables to set: a refused required one fails, an optional one is recorded."""
        self.required, self.optional = dict(required), dict(optional)
        self.refused: list[str] = []

    async def _make_request(self, request: bytes, *args: bytes) -> bool | None:
        if request == b"exec":
            await self._set_variables()
        return await super()._make_request(request, *args)

    async def _set_variables(self) -> None:
        variables = [*self.required.items(), *self.optional.items()]
        accepted = await asyncio.gather(
            *(
                super(_Channel, self)._make_request(b"env", String(name), String(value))
                for name, value in variables
            )
        )
        self.refused = [name for (name, _), ok in zip(variables, accepted, strict=True) if not ok]
        for name in self.refused:
            if name in self.required:
                raise _RefusedError(name)


class _RefusedError(Exception):
    """The server refused a required variable; the text is its name."""


async def run(
    command: str,
    spec: Command,
    *,
    previous: Output,
    cancellation: Cancellation,
    diagnostics: Diagnostics,
) -> Output:
    """Run a command to completion.

    Cancellation ends the dialling only: a running command goes on, and is waited for.

    Raises:
        OperationError: it did not exit with status 0; the text contains all that it printed.
    """
    if spec.connection is None:
        msg = "the connection is missing"
        raise OperationError(msg)
    connection = await dial(spec.connection, cancellation, diagnostics)
    try:
        return await _run(connection.ssh, command, spec, previous, diagnostics)
    finally:
        await connection.close()


async def _run(
    ssh: asyncssh.SSHClientConnection,
    command: str,
    spec: Command,
    previous: Output,
    diagnostics: Diagnostics,
) -> Output:
    session = _Session(spec, diagnostics)
    channel: Any = _Channel(
        ssh, asyncio.get_running_loop(), "replace", None, "strict", _WINDOW, _PACKET
    )
    channel.prepare(spec.environment, previous.variables() if spec.passes_previous else {})
    try:
        await _start(channel, session, command)
    except _RefusedError as error:
        name = str(error)
        diagnostics.error(_refused_message(name))
        msg = f"could not set environment variable {quoted(name)}: ssh: setenv failed"
        raise OperationError(msg) from None
    finally:
        for name in channel.refused:
            if name not in spec.environment:
                diagnostics.warning(_refused_message(name))
    # A command may end before it has read its stdin.
    with contextlib.suppress(OSError):
        channel.write(spec.stdin.encode())
        channel.write_eof()
    await session.ended
    if session.is_flooded:
        channel.abort()
        reason = f"more than {OUTPUT_LIMIT} bytes of output"
        raise failed(reason, command, bytes(session.both[:_KEPT]))
    reason = _failure(channel)
    if reason:
        raise failed(reason, command, bytes(session.both))
    return Output(stdout=trimmed(session.stdout), stderr=trimmed(session.stderr))


async def _start(channel: Any, session: _Session, command: str) -> None:
    """Open the channel, set the variables and start the command in the login shell."""
    try:
        await channel.create(
            lambda: session,
            command=command,
            subsystem=None,
            env={},
            request_pty=False,
            term_type=None,
            term_size=None,
            term_modes={},
            x11_forwarding=False,
            x11_display=None,
            x11_auth_path=None,
            x11_single_connection=False,
            agent_forwarding=False,
        )
    except asyncssh.ChannelOpenError as error:
        if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
            reason = f"ssh: command {command} failed"
            raise failed(reason, command, b"") from None
        names = {1: "administratively prohibited", 2: "connect failed", 4: "resource shortage"}
        rejection = names.get(error.code, f"unknown reason {error.code}")
        msg = f"ssh: rejected: {rejection} ({quoted(error.reason)})"
        raise OperationError(msg) from None
    except (asyncssh.Error, OSError) as error:
        raise failed(_NO_STATUS, command, bytes(session.both)) from error


def _failure(channel: Any) -> str:
    """How the command failed, worded like the released plugin's error; empty on success."""
    exit_signal = channel.get_exit_signal()
    if exit_signal is not None:
        name, _, message, _ = exit_signal
        text = f"Process exited with status {128 + _SIGNALS.get(name, 0)} from signal {name}"
        return f"{text}. Reason was: {message}" if message else text
    status = channel.get_exit_status()
    if status is None:
        return _NO_STATUS
    return f"Process exited with status {status}" if status else ""


def _refused_message(name: str) -> str:
    return (
        f"Unable to set '{name}'. This only works if your SSH server is configured to accept\n"
        "\tthese variables via AcceptEnv. Alternatively, if a Bash-like shell runs the command on "
        "the remote host, you could\n\tprefix the command itself with the variables in the form "
        "'VAR=value command'"
    )
