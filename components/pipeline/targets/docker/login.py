"""A login to a registry: the config's, or the one that the user has on this machine.

A daemon has no logins of its own: each pull passes one, and skopeo gets the same. The
files are looked for in skopeo's order (containers-auth.json(5)), and read as Docker's own client
does (`docker.auth`), with `credsStore`, which skopeo ignores. Only a credential helper is run here:
it has to end in time, and must not see the stack's config.
"""

import base64
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from ...config.registry import Registry
from ...errors import ProcessError, RegistryError, message, printable
from ...process import run
from ...process.bounded import REPLY_LIMIT
from ...process.run import Argv

HELPER_TIMEOUT: Final = 30.0
HELPER: Final = "docker-credential-"
TOKEN: Final = "<token>"  # noqa: S105 what a helper gives as the user of a token
NOT_FOUND: Final = "credentials not found in native keychain"
"""What a helper prints if it has no login for a registry (docker-credential-helpers)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user and a password, or a token that stands for both; empty: no login."""

    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> Self:
        """Make it from an entry that `docker.auth` has parsed."""
        return cls(
            username=str(entry.get("username") or ""),
            password=str(entry.get("password") or "").strip("\0"),
            token=str(entry.get("IdentityToken") or ""),
        )

    @property
    def entry(self) -> dict[str, str]:
        """An entry of a list of logins, as skopeo reads it."""
        plain = f"{self.username}:{self.password}".encode()
        entry = {"auth": base64.b64encode(plain).decode()}
        return {**entry, "identitytoken": self.token} if self.token else entry

    def header(self, host: str) -> str:
        """Return the header `X-Registry-Auth`, which tells a daemon the login."""
        fields = {"username": self.username, "password": self.password, "serveraddress": host}
        if self.token:
            fields = {"identitytoken": self.token, "serveraddress": host}
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


NO_LOGIN: Final = Login()


@contextlib.contextmanager
def auth_file(login: Login, host: str) -> Iterator[Argv]:
    """Give the options that tell skopeo a login; with NO_LOGIN none: it may find one itself."""
    if login == NO_LOGIN:
        yield ()
        return
    with tempfile.TemporaryDirectory(prefix="flakeup-login-") as folder:
        file = Path(folder) / "auth.json"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            json.dump({"auths": {host: login.entry}}, opened)
        yield ("--authfile", str(file))


async def find(registry: Registry) -> Login:
    """Find the login for a registry: the config's, else the user's, else NO_LOGIN.

    Raises:
        RegistryError: a list of logins, or a helper that it names, cannot be used.
    """
    if registry.username:
        return Login(username=registry.username, password=registry.password)
    for file in files():
        if (found := await _find_in(file, registry)) != NO_LOGIN:
            return found
    return NO_LOGIN


def files() -> tuple[Path, ...]:
    """Return where `skopeo login` and `docker login` keep logins, in skopeo's order."""
    home, env = Path.home(), os.environ.get
    explicit = env("REGISTRY_AUTH_FILE")
    runtime = env("XDG_RUNTIME_DIR")
    at_runtime = Path(runtime) if runtime else Path(f"/run/containers/{os.getuid()}")
    name = "containers/auth.json" if runtime else "auth.json"
    return (
        Path(explicit) if explicit else at_runtime / name,
        Path(env("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json",
        Path(env("DOCKER_CONFIG") or home / ".docker") / "config.json",
    )


async def _find_in(file: Path, registry: Registry) -> Login:
    content = _read(file)
    if not content:
        return NO_LOGIN
    from docker import auth  # noqa: PLC0415 it loads requests, which only images need

    kinds: dict[str, type] = {"credHelpers": dict, "credsStore": str}
    stores = {
        key: content[key] for key, kind in kinds.items() if isinstance(content.get(key), kind)
    }
    if store := auth.AuthConfig({**stores}).get_credential_store(registry.host):
        is_hub = auth.resolve_index_name(registry.host) == auth.INDEX_NAME
        server = auth.INDEX_URL if is_hub else registry.host
        if (found := await _ask_helper(f"{HELPER}{store}", server)) != NO_LOGIN:
            return found
    entries: dict[str, Any] = {}
    written = content.get("auths")
    for key, entry in written.items() if isinstance(written, dict) else ():
        with contextlib.suppress(ValueError, TypeError):  # it may be another registry's
            entries.update(auth.parse_auth({key: entry}))
    for key in _keys(registry.address):
        if entry := entries.get(key):
            return Login.of_entry(entry)
    return Login.of_entry(auth.resolve_authconfig({"auths": entries}, registry.host) or {})


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unreadable(file, "it is not JSON") from error
    if not isinstance(content, dict):
        raise _unreadable(file, "it is not a map")
    return content


def _unreadable(file: Path, detail: str) -> RegistryError:
    remedy = "fix or remove it, or set docker.registry.username and password"
    return RegistryError(message("cannot read the list of logins", str(file), detail, remedy))


def _keys(address: str) -> Iterator[str]:
    """Give the address, then each path that contains it, down to the registry itself."""
    while address:
        yield address
        address = address.rpartition("/")[0]


async def _ask_helper(program: str, server: str) -> Login:
    """Return the login that a credential helper has for a server, or NO_LOGIN."""
    try:
        answer = await run.run(
            (program, "get"),
            timeout=HELPER_TIMEOUT,
            stdin=server.encode(),
            check=False,
            limit=REPLY_LIMIT,
        )
    except ProcessError as error:
        raise _helper_failed(program, server, error.last_lines(1)) from error
    if answer.code != 0:
        # The protocol has errors on stdout.
        if NOT_FOUND in answer.text:
            return NO_LOGIN
        reason = answer.text or answer.stderr_text or f"exit status {answer.code}"
        raise _helper_failed(program, server, printable(reason, 300))
    try:
        content = json.loads(answer.stdout)
        username, secret = str(content["Username"]), str(content["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise _helper_failed(program, server, "its answer is not a login") from error
    if username == TOKEN:
        return Login(token=secret)
    return Login(username=username, password=secret)


def _helper_failed(program: str, server: str, detail: str) -> RegistryError:
    remedy = f"log in to {server} again, or set docker.registry.username and password"
    return RegistryError(message("cannot read the login", server, f"{program}: {detail}", remedy))
