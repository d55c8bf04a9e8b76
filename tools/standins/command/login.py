"""Proves who we are to an ssh server, and checks who it is."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import asyncssh
from providers.sdk.errors import OperationError

from standins.command.texts import quoted, reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from standins.command.inputs import Endpoint

_KEY: Final = re.compile(r"(?:^|\s)((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[^\s]+)\s+([A-Za-z0-9+/]+=*)")


@dataclass(slots=True, kw_only=True)
class Login:
    """What is needed to log in at one endpoint, read once for all attempts."""

    endpoint: Endpoint
    host_key: asyncssh.SSHKey | None
    key: asyncssh.SSHKey | None = field(repr=False)
    agent: asyncssh.SSHAgentClient | None

    @classmethod
    async def read(cls, endpoint: Endpoint) -> Login:
        """Parse the keys and reach the agent; what fails here is not tried again."""
        host_key = None if endpoint.host_key is None else _host_key(endpoint.host_key)
        key = None
        if endpoint.private_key is not None:
            # Encrypted keys are slow to open on purpose.
            key = await asyncio.to_thread(
                _private_key, endpoint.private_key, endpoint.private_key_password
            )
        socket = endpoint.agent_socket
        if socket is None:
            # Unlike an explicit path, the variable counts only when it says something.
            socket = os.environ.get("SSH_AUTH_SOCK") or None
        agent = None if socket is None else await _agent(socket)
        return cls(endpoint=endpoint, host_key=host_key, key=key, agent=agent)

    @property
    def host_key_algorithms(self) -> Sequence[str]:
        """The one kind of key that is pinned; empty for any."""
        return [self.host_key.get_algorithm()] if self.host_key else []

    @property
    def methods(self) -> str:
        """The methods to try, in the release's order."""
        given = {
            "publickey": self.key is not None,
            "password,keyboard-interactive": self.endpoint.password is not None,
        }
        wanted = [method for method, there in given.items() if there]
        # ssh tries a method once: an agent's keys count only when no key was given.
        if self.agent is not None and self.key is None:
            wanted.append("publickey")
        return ",".join(wanted)

    def close(self) -> None:
        """Let the agent go."""
        if self.agent is not None:
            self.agent.close()


class Client(asyncssh.SSHClient):
    """Answers a server's questions on one connection, and notes what was tried."""

    def __init__(self, login: Login) -> None:
        """For one attempt; not to be used again."""
        self._login = login
        self._connection: asyncssh.SSHClientConnection | None = None
        self.tried = ["none"]

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Keep the connection, to look into what the server offered."""
        self._connection = conn

    def no_common_host_key(self) -> str:
        """What to say when the server has no key of the pinned kind; empty when it has.

        asyncssh leaves that check to the server, which hangs up without a word.
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
        """Whether the server's key is the pinned one; without a pin any key is."""
        pinned = self._login.host_key
        return pinned is None or pinned.public_data == key.public_data

    async def public_key_auth_requested(self) -> list[asyncssh.SSHKey | asyncssh.SSHKeyPair] | None:
        """The key that was given, else those of the agent, once."""
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
        """Keyboard-interactive without a wish for one of its kinds, once."""
        given = self._login.endpoint.password is not None
        return "" if given and self._first("keyboard-interactive") else None

    def kbdint_challenge_received(
        self, _name: str, _instructions: str, _lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> Sequence[str] | None:
        """The password to every question."""
        return [self._login.endpoint.password or ""] * len(prompts)

    def _first(self, method: str) -> bool:
        if method in self.tried:
            return False
        self.tried.append(method)
        return True


def _offered_host_keys(kexinit: bytes) -> list[bytes]:
    """The second list of names in a KEXINIT message, after a type and a cookie of 16 bytes."""
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
    except ValueError as error:  # of which asyncssh's own is a kind
        msg = "failed to parse host key: ssh: no key found"
        raise OperationError(msg) from error


def _private_key(text: str, password: str | None) -> asyncssh.SSHKey:
    """Parse a private key; no error text holds anything of it."""
    try:
        return asyncssh.import_private_key(text, password)
    except ValueError as error:  # of which asyncssh's own errors are kinds
        said = str(error)
    if "bcrypt" in said:
        msg = "ssh: an encrypted OpenSSH key needs the Python package bcrypt: install it"
    elif said.startswith("Passphrase must"):
        msg = "ssh: this private key is passphrase protected"
    elif said.startswith(("Incorrect passphrase", "Unable to decrypt")):
        msg = "x509: decryption password incorrect"
    else:
        msg = "ssh: no key found"
    raise OperationError(msg)


async def _agent(path: str) -> asyncssh.SSHAgentClient:
    try:
        # asyncssh would take an empty path for none at all.
        return await asyncssh.connect_agent(path or "/")
    except OSError as error:
        msg = f"dial unix {path}: connect: {reason(error)}"
        raise OperationError(msg) from error
