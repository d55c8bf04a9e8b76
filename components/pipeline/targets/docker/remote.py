"""A daemon on another machine: over ssh, through the Docker client there.

It is what Docker's own client does with `ssh://` (`docker system dial-stdio` leads to the daemon's
socket), with the options that every connection to a host has too.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Self

from ...config.docker import Machine
from ...errors import (
    DockerAwayError,
    DockerError,
    DockerKeyError,
    HostKeyError,
    ProcessError,
    message,
)
from ...process.run import Argv
from ...transport.ssh import SSH_FAILED, SshFiles, ssh_files_in, write_private
from ...transport.ssh_errors import explain_refusal
from ...values import HostKey, InvalidValue

ALIAS: Final = "docker.host"
"""The machine's name in its known_hosts, and in messages: the key of the config."""
DIAL: Final = ("docker", "system", "dial-stdio")
NOT_FOUND: Final = 127
"""Exit code of a shell that does not find the command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """The way to a daemon over ssh."""

    machine: Machine
    host_key: HostKey
    identity: SshFiles

    @classmethod
    def find(cls, host: str, folder: Path) -> Self:
        """The way to a daemon with the files that the program has written into `folder`.

        Raises:
            DockerError: it has written none for this machine.
        """
        machine, identity = Machine.parse(host), ssh_files_in(folder)
        pins = Path(_pins_of(machine, identity))
        try:
            host_key = HostKey.parse(pins.read_text().removeprefix(f"{ALIAS} "))
        except (OSError, InvalidValue):
            remedy = "run `pulumi preview` here first, with this address as docker.host"
            where = f"{ALIAS} ({machine.url})"
            raise DockerError(message("no pinned key", where, f"not in {pins}", remedy)) from None
        return cls(machine=machine, host_key=host_key, identity=identity)

    @property
    def argv(self) -> Argv:
        """The local command whose stdin and stdout are a connection to the daemon."""
        machine = self.machine
        return (
            "ssh",
            "-T",
            *options(machine, self.identity),
            "-l", machine.user.text,
            "--",
            machine.address.text,
            shlex.join(DIAL),
        )  # fmt: skip

    def explain(self, error: ProcessError) -> DockerError:
        """What a failure of that command means for the person who reads it."""
        machine = self.machine
        where = f"{ALIAS} ({machine.user.text}@{machine.address.text}, port {machine.port})"
        last = error.last_lines(1)
        remedy = "find out why it changed; only then put the new key into docker.hostKey"
        has_key = self.identity.key is not None
        if found := explain_refusal(error, where, self.host_key, remedy, has_key=has_key):
            kind = DockerKeyError if isinstance(found, HostKeyError) else DockerError
            return kind(str(found))
        if error.code in {None, SSH_FAILED}:
            remedy = "check address, port, network and that sshd runs there"
            return DockerAwayError(message("cannot reach Docker's machine", where, last, remedy))
        if error.code == NOT_FOUND:
            remedy = "install it there, where a command over ssh finds it on its PATH"
            return DockerError(message("no Docker client", where, last, remedy))
        if "permission denied" in last:
            remedy = f"let {machine.user.text} use Docker there, such as by the group docker"
            return DockerError(message("Docker is not allowed", where, last, remedy))
        remedy = "check that dockerd runs there"
        return DockerAwayError(message("cannot reach Docker", where, last, remedy))


def options(machine: Machine, identity: SshFiles) -> Argv:
    """The options of ssh, with files relative to the program's folder: inputs of a resource."""
    return identity.options_to(ALIAS, machine.port, _pins_of(machine, identity))


def pin(host: str, host_key: HostKey | None, identity: SshFiles) -> None:
    """Write down the key of a daemon's machine, where it is reached over ssh."""
    if host_key is not None:
        pins = _pins_of(Machine.parse(host), identity)
        write_private(Path(pins), f"{ALIAS} {host_key.line}\n")


def _pins_of(machine: Machine, identity: SshFiles) -> PurePosixPath:
    """A known_hosts of its own: where another machine comes, what was on this one has to go."""
    name = f"docker-{machine.address.canonical}-{machine.port}"
    return identity.known_hosts.with_name(name)
