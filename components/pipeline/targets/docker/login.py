"""A login to a registry: the config's, or the one that the user has on this machine.

skopeo finds the user's by itself; a daemon has none of its own, and is told it with each pull. So
the same files are read here in the same order (containers-auth.json(5)).
"""

import base64
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from ...config.registry import Registry
from ...errors import ProcessError, RegistryError, message
from ...process import run
from ...process.run import Argv

HELPER_TIMEOUT: Final = 30.0
DOCKER_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
HELPER: Final = "docker-credential-"
TOKEN: Final = "<token>"  # noqa: S105 what a helper says in place of a user's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user and a password, or a token that stands for both."""

    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def decoded(cls, entry: Any) -> Self | None:
        """An entry of `auths`; None where it says nothing, as where a helper keeps it."""
        if not isinstance(entry, dict):
            return None
        with contextlib.suppress(ValueError, TypeError):
            plain = base64.b64decode(entry.get("auth") or "").decode()
            username, _, password = plain.partition(":")
            token = str(entry.get("identitytoken") or "")
            if (username and password) or token:
                return cls(username=username, password=password.strip("\0"), token=token)
        return None

    def header(self, host: str) -> str:
        """As a daemon is told it: `X-Registry-Auth`."""
        said = {"username": self.username, "password": self.password, "serveraddress": host}
        if self.token:
            said = {"identitytoken": self.token, "serveraddress": host}
        return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()


NOBODY: Final = Login()


@contextlib.contextmanager
def auth_file(registry: Registry) -> Iterator[Argv]:
    """The words that tell skopeo the login of the config; none where it finds one itself."""
    if not registry.username:
        yield ()
        return
    plain = f"{registry.username}:{registry.password}".encode()
    entry = {"auth": base64.b64encode(plain).decode()}
    with tempfile.TemporaryDirectory(prefix="flakeup-login-") as folder:
        file = Path(folder) / "auth.json"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            json.dump({"auths": {registry.host: entry}}, opened)
        yield ("--authfile", str(file))


async def find(registry: Registry) -> Login:
    """The login for a pull: the config's, else the user's, else nobody's.

    Raises:
        RegistryError: a file of logins, or a helper that it names, is of no use.
    """
    if registry.username:
        return Login(username=registry.username, password=registry.password)
    for file in files():
        if found := await _in_file(file, registry):
            return found
    return NOBODY


def files() -> tuple[Path, ...]:
    """Where `skopeo login` and `docker login` keep their logins, in the order that skopeo looks."""
    home, asked = Path.home(), os.environ.get
    own = asked("REGISTRY_AUTH_FILE")
    runtime = asked("XDG_RUNTIME_DIR")
    at_runtime = Path(runtime) if runtime else Path(f"/run/containers/{os.getuid()}")
    sub = "containers/auth.json" if runtime else "auth.json"
    return (
        Path(own) if own else at_runtime / sub,
        Path(asked("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json",
        Path(asked("DOCKER_CONFIG") or home / ".docker") / "config.json",
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        said = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unusable(file, "it cannot be read as JSON") from error
    if not isinstance(said, dict):
        raise _unusable(file, "it is no map")
    return said


async def _in_file(file: Path, registry: Registry) -> Login | None:
    said = _read(file)
    helpers, entries = said.get("credHelpers") or {}, said.get("auths") or {}
    if isinstance(helpers, dict) and registry.host in helpers:
        return await _helped(str(helpers[registry.host]), registry.host)
    if not isinstance(entries, dict):
        return None
    for key in _keys(registry.address):
        if found := Login.decoded(entries.get(key)):
            return found
    for key, entry in entries.items():
        if _normal(key) == _normal(registry.host) and (found := Login.decoded(entry)):
            return found
    return None


def _keys(address: str) -> Iterator[str]:
    """The address, and what it is in, up to the registry itself."""
    while address:
        yield address
        address = address.rpartition("/")[0]


def _normal(key: str) -> str:
    """The host of a key; `docker login` once wrote URLs, and still does so for Docker Hub."""
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return "docker.io" if host in DOCKER_HUB else host


async def _helped(name: str, host: str) -> Login:
    """What a credential helper says (docker-credential-helpers' protocol)."""
    argv = (f"{HELPER}{name}", "get")
    try:
        answer = await run.run(argv, timeout=HELPER_TIMEOUT, stdin=host.encode())
        said = json.loads(answer.stdout)
        username, secret = str(said["Username"]), str(said["Secret"])
    except ProcessError as error:
        detail = f"{argv[0]}: {error.last_lines(1)}"
        raise RegistryError(message("no login", host, detail, f"log in to {host} again")) from error
    except (ValueError, KeyError, TypeError) as error:
        detail = f"{argv[0]} has answered something else than a login"
        raise RegistryError(message("no login", host, detail, f"log in to {host} again")) from error
    return Login(token=secret) if username == TOKEN else Login(username=username, password=secret)


def _unusable(file: Path, detail: str) -> RegistryError:
    remedy = "mend or remove it, or set docker.registry.username and password"
    return RegistryError(message("no list of logins", str(file), detail, remedy))
