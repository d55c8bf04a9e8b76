"""How a daemon is reached: a socket on this machine, TCP, or ssh to another machine."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import httpx
from components.pipeline.process import bounded
from components.pipeline.process.socket_bridge import bridge
from providers.sdk.errors import OperationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.pipeline.errors import ProcessError

_SSH_OPTIONS: Final = ("-o", "ConnectTimeout=30", "-T")
"""Those of the Docker client."""
_SSH_HOST: Final = re.compile(r"[A-Za-z0-9_.:%\[\]][A-Za-z0-9_.:%\[\]-]*")
_DEFAULT_PORT: Final = 2375
_VERSION: Final = "api-version"
_KEEP_ALL: Final = httpx.Limits(keepalive_expiry=None)
"""Every idle connection is kept: over ssh, a new one is a whole handshake."""


class TransportError(Exception):
    """No response arrived; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a daemon listens. Exactly one of `socket`, `url` and `ssh` is set."""

    socket: str | None = None
    url: str | None = None
    ssh: tuple[str, ...] | None = None
    """A command whose stdin and stdout are a connection to the daemon."""

    @classmethod
    def parse(cls, text: str, ssh_options: Sequence[str] = ()) -> Address:
        """Parse `unix://PATH`, `tcp://HOST:PORT` or `ssh://USER@HOST:PORT/SOCKET`.

        Raises:
            OperationError: it is none of these.
        """
        scheme = text.partition("://")[0]
        try:
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            scheme, host, port = "", "", None
        if scheme == "unix" and text != "unix://":
            return cls(socket=text.removeprefix("unix://"))
        if scheme == "tcp" and host:
            name = f"[{host}]" if ":" in host else host
            return cls(url=f"http://{name}:{port or _DEFAULT_PORT}")
        if scheme == "ssh" and _SSH_HOST.fullmatch(host):
            user, socket = unquote(parts.username or ""), parts.path.rstrip("/")
            return cls(ssh=_ssh_command(host, port, user, socket, ssh_options))
        msg = (
            f"unable to parse docker host {text!r}: "
            "write unix://PATH, tcp://HOST:PORT or ssh://HOST"
        )
        raise OperationError(msg)


def _ssh_command(
    host: str, port: int | None, user: str, socket: str, options: Sequence[str]
) -> tuple[str, ...]:
    """The command that the Docker client runs; without `socket`, the remote client finds it."""
    login = ("-l", user) if user else ()
    on_port = ("-p", str(port)) if port else ()
    daemon = ("--host", f"unix://{socket}") if socket else ()
    dial = ("docker", *daemon, "system", "dial-stdio")
    return ("ssh", *options, *_SSH_OPTIONS, *login, *on_port, "--", host, *dial)


class Transport:
    """Requests to one daemon; connections are opened on demand and reused."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client: httpx.AsyncClient | None = None
        self._ssh_error: ProcessError | None = None
        """Why ssh failed, until a request succeeds again."""
        self._resources = AsyncExitStack()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        headers: dict[str, str] | None = None,
        content: bytes = b"",
    ) -> httpx.Response:
        """Send one request; returns the whole response, whatever its status.

        Of its headers, only the version is kept.

        Raises:
            TransportError: there is no connection, it broke, or the response is too large.
        """
        client = self._client or await self._open()
        try:
            async with client.stream(
                method, path, params=query, headers=headers, content=content
            ) as answer:
                body = await bounded.whole(answer.aiter_raw(), bounded.OBJECT_LIMIT)
        except bounded.OversizeError as error:
            msg = f"the reply has {error}"
            raise TransportError(msg) from error
        except httpx.TransportError as error:
            raise TransportError(self._describe(error)) from error
        self._ssh_error = None
        version = {_VERSION: answer.headers.get(_VERSION, "1.24")}
        return httpx.Response(answer.status_code, headers=version, content=body)

    async def close(self) -> None:
        """Close all connections."""
        await self._resources.aclose()

    async def _open(self) -> httpx.AsyncClient:
        socket = self._address.socket
        if self._address.ssh is not None:
            path = await self._resources.enter_async_context(
                bridge(self._address.ssh, self._note_ssh_error)
            )
            socket = str(path)
        client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=socket, limits=_KEEP_ALL),
            base_url=self._address.url or "http://docker",
            headers={"Accept-Encoding": "identity"},
            timeout=None,  # noqa: S113 the operation has one, and cancels its request
            trust_env=False,
        )
        self._client = await self._resources.enter_async_context(client)
        return client

    def _note_ssh_error(self, error: ProcessError) -> None:
        self._ssh_error = error

    def _describe(self, error: httpx.TransportError) -> str:
        if (ssh := self._ssh_error) is not None:
            lines = (line.strip() for line in ssh.detail.splitlines())
            stderr = "; ".join(line for line in lines if line)
            ended = "" if ssh.code is None else f"has exited with exit status {ssh.code}: "
            return f"ssh {ended}{stderr}"
        return _system_reason(error) or str(error) or "the connection was closed"


def _system_reason(error: BaseException | None) -> str:
    """What the operating system says, which httpx keeps in the chain of causes."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        error = error.__cause__ or error.__context__
    return ""
