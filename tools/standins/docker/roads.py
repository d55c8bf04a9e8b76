"""Ways to a daemon: a socket on this machine, TCP, or ssh to another one."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote, urlsplit

from providers.sdk.errors import OperationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LIMIT: Final = 1 << 20
"""Bytes of one line of an answer."""
_SSH: Final = ("-o", "ConnectTimeout=30", "-T")
"""As the Docker client has it."""
_GOODBYE: Final = 2.0
"""Seconds for ssh to end by itself."""


class Road(Protocol):
    """How to open a connection."""

    async def open(self) -> Stream:
        """A new connection; raises OSError when there is none."""


@dataclass(slots=True, kw_only=True)
class Stream:
    """An open connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    process: asyncio.subprocess.Process | None = None
    """The ssh that carries it."""

    def close(self) -> None:
        """Let it go; an ssh that does not end by itself is ended."""
        self.writer.close()
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()

    async def last_words(self) -> str:
        """What ssh says of a connection that broke; empty for another kind of road."""
        if self.process is None or self.process.stderr is None:
            return ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                said = await self.process.stderr.read()
                status = await self.process.wait()
                lines = said.decode("utf-8", "replace").split("\n")
                told = "; ".join(line.strip() for line in lines if line.strip())
                return f"ssh has exited with exit status {status}: {told}"
        return ""


@dataclass(frozen=True, slots=True)
class Unix:
    """A socket in the file system."""

    path: str

    async def open(self) -> Stream:
        """Connect."""
        reader, writer = await asyncio.open_unix_connection(self.path, limit=_LIMIT)
        return Stream(reader=reader, writer=writer)


@dataclass(frozen=True, slots=True)
class Tcp:
    """A port, without TLS."""

    host: str
    port: int

    async def open(self) -> Stream:
        """Connect."""
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=_LIMIT)
        return Stream(reader=reader, writer=writer)


@dataclass(frozen=True, slots=True)
class Ssh:
    """The machine's own ssh, and `docker system dial-stdio` on the other side."""

    host: str
    user: str
    port: int | None
    path: str
    """The daemon's socket over there; empty for the one that its client finds."""
    options: tuple[str, ...]

    async def open(self) -> Stream:
        """Start ssh; whether it gets through is known with the first answer."""
        process = await asyncio.create_subprocess_exec(
            *self.argv(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LIMIT,
            # A Ctrl-C is the engine's to handle: it is not for the ssh of a request under way.
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 asked for at the start
        assert process.stdout is not None  # noqa: S101 asked for at the start
        return Stream(reader=process.stdout, writer=process.stdin, process=process)

    def argv(self) -> tuple[str, ...]:
        """The command, as the Docker client puts it together."""
        user = ("-l", self.user) if self.user else ()
        port = ("-p", str(self.port)) if self.port else ()
        socket = ("--host", f"unix://{self.path}") if self.path else ()
        dial = ("docker", *socket, "system", "dial-stdio")
        return ("ssh", *self.options, *_SSH, *user, *port, "--", self.host, *dial)


def road(address: str, ssh_options: Sequence[str]) -> Road:
    """The way that an address names: `unix://`, `tcp://` or `ssh://`.

    Raises:
        OperationError: it names none.
    """
    scheme = address.partition("://")[0]
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        scheme, host = "", ""
    if scheme == "unix" and address != "unix://":
        return Unix(address.removeprefix("unix://"))
    if scheme == "tcp" and host:
        return Tcp(host, port or 2375)
    if scheme == "ssh" and re.fullmatch(r"[A-Za-z0-9_.:%\[\]][A-Za-z0-9_.:%\[\]-]*", host):
        path = parts.path.rstrip("/")
        options = tuple(ssh_options)
        return Ssh(host, unquote(parts.username or ""), port, path, options)
    msg = (
        f"unable to parse docker host {address!r}: write unix://PATH, tcp://HOST:PORT or ssh://HOST"
    )
    raise OperationError(msg)
