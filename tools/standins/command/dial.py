"""Opens ssh connections: retries with backoff, and proxies."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import asyncssh
from providers.sdk.errors import OperationError

from standins.command.login import Client, Login
from standins.command.messages import quoted, system_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from providers.sdk.cancellation import Cancellation
    from providers.sdk.diagnostics import Diagnostics

    from standins.command.inputs import Endpoint

T = TypeVar("T")
_FIRST_DELAY: Final = 0.1
_GROWTH: Final = 1.5
_LONGEST_DELAY: Final = 5.0
_KEEPALIVE: Final = 15
"""Seconds between TCP keepalive probes, Go's default; nine lost ones end the connection."""
_HANDSHAKE: Final = 120
"""Seconds for handshake and login, sshd's LoginGraceTime; the released plugin has no limit."""
_KEX: Final = "^curve25519-sha256"
_CIPHERS: Final = "^aes128-gcm@openssh.com"
"""The fastest that every server supports comes first; the library's own list follows."""
_NO_ALGORITHM: Final = re.compile(
    r"No matching (?P<what>[\w\s]+?) (?:algorithm )?found, "
    r"sent (?P<ours>\S*) and received (?P<theirs>\S*)"
)


class DialError(Exception):
    """A failed attempt, which may be retried."""

    def __init__(self, reason: str, *, stage: str = "Dial") -> None:
        """`stage` names the attempt in the progress message."""
        super().__init__(reason)
        self.stage = stage


class Connection:
    """An open ssh connection, and the one to its proxy."""

    def __init__(self, ssh: asyncssh.SSHClientConnection, proxy: Connection | None) -> None:
        """`proxy` is closed with it."""
        self.ssh = ssh
        self._proxy = proxy

    async def close(self) -> None:
        """Close it, and wait briefly until it is closed."""
        self.ssh.close()
        with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
            async with asyncio.timeout(1):
                await self.ssh.wait_closed()
        if self._proxy is not None:
            await self._proxy.close()


async def dial(
    endpoint: Endpoint, cancellation: Cancellation, diagnostics: Diagnostics
) -> Connection:
    """Connect and log in, with as many retries as the endpoint allows.

    Raises:
        OperationError: at the limit of retries; when cancelled; and at once when a key cannot be
            read or the agent cannot be reached.
    """
    login = await Login.read(endpoint)
    try:
        if endpoint.proxy is None:
            return await _dial_direct(login, cancellation, diagnostics)
        return await _dial_through(endpoint.proxy, login, cancellation, diagnostics)
    finally:
        login.close()


async def _dial_direct(
    login: Login, cancellation: Cancellation, diagnostics: Diagnostics, stage: str = "Dial"
) -> Connection:
    async def attempt() -> Connection:
        try:
            stream = await _tcp(login.endpoint)
        except DialError as error:
            raise DialError(str(error), stage=stage) from error
        try:
            return Connection(await _handshake(login, stage=stage, sock=stream), None)
        except BaseException:
            stream.close()
            raise

    return await _retry(attempt, login.endpoint.dial_error_limit, cancellation, diagnostics)


async def _dial_through(
    proxy: Endpoint, login: Login, cancellation: Cancellation, diagnostics: Diagnostics
) -> Connection:
    try:
        outer = await Login.read(proxy)
        try:
            connection = await _dial_direct(outer, cancellation, diagnostics, "Dial proxy")
        finally:
            outer.close()

        async def attempt() -> Connection:
            # A new channel for each attempt: a failed one cannot be reused.
            return Connection(
                await _handshake(login, stage="Dial", tunnel=connection.ssh), connection
            )

        try:
            return await _retry(attempt, login.endpoint.dial_error_limit, cancellation, diagnostics)
        except BaseException:
            await connection.close()
            raise
    except OperationError as error:
        msg = f"proxy: {error}"
        raise OperationError(msg) from error


async def _retry(
    attempt: Callable[[], Awaitable[T]],
    limit: int,
    cancellation: Cancellation,
    diagnostics: Diagnostics,
) -> T:
    """Return the first success; fail with the last reason after more than `limit` failures.

    Cancellation ends the waits between attempts, not an attempt: the first one is made even if the
    engine has already cancelled, so a host that responds is still switched.
    """
    delay, failures = _FIRST_DELAY, 0
    while True:
        try:
            return await attempt()
        except DialError as error:
            if -1 < limit < failures + 1:
                msg = f"after {failures} failed attempts: {error}"
                raise OperationError(msg) from error
            failures += 1
            total = "inf" if limit == -1 else limit
            diagnostics.status(f"{error.stage} {failures}/{total} failed: retrying")
        await cancellation.sleep(delay)
        delay = min(delay * _GROWTH, _LONGEST_DELAY)


async def _tcp(endpoint: Endpoint) -> socket.socket:
    """Open a TCP connection within the endpoint's timeout; names resolve in a thread."""
    where = f"{endpoint.host}:{endpoint.port}"
    try:
        async with asyncio.timeout(endpoint.per_dial_timeout or None):
            loop = asyncio.get_running_loop()
            try:
                found = await loop.getaddrinfo(
                    endpoint.host, endpoint.port, type=socket.SOCK_STREAM
                )
            except socket.gaierror as error:
                msg = f"dial tcp: lookup {endpoint.host}: no such host"
                raise DialError(msg) from error
            return await _connect_first(found)
    except TimeoutError as error:
        msg = f"dial tcp {where}: i/o timeout"
        raise DialError(msg) from error


async def _connect_first(found: Sequence[Any]) -> socket.socket:
    """Connect to the first address that accepts; `found` is the result of getaddrinfo."""
    last: DialError | None = None
    for family, kind, protocol, _, address in found:
        stream = socket.socket(family, kind, protocol)
        try:
            stream.setblocking(False)  # noqa: FBT003 positional only
            await asyncio.get_running_loop().sock_connect(stream, address)
            _tune(stream)
        except OSError as error:
            stream.close()
            host = f"[{address[0]}]" if family == socket.AF_INET6 else address[0]
            last = DialError(f"dial tcp {host}:{address[1]}: connect: {system_error(error)}")
        except BaseException:
            stream.close()
            raise
        else:
            return stream
    raise last or DialError("dial tcp: no address")


def _tune(stream: socket.socket) -> None:
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 9)


async def _handshake(
    login: Login,
    *,
    stage: str,
    sock: socket.socket | None = None,
    tunnel: asyncssh.SSHClientConnection | None = None,
) -> asyncssh.SSHClientConnection:
    """Exchange keys, verify the server's and log in, over a socket or through a proxy."""
    client = Client(login)
    endpoint = login.endpoint
    via: dict[str, Any] = {"sock": sock} if sock is not None else {"tunnel": tunnel}
    try:
        return await asyncssh.connect(
            endpoint.host,
            endpoint.port,
            **via,
            client_factory=lambda: client,
            username=endpoint.user,
            config=None,  # not the user's ~/.ssh/config
            known_hosts=([], [], []),  # leaves the decision to the client below
            x509_trusted_certs=None,
            server_host_key_algs=login.host_key_algorithms or (),
            client_keys=None,  # only those of the client below, none from ~/.ssh
            preferred_auth=login.methods,
            gss_kex=False,
            gss_auth=False,
            kex_algs=_KEX,
            encryption_algs=_CIPHERS,
            compression_algs=["none"],
            connect_timeout=None,
            login_timeout=_HANDSHAKE,
        )
    except (asyncssh.Error, OSError) as error:
        _translate(error, client, stage)


def _translate(error: Exception, client: Client, stage: str) -> NoReturn:
    """Raise the DialError for an asyncssh error, worded like the released plugin's."""
    if isinstance(error, asyncssh.ChannelOpenError):
        names = {1: "administratively prohibited", 2: "connect failed"}
        text = f"ssh: rejected: {names.get(error.code, error.code)} ({quoted(error.reason)})"
        raise DialError(text, stage="Dial from proxy") from None
    mismatch = client.no_common_host_key()
    if mismatch:
        text = mismatch
    elif isinstance(error, asyncssh.HostKeyNotVerifiable):
        text = "ssh: host key mismatch"
    elif isinstance(error, asyncssh.PermissionDenied):
        tried = " ".join(client.tried)
        text = (
            f"ssh: unable to authenticate, attempted methods [{tried}], no supported methods remain"
        )
    elif isinstance(error, asyncssh.KeyExchangeFailed):
        text = _no_algorithm(error.reason)
    elif isinstance(error, asyncssh.ConnectionLost):
        text = "EOF"
    elif isinstance(error, asyncssh.DisconnectError):
        text = f"ssh: disconnect, reason {error.code}: {error.reason}"
    elif isinstance(error, OSError):
        text = f"read tcp: read: {system_error(error)}"
    else:
        text = str(error)
    msg = f"ssh: handshake failed: {text}"
    raise DialError(msg, stage=stage) from None


def _no_algorithm(message: str) -> str:
    found = _NO_ALGORITHM.match(message)
    if found is None:
        return message
    what = found["what"].strip()
    offers = f"we offered: {found['ours']}, peer offered: {found['theirs']}"
    return f"ssh: no common algorithm for {what}; {offers}"
