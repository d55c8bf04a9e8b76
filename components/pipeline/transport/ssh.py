"""Hosts over ssh, as root or through passwordless sudo."""

import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote

from ..config.stack import Endpoint, HostSpec, Target
from ..errors import HostError, ProcessError, UnreachableError, message
from ..process.run import Argv
from ..values import StorePath
from .ssh_errors import SSH_FAILED, explain_closed, explain_jump, explain_refusal
from .ssh_files import SshFiles
from .transport import Store, copy_argv

PLAIN_NIX: Argv = ("nix", "--extra-experimental-features", "nix-command")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """One host over ssh, as root or through passwordless sudo."""

    host: HostSpec
    endpoint: Endpoint
    files: SshFiles

    @classmethod
    def of(cls, host: HostSpec, files: SshFiles) -> "Ssh":
        """A host whose address and key are in the config.

        Raises:
            ValueError: it is an instance, whose address is not known yet.
        """
        if host.endpoint is None:
            msg = f"{host.name} has no address yet"
            raise ValueError(msg)
        return cls(host=host, endpoint=host.endpoint, files=files)

    @property
    def is_root(self) -> bool:
        """Whether the login user is root, so that no sudo is needed."""
        return self.host.is_root

    def argv(self, *remote: str) -> Argv:
        """The local command that runs `remote` on the host as root.

        The login shell splits what ssh sends, so each argument is quoted.
        """
        return (
            "ssh",
            "-T",
            *self.files.options(self.host),
            "-l", self.host.user.text,
            "--",
            self.endpoint.address.text,
            self.as_root(*remote),
        )  # fmt: skip

    def as_root(self, *remote: str) -> str:
        """The command line for the login shell."""
        return shlex.join(remote if self.is_root else ("sudo", "-n", "--", *remote))

    @property
    def store_url(self) -> str:
        """The URL of the host's store, for `nix copy --to`.

        The remote daemon runs through sudo unless the user is root, so no host has to trust
        unsigned paths from a login user.
        """
        address = self.endpoint.address.text
        bracketed = f"[{address}]" if ":" in address else address
        program = "" if self.is_root else "?remote-program=" + quote("sudo -n nix-daemon")
        return f"ssh-ng://{self.host.user.text}@{bracketed}{program}"

    @property
    def address(self) -> str:
        """Where its sshd listens."""
        return self.endpoint.address.text

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The host's store, over ssh connections that nix makes itself."""
        yield Store(url=self.store_url, environment={"NIX_SSHOPTS": self.nix_sshopts})

    def copy_command(self, build: StorePath, out: StorePath) -> str:
        """`nix copy`, which also builds what this machine's store lacks."""
        del out
        return f"exec {shlex.join(self.copy_argv(build))}"

    def copy_argv(self, build: StorePath) -> Argv:
        """`nix copy` to the host, with NIX_SSHOPTS in the environment."""
        return (*PLAIN_NIX, *copy_argv(self.host, self.store_url, build))

    def explain(self, error: ProcessError) -> HostError:
        """The error for a failure of ssh: host key, login, sudo or network."""
        return explain(self, error)

    def is_transport_failure(self, code: int | None) -> bool:
        """Whether ssh itself failed or was terminated."""
        return code in (None, SSH_FAILED)

    def copied_marker(self, out: StorePath) -> PurePosixPath:
        """The file whose presence means that this run has copied `out` to the host."""
        return self.files.known_hosts.with_name(f"copied-{self.host.name}-{out.digest}")

    @property
    def nix_sshopts(self) -> str:
        """NIX_SSHOPTS for nix's own connections to the host."""
        return self.files.nix_sshopts(self.host)


def pin(files: SshFiles, host: HostSpec, endpoint: Endpoint) -> Ssh:
    """Ssh to an instance, whose endpoint is known now and written to its known_hosts file."""
    files.pin(host, endpoint)
    return Ssh(host=host, endpoint=endpoint, files=files)


def explain(ssh: Ssh, error: ProcessError) -> HostError:
    """The error for a failure of ssh: host key, login, sudo or network."""
    host, at = ssh.host, ssh.endpoint
    has_key = ssh.files.key is not None
    if error.code == SSH_FAILED and (found := explain_jump(host, error, has_key=has_key)):
        return found
    way = " and ".join(jump.name for jump in host.proxy_jump)
    through = f", through {way}" if way else ""
    where = f"{host.name} ({host.user.text}@{at.address.text}, port {host.port}{through})"
    last = error.last_lines(1)
    if error.remedy:
        return HostError(message("cannot reach the host", where, last, error.remedy))
    remedy = "find out why it changed; only then put the new key into hosts' hostKey"
    if host.target is Target.INCUS:
        remedy = "find out why it changed; then `pulumi refresh` reads it again through Incus"
    if found := explain_refusal(error, where, at.host_key, remedy, has_key=has_key):
        return found
    if "sudo:" in error.detail:
        remedy = f"let {host.user.text} use sudo without a password (NOPASSWD: ALL)"
        return HostError(message("sudo was refused", where, last, remedy))
    if error.code not in {None, SSH_FAILED}:
        remedy = "check it: a full disk, its PATH, the login shell"
        return HostError(message("the host could not run the command", where, last, remedy))
    last, more = explain_closed(error)
    remedy = f"check address, port, network and that sshd runs{more}"
    return UnreachableError(message("cannot reach the host", where, last, remedy))
