"""Authenticates to an ssh server, and verifies its host key."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import asyncssh
from providers.sdk.errors import OperationError

from standins.command.messages import quoted, system_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from standins.command.inputs import Endpoint

_KEY: Final = re.compile(r"(?:^|\s)((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[^\s]+)\s+([A-Za-z0-9+/]+=*)")


@dataclass(slots=True, kw_only=True)
class Login:
    """The keys and the agent for one endpoint, loaded once for all attempts."""

    endpoint: Endpoint
    host_key: asyncssh.SSHKey | None
    key: asyncssh.SSHKey | None = field(repr=False)
    agent: asyncssh.SSHAgentClient | None

    @classmethod
    async def read(cls, endpoint: Endpoint) -> Login:
        """Parse the keys and connect to the agent; a failure here is not retried."""
        host_key = None if endpoint.host_key is None else _host_key(endpoint.host_key)
        key = None
        if endpoint.private_key is not None:
            # Decrypting a key is slow by design.
            key = await asyncio.to_thread(
                _private_key, endpoint.private_key, endpoint.private_key_password
            )
        socket = endpoint.agent_socket
        if socket is None:
            # Unlike an explicit path, an empty variable counts as unset.
            socket = os.environ.get("SSH_AUTH_SOCK") or None
        agent = None if socket is None else await _agent(socket)
        return cls(endpoint=endpoint, host_key=host_key, key=key, agent=agent)

    @property
    def host_key_algorithms(self) -> Sequence[str]:
        """The algorithm of the pinned key; empty for any."""
        return [self.host_key.get_algorithm()] if self.host_key else []

    @property
    def methods(self) -> str:
        """The authentication methods, in the released plugin's order."""
        given = {
            "publickey": self.key is not None,
            "password,keyboard-interactive": self.endpoint.password is not None,
        }
        methods = [method for method, is_given in given.items() if is_given]
        # ssh tries a method once: the agent's keys are used only without a private key.
        if self.agent is not None and self.key is None:
            methods.append("publickey")
        return ",".join(methods)

    def close(self) -> None:
        """Close the connection to the agent."""
        if self.agent is not None:
            self.agent.close()


class Client(asyncssh.SSHClient):
    """The client side of one connection attempt; records the methods that were tried."""

    def __init__(self, login: Login) -> None:
        """For one attempt; not reusable."""
        self._login = login
        self._connection: asyncssh.SSHClientConnection | None = None
        self.tried = ["none"]

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Keep the connection, whose key exchange shows what the server offered."""
        self._connection = conn

    def no_common_host_key(self) -> str:
        """The error if the server has no key of the pinned algorithm; empty if it has.

        asyncssh leaves that check to the server, which closes the connection without a message.
        """
        pinned = [name.encode() for name in self._login.host_key_algorithms]
        offered = _offered_host_keys(getattr(self._connection, "_server_kexinit", b""))
        if not pinned or not offered or set(pinned) & set(offered):
            return ""
        ours, theirs = (" ".join(quoted(n.decode()) for n in names) for names in (pinned, offered))
        what = "ssh: no common algorithm for host key"
        return f"{what}; we offered: [{ours}], peer offered: [{theirs}]"

    def validate_host_public_key(
        self, _host: str, _addr: str, _port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Whether the server's key is the pinned one; without a pin, any key is accepted."""
        pinned = self._login.host_key
        return pinned is None or pinned.public_data == key.public_data

    async def public_key_auth_requested(self) -> list[asyncssh.SSHKey | asyncssh.SSHKeyPair] | None:
        """The private key, else those of the agent, once."""
        if not self._first("publickey"):
            return None
        if self._login.key is not None:
            return [self._login.key]
        if self._login.agent is not None:
            return list(await self._login.agent.get_keys())
        return None

    def password_auth_requested(self) -> str | None:
        """The password, once."""
        return self._login.endpoint.password if self._first("password") else None

    def kbdint_auth_requested(self) -> str | None:
        """Keyboard-interactive with no preferred submethod, once."""
        given = self._login.endpoint.password is not None
        return "" if given and self._first("keyboard-interactive") else None

    def kbdint_challenge_received(
        self, _name: str, _instructions: str, _lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> Sequence[str] | None:
        """The password for every prompt."""
        return [self._login.endpoint.password or ""] * len(prompts)

    def _first(self, method: str) -> bool:
        if method in self.tried:
            return False
        self.tried.append(method)
        return True


def _offered_host_keys(kexinit: bytes) -> list[bytes]:
    """The second name list of a KEXINIT message, after the type and a cookie of 16 bytes."""
    start = 17
    found = b""
    for _ in range(2):
        length = int.from_bytes(kexinit[start : start + 4], "big")
        found = kexinit[start + 4 : start + 4 + length]
        start += 4 + length
    return found.split(b",") if found else []


def _host_key(line: str) -> asyncssh.SSHKey:
    found = _KEY.search("\n".join(part for part in line.splitlines() if part.lstrip()[:1] != "#"))
    try:
        return asyncssh.import_public_key(f"{found[1]} {found[2]}" if found else line)
    except ValueError as error:  # the base of asyncssh's own
        msg = "failed to parse host key: ssh: no key found"
        raise OperationError(msg) from error


def _private_key(text: str, password: str | None) -> asyncssh.SSHKey:
    """Parse a private key; no error text contains any part of it."""
    try:
        return asyncssh.import_private_key(text, password)
    except ValueError as error:  # the base of asyncssh's own
        message = str(error)
    if "bcrypt" in message:
        msg = "ssh: an encrypted OpenSSH key needs the Python package bcrypt: install it"
    elif message.startswith("Passphrase must"):
        msg = "ssh: this private key is passphrase protected"
    elif message.startswith(("Incorrect passphrase", "Unable to decrypt")):
        msg = "x509: decryption password incorrect"
    else:
        msg = "ssh: no key found"
    raise OperationError(msg)


async def _agent(path: str) -> asyncssh.SSHAgentClient:
    try:
        # asyncssh treats an empty path as no path.
        return await asyncssh.connect_agent(path or "/")
    except OSError as error:
        msg = f"dial unix {path}: connect: {system_error(error)}"
        raise OperationError(msg) from error
