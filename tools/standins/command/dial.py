"""Opens ssh connections: attempts, their delays, and the way over a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import asyncssh
from providers.sdk.errors import OperationError

from standins.command.login import Client, Login
from standins.command.texts import quoted, reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from providers.sdk.journal import Journal
    from providers.sdk.scope import Scope

    from standins.command.inputs import Endpoint

T = TypeVar("T")
_FIRST_DELAY: Final = 0.1
_GROWTH: Final = 1.5
_LONGEST_DELAY: Final = 5.0
_KEEPALIVE: Final = 15
"""Seconds between probes of a silent connection, as Go has it; nine lost ones end it."""
_HANDSHAKE: Final = 120
"""Seconds for handshake and login, sshd's own LoginGraceTime; the release waits for ever."""
_KEX: Final = "^curve25519-sha256"
_CIPHERS: Final = "^aes128-gcm@openssh.com"
"""The quickest of what every server knows goes first, the library's own list follows."""
_NO_ALGORITHM: Final = re.compile(
    r"No matching (?P<what>[\w\s]+?) (?:algorithm )?found, "
    r"sent (?P<ours>\S*) and received (?P<theirs>\S*)"
)


class DialError(Exception):
    """One attempt that failed; there may be another."""

    def __init__(self, why: str, *, stage: str = "Dial") -> None:
        """`stage` is what the progress message calls the attempt."""
        super().__init__(why)
        self.stage = stage


class Connection:
    """An open ssh connection, with the one to its proxy."""

    def __init__(self, ssh: asyncssh.SSHClientConnection, over: Connection | None) -> None:
        """`over` is closed along with it."""
        self.ssh = ssh
        self._over = over

    async def close(self) -> None:
        """Say goodbye and wait until it is gone, but not for long."""
        self.ssh.close()
        with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
            async with asyncio.timeout(1):
                await self.ssh.wait_closed()
        if self._over is not None:
            await self._over.close()


async def dial(endpoint: Endpoint, scope: Scope, journal: Journal) -> Connection:
    """Connect and log in, trying again as often as the endpoint allows.

    Raises OperationError when the limit is reached, when the scope is stopped, and at once when a
    key cannot be read or the agent cannot be reached.
    """
    login = await Login.read(endpoint)
    try:
        if endpoint.proxy is None:
            return await _dial_straight(login, scope, journal)
        return await _dial_over(endpoint.proxy, login, scope, journal)
    finally:
        login.close()


async def _dial_straight(
    login: Login, scope: Scope, journal: Journal, stage: str = "Dial"
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

    return await _retried(attempt, login.endpoint.dial_error_limit, scope, journal)


async def _dial_over(proxy: Endpoint, login: Login, scope: Scope, journal: Journal) -> Connection:
    try:
        outer = await Login.read(proxy)
        try:
            over = await _dial_straight(outer, scope, journal, "Dial proxy")
        finally:
            outer.close()

        async def attempt() -> Connection:
            # A fresh channel each time: one that has failed cannot be used again.
            return Connection(await _handshake(login, stage="Dial", tunnel=over.ssh), over)

        try:
            return await _retried(attempt, login.endpoint.dial_error_limit, scope, journal)
        except BaseException:
            await over.close()
            raise
    except OperationError as error:
        msg = f"proxy: {error}"
        raise OperationError(msg) from error


async def _retried(
    attempt: Callable[[], Awaitable[T]], limit: int, scope: Scope, journal: Journal
) -> T:
    """The first success; after `limit` failures and one more, an error with the last reason.

    A stopped scope ends the waits between attempts, not an attempt: so the first one is made even
    where the engine has cancelled before it, and a host that answers is still switched.
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
            of = "inf" if limit == -1 else limit
            journal.status(f"{error.stage} {failures}/{of} failed: retrying")
        await scope.sleep(delay)
        delay = min(delay * _GROWTH, _LONGEST_DELAY)


async def _tcp(endpoint: Endpoint) -> socket.socket:
    """A TCP connection to the endpoint, within its time; no name server is asked on the loop."""
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
            return await _first_answer(found)
    except TimeoutError as error:
        msg = f"dial tcp {where}: i/o timeout"
        raise DialError(msg) from error


async def _first_answer(found: Sequence[Any]) -> socket.socket:
    """The first address that takes a connection; `found` is what getaddrinfo gives."""
    last: DialError | None = None
    for family, kind, protocol, _, address in found:
        stream = socket.socket(family, kind, protocol)
        try:
            stream.setblocking(False)  # noqa: FBT003 it takes no name
            await asyncio.get_running_loop().sock_connect(stream, address)
            _tune(stream)
        except OSError as error:
            stream.close()
            host = f"[{address[0]}]" if family == socket.AF_INET6 else address[0]
            last = DialError(f"dial tcp {host}:{address[1]}: connect: {reason(error)}")
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
    """Agree on keys, check the server's and log in, over a socket or through a proxy."""
    client = Client(login)
    endpoint = login.endpoint
    where: dict[str, Any] = {"sock": sock} if sock is not None else {"tunnel": tunnel}
    try:
        return await asyncssh.connect(
            endpoint.host,
            endpoint.port,
            **where,
            client_factory=lambda: client,
            username=endpoint.user,
            config=None,  # the user's ~/.ssh/config has no say
            known_hosts=([], [], []),  # so that the client is asked about the key
            x509_trusted_certs=None,
            server_host_key_algs=login.host_key_algorithms or (),
            client_keys=None,  # the client is asked, and nothing in ~/.ssh is looked at
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
    """Raise the DialError for what asyncssh says, in the words of the release."""
    if isinstance(error, asyncssh.ChannelOpenError):
        names = {1: "administratively prohibited", 2: "connect failed"}
        why = f"ssh: rejected: {names.get(error.code, error.code)} ({quoted(error.reason)})"
        raise DialError(why, stage="Dial from proxy") from None
    mismatch = client.no_common_host_key()
    if mismatch:
        why = mismatch
    elif isinstance(error, asyncssh.HostKeyNotVerifiable):
        why = "ssh: host key mismatch"
    elif isinstance(error, asyncssh.PermissionDenied):
        tried = " ".join(client.tried)
        why = (
            f"ssh: unable to authenticate, attempted methods [{tried}], no supported methods remain"
        )
    elif isinstance(error, asyncssh.KeyExchangeFailed):
        why = _no_algorithm(error.reason)
    elif isinstance(error, asyncssh.ConnectionLost):
        why = "EOF"
    elif isinstance(error, asyncssh.DisconnectError):
        why = f"ssh: disconnect, reason {error.code}: {error.reason}"
    elif isinstance(error, OSError):
        why = f"read tcp: read: {reason(error)}"
    else:
        why = str(error)
    msg = f"ssh: handshake failed: {why}"
    raise DialError(msg, stage=stage) from None


def _no_algorithm(said: str) -> str:
    found = _NO_ALGORITHM.match(said)
    if found is None:
        return said
    what = found["what"].strip()
    offers = f"we offered: {found['ours']}, peer offered: {found['theirs']}"
    return f"ssh: no common algorithm for {what}; {offers}"
