"""A daemon on another machine: over ssh, through the Docker client there.

Docker's own client does the same with `ssh://` (`docker system dial-stdio` connects to the
daemon's socket); here with the ssh options of every connection to a host.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Self

from ...config.docker import Machine
from ...errors import (
    DockerError,
    DockerKeyError,
    DockerUnavailableError,
    HostKeyError,
    ProcessError,
    message,
)
from ...process.run import Argv
from ...transport.ssh_errors import SSH_FAILED, explain_closed, explain_refusal
from ...transport.ssh_files import SshFiles, ssh_files_in, write_private
from ...values import HostKey, InvalidValue

ALIAS: Final = "docker.host"
"""The machine's name in its known_hosts, and in messages: the config key."""
DIAL: Final = ("docker", "system", "dial-stdio")
NOT_FOUND: Final = 127
"""Exit code of a shell that cannot find the command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshEndpoint:
    """A daemon on another machine, and what a connection to it over ssh needs."""

    machine: Machine
    host_key: HostKey
    identity: SshFiles

    @classmethod
    def find(cls, host: str, folder: Path) -> Self:
        """Find the ssh files that the program has written into `folder` for this daemon.

        Raises:
            DockerError: there are none for this machine.
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
        """Return an error that says what a failure of `argv` means."""
        machine = self.machine
        where = f"{ALIAS} ({machine.user.text}@{machine.address.text}, port {machine.port})"
        last = error.last_lines(1)
        if error.remedy:
            what = "cannot reach the machine of Docker"
            return DockerError(message(what, where, last, error.remedy))
        remedy = "find out why it changed; only then put the new key into docker.hostKey"
        has_key = self.identity.key is not None
        if found := explain_refusal(error, where, self.host_key, remedy, has_key=has_key):
            kind = DockerKeyError if isinstance(found, HostKeyError) else DockerError
            return kind(str(found))
        if error.code in {None, SSH_FAILED}:
            last, more = explain_closed(error)
            remedy = f"check address, port, network and that sshd runs there{more}"
            text = message("cannot reach the machine of Docker", where, last, remedy)
            return DockerUnavailableError(text)
        if error.code == NOT_FOUND:
            remedy = "install it there, on the PATH of commands over ssh"
            return DockerError(message("no Docker client", where, last, remedy))
        if "permission denied" in last:
            remedy = f"let {machine.user.text} use Docker there, for example with the group docker"
            return DockerError(message("no permission to use Docker", where, last, remedy))
        remedy = "check that dockerd runs there"
        return DockerUnavailableError(message("cannot reach Docker", where, last, remedy))


def options(machine: Machine, identity: SshFiles) -> Argv:
    """Return the options of ssh; paths are relative to the program, as resource inputs are."""
    return identity.options_to(ALIAS, machine.port, _pins_of(machine, identity))


def pin(host: str, host_key: HostKey | None, identity: SshFiles) -> None:
    """Write the known_hosts of a daemon's machine, if it is reached over ssh."""
    if host_key is not None:
        pins = _pins_of(Machine.parse(host), identity)
        write_private(Path(pins), f"{ALIAS} {host_key.line}\n")


def _pins_of(machine: Machine, identity: SshFiles) -> PurePosixPath:
    """Return a known_hosts per machine: what runs on the previous one is still to be removed."""
    name = f"docker-{machine.address.canonical}-{machine.port}"
    return identity.known_hosts.with_name(name)
