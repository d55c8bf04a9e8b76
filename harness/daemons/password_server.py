"""An ssh server with password authentication, for which sshd would need users of the system.

It answers every command with `welcome`, and runs nothing.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

import asyncssh

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

T = TypeVar("T")


class _Authenticator(asyncssh.SSHServer):
    def __init__(
        self, method: str, password: str, connections: list[asyncssh.SSHServerConnection]
    ) -> None:
        self._method, self._password, self._open = method, password, connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._open.append(conn)

    def begin_auth(self, username: str) -> bool:
        del username
        return True

    def password_auth_supported(self) -> bool:
        return self._method == "password"

    def validate_password(self, username: str, password: str) -> bool:
        del username
        return password == self._password

    def kbdint_auth_supported(self) -> bool:
        return self._method == "keyboard-interactive"

    def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, list[tuple[str, bool]]]:
        del username, lang, submethods
        return "Who", "Twice, please", "", [("Magic word: ", False), ("Again: ", False)]

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        del username
        return list(responses) == [self._password] * 2


def _welcome(process: asyncssh.SSHServerProcess[str]) -> None:
    process.stdout.write("welcome\n")
    process.exit(0)


class PasswordServer:
    """A server on a loopback port, in a thread of its own."""

    def __init__(self, *, method: str, password: str) -> None:
        """`method` is `password` or `keyboard-interactive`."""
        self._connections: list[asyncssh.SSHServerConnection] = []
        self._factory = lambda: _Authenticator(method, password, self._connections)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._acceptor = self._wait(self._listen())
        self.port = self._acceptor.get_port()
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            config=None,
            server_factory=self._factory,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            process_factory=_welcome,
        )

    async def _close(self) -> None:
        self._acceptor.close()
        await self._acceptor.wait_closed()
        for connection in self._connections:
            connection.abort()
            await connection.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(15)
