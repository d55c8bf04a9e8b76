"""A machine with a Docker client that leads to a daemon: an sshd of the test's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from components.pipeline import transport
from components.pipeline.docker import remote
from components.pipeline.docker.machine import Machine
from components.pipeline.grammar import HostKey
from tests.contract.sshd import Sshd, make_key, public_key

if TYPE_CHECKING:
    from pathlib import Path

NOTHING: Final = "/nonexistent"


@dataclass(frozen=True, slots=True, kw_only=True)
class FarDocker:
    """Used as `with FarDocker.start(folder, daemon) as far`."""

    server: Sshd
    folder: Path
    """What the program has written for ssh."""

    @classmethod
    def start(cls, folder: Path, daemon: str, *, path: str = "", files: Path | None = None) -> Self:
        """Start it; `path` is the PATH of who logs in, `files` where the files of ssh go."""
        variables = f"DOCKER_HOST={daemon}" + (f" PATH={path}" if path else "")
        # No more at a time than sshd takes unless it is told otherwise.
        options = (f"SetEnv {variables}", "MaxStartups 10:30:100")
        server = Sshd.start(folder / "sshd", options=options)
        far = cls(server=server, folder=files or folder / "ssh")
        far.write()
        return far

    def write(self, *, key: str | None = None, host_key: str | None = None) -> None:
        """What the program writes before all else."""
        identity = transport.write_identity(self.folder, (), key or self.server.client_key_text)
        remote.pin(self.host, HostKey.parse(host_key or self.server.host_key_line), identity)

    @property
    def host(self) -> str:
        """As the config has it."""
        return Machine.parse(f"ssh://{self.server.user}@127.0.0.1:{self.server.port}").url

    @property
    def where(self) -> str:
        """As messages have it."""
        return f"docker.host ({self.server.user}@127.0.0.1, port {self.server.port})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()


def another_key(folder: Path) -> str:
    """The public half of a key that is nobody's."""
    return public_key(make_key(folder / "another"))
