"""Runs a command on another machine: one ssh connection, one session, the user's login shell."""

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
from standins.command.texts import failed, quoted, trimmed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.sdk.journal import Journal
    from providers.sdk.scope import Scope

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


class _Session(asyncssh.SSHClientSession[bytes]):
    """Collects what the command prints, apart and in order of arrival."""

    def __init__(self, spec: Command, journal: Journal) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.both = bytearray()
        self.ended = asyncio.get_running_loop().create_future()
        self._spec = spec
        self._journal = journal

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Keep output, and show it when that is wanted."""
        is_error = datatype == asyncssh.EXTENDED_DATA_STDERR
        sink = self.stderr if is_error else self.stdout
        sink += data
        self.both += data
        if self._spec.logs_stderr if is_error else self._spec.logs_stdout:
            self._journal.output(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """The session is over, in whatever way."""
        if not self.ended.done():
            self.ended.set_result(None)


class _Channel(SSHClientChannel[bytes]):
    """A channel on which a refused variable is noticed before the command starts.

    asyncssh sends variables without asking for an answer. Answers come in the order of the
    requests, so asking costs no round trip: `create` sends them all, then waits here.
    """

    def prepare(self, required: Mapping[str, str], wished: Mapping[str, str]) -> None:
        """The variables to set: refusal of the first kind fails, of the second kind is noted."""
        self.required, self.wished = dict(required), dict(wished)
        self.refused: list[str] = []

    async def _make_request(self, request: bytes, *args: bytes) -> bool | None:
        if request == b"exec":
            await self._set_variables()
        return await super()._make_request(request, *args)

    async def _set_variables(self) -> None:
        wanted = [*self.required.items(), *self.wished.items()]
        answers = await asyncio.gather(
            *(
                super(_Channel, self)._make_request(b"env", String(name), String(value))
                for name, value in wanted
            )
        )
        self.refused = [name for (name, _), yes in zip(wanted, answers, strict=True) if not yes]
        for name in self.refused:
            if name in self.required:
                raise _RefusedError(name)


class _RefusedError(Exception):
    """The server does not take a variable that the command must have; its text is the name."""


async def run(
    text: str, spec: Command, *, previous: Output, scope: Scope, journal: Journal
) -> Output:
    """Run the text to its end; raises OperationError with all it printed when that is not status 0.

    A stopped scope ends the dialling only: a command that runs goes on, and is waited for.
    """
    if spec.connection is None:
        msg = "the connection is missing"
        raise OperationError(msg)
    connection = await dial(spec.connection, scope, journal)
    try:
        return await _run(connection.ssh, text, spec, previous, journal)
    finally:
        await connection.close()


async def _run(
    ssh: asyncssh.SSHClientConnection,
    text: str,
    spec: Command,
    previous: Output,
    journal: Journal,
) -> Output:
    session = _Session(spec, journal)
    channel: Any = _Channel(
        ssh, asyncio.get_running_loop(), "replace", None, "strict", _WINDOW, _PACKET
    )
    channel.prepare(spec.environment, previous.variables() if spec.passes_previous else {})
    try:
        await _start(channel, session, text)
    except _RefusedError as error:
        name = str(error)
        journal.error(_refusal(name))
        msg = f"could not set environment variable {quoted(name)}: ssh: setenv failed"
        raise OperationError(msg) from None
    finally:
        for name in channel.refused:
            if name not in spec.environment:
                journal.warning(_refusal(name))
    # A command need not wait for what it is given.
    with contextlib.suppress(OSError):
        channel.write(spec.stdin.encode())
        channel.write_eof()
    await session.ended
    why = _ending(channel)
    if why:
        raise failed(why, text, bytes(session.both))
    return Output(stdout=trimmed(session.stdout), stderr=trimmed(session.stderr))


async def _start(channel: Any, session: _Session, text: str) -> None:
    """Open the channel, set the variables and start the command in the login shell."""
    try:
        await channel.create(
            lambda: session,
            command=text,
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
            why = f"ssh: command {text} failed"
            raise failed(why, text, b"") from None
        names = {1: "administratively prohibited", 2: "connect failed", 4: "resource shortage"}
        what = names.get(error.code, f"unknown reason {error.code}")
        msg = f"ssh: rejected: {what} ({quoted(error.reason)})"
        raise OperationError(msg) from None
    except (asyncssh.Error, OSError) as error:
        raise failed(_NO_STATUS, text, bytes(session.both)) from error


def _ending(channel: Any) -> str:
    """Why the command did not end well, in the words of the release; empty when it did."""
    died = channel.get_exit_signal()
    if died is not None:
        name, _, message, _ = died
        why = f"Process exited with status {128 + _SIGNALS.get(name, 0)} from signal {name}"
        return f"{why}. Reason was: {message}" if message else why
    status = channel.get_exit_status()
    if status is None:
        return _NO_STATUS
    return f"Process exited with status {status}" if status else ""


def _refusal(name: str) -> str:
    return (
        f"Unable to set '{name}'. This only works if your SSH server is configured to accept\n"
        "\tthese variables via AcceptEnv. Alternatively, if a Bash-like shell runs the command on "
        "the remote host, you could\n\tprefix the command itself with the variables in the form "
        "'VAR=value command'"
    )
