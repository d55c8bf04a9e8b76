"""A Docker daemon that is reached over ssh: an sshd whose Docker client connects to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from components.pipeline.config.docker import Machine
from components.pipeline.targets.docker import remote
from components.pipeline.transport import ssh_files
from components.pipeline.values import HostKey
from harness.daemons.sshd import Sshd, make_key, public_key

if TYPE_CHECKING:
    from pathlib import Path

NOTHING: Final = "/nonexistent"


@dataclass(frozen=True, slots=True, kw_only=True)
class FarDocker:
    """Used as `with FarDocker.start(folder, daemon) as far`."""

    server: Sshd
    folder: Path
    """The program's ssh files."""

    @classmethod
    def start(cls, folder: Path, daemon: str, *, path: str = "", files: Path | None = None) -> Self:
        """Start it; `path` is the PATH of logins, `files` the folder of the ssh files."""
        server = machine(folder / "sshd", daemon, path=path)
        far = cls(server=server, folder=files or folder / "ssh")
        far.write()
        return far

    def write(self, *, key: str | None = None, host_key: str | None = None) -> None:
        """Write the ssh files, as the program does first."""
        identity = ssh_files.write_ssh_files(self.folder, (), key or self.server.client_key_text)
        remote.pin(self.host, HostKey.parse(host_key or self.server.host_key_line), identity)

    @property
    def host(self) -> str:
        """As in the config."""
        return host_of(self.server)

    @property
    def where(self) -> str:
        """As in messages."""
        return where(self.server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()


def machine(folder: Path, daemon: str, *, path: str = "", port: int = 0) -> Sshd:
    """Start an sshd with common limits, whose logins use `daemon` as their DOCKER_HOST."""
    variables = f"DOCKER_HOST={daemon}" + (f" PATH={path}" if path else "")
    options = (f"SetEnv {variables}", "MaxStartups 10:30:100")
    return Sshd.start(folder, port=port, options=options)


def host_of(server: Sshd) -> str:
    """As in the config."""
    return Machine.parse(f"ssh://{server.user}@127.0.0.1:{server.port}").url


def where(server: Sshd) -> str:
    """As in messages."""
    return f"docker.host ({server.user}@127.0.0.1, port {server.port})"


def another_key(folder: Path) -> str:
    """The public half of a new key."""
    return public_key(make_key(folder / "another"))
