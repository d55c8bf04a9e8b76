"""Hosts over ssh; the only place that spells out ssh's options.

Every connection verifies the host's pinned ed25519 key, ignores the user's configuration, shares
no other connection and times out by itself: a new handshake each time proves that network, sshd,
keys and sudo work (OpenSSH's ssh_config(5)).
"""

import os
import shlex
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from ..config.stack import Endpoint, HostSpec, Target
from ..errors import HostError, ProcessError, UnreachableError, message
from ..process.run import Argv
from ..values import StorePath
from .ssh_errors import explain_refusal
from .transport import Store, copy_argv

PLAIN_NIX: Argv = ("nix", "--extra-experimental-features", "nix-command")
CONNECT_TIMEOUT = 5
"""Seconds for TCP connect and key exchange."""
SSH_FAILED = 255
"""Exit code of ssh when ssh itself failed, not the remote command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshFiles:
    """The files that ssh needs, relative to the program's folder.

    Relative because they are inputs of resources: the same stack in another folder, or run by
    another user, must show no changes.
    """

    known_hosts: PurePosixPath
    key: PurePosixPath | None

    def known_hosts_for(self, host: HostSpec) -> PurePosixPath:
        """The known_hosts file of a host.

        An instance has its own, written once its key is known. The file of all other hosts is
        rewritten by every run, even by a preview during an `up` that creates instances.
        """
        if host.target is Target.SSH:
            return self.known_hosts
        return self.known_hosts.with_name(f"known_hosts-{host.name}")

    def options(self, host: HostSpec) -> Argv:
        """The options of every ssh process to a host, whether we or nix start it."""
        return self.options_to(host.name, host.port, self.known_hosts_for(host))

    def options_to(self, alias: str, port: int, known_hosts: PurePosixPath) -> Argv:
        """The options of every ssh process to `alias`, whose key is in `known_hosts`."""
        key = () if self.key is None else ("-i", str(self.key), "-o", "IdentitiesOnly=yes")
        return (
            "-F", "none",
            "-o", "ControlMaster=no",
            "-o", "ControlPath=none",
            "-o", "BatchMode=yes",
            "-o", f"ConnectTimeout={CONNECT_TIMEOUT}",
            "-o", "ServerAliveInterval=5",
            "-o", "ServerAliveCountMax=3",
            "-o", "StrictHostKeyChecking=yes",
            "-o", f"UserKnownHostsFile={known_hosts}",
            "-o", "GlobalKnownHostsFile=/dev/null",
            "-o", f"HostKeyAlias={alias}",
            "-o", "HostKeyAlgorithms=ssh-ed25519",
            # The default key exchange of OpenSSH 9.0 to 9.8 costs each side 0.15 s of CPU. Later
            # versions have a fast one that is post-quantum secure as well.
            "-o", "KexAlgorithms=-sntrup761*",
            "-o", "CheckHostIP=no",
            "-o", "UpdateHostKeys=no",
            "-o", "ForwardAgent=no",
            "-o", "LogLevel=ERROR",
            "-p", str(port),
            *key,
        )  # fmt: skip


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
        return nix_sshopts(self.host, self.files)


def nix_sshopts(host: HostSpec, files: SshFiles) -> str:
    """NIX_SSHOPTS: nix splits it at white space, which none of our options contains."""
    return " ".join(files.options(host))


def folder_of(stack: str) -> Path:
    """The private folder of a stack's ssh files, relative to the program's."""
    return Path(".flakeup", stack, "ssh")


def write_ssh_files(folder: Path, hosts: Iterable[HostSpec], key: str | None) -> SshFiles:
    """Write known_hosts and, if the config has one, the ssh key into `folder`.

    The folder gets mode 0700, the key 0600. Both files are replaced by renaming, since a preview
    may run during an `up` of the same stack. `folder` is relative to the program's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    known = [(host, host.endpoint) for host in hosts if host.endpoint]
    lines = "".join(_known_hosts_line(host, at) for host, at in known if host.target is Target.SSH)
    write_private(folder / "known_hosts", lines)
    if key is None:
        (folder / "key").unlink(missing_ok=True)
    else:
        write_private(folder / "key", key.rstrip("\n") + "\n")
    return ssh_files_in(folder)


def ssh_files_in(folder: Path) -> SshFiles:
    """The files that the program's last run wrote into the stack's folder."""
    key = folder / "key"
    return SshFiles(
        known_hosts=PurePosixPath(folder / "known_hosts"),
        key=PurePosixPath(key) if key.exists() else None,
    )


def pin(files: SshFiles, host: HostSpec, endpoint: Endpoint) -> Ssh:
    """Write the known_hosts file of an instance, whose endpoint is known now."""
    write_private(Path(files.known_hosts_for(host)), _known_hosts_line(host, endpoint))
    return Ssh(host=host, endpoint=endpoint, files=files)


def _known_hosts_line(host: HostSpec, endpoint: Endpoint) -> str:
    return f"{host.name} {endpoint.host_key.line}\n"


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically, readable by its owner only."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def explain(ssh: Ssh, error: ProcessError) -> HostError:
    """The error for a failure of ssh: host key, login, sudo or network."""
    host, at = ssh.host, ssh.endpoint
    where = f"{host.name} ({host.user.text}@{at.address.text}, port {host.port})"
    last = error.last_lines(1)
    remedy = "find out why it changed; only then put the new key into hosts' hostKey"
    if host.target is Target.INCUS:
        remedy = "find out why it changed; then `pulumi refresh` reads it again through Incus"
    if found := explain_refusal(
        error, where, at.host_key, remedy, has_key=ssh.files.key is not None
    ):
        return found
    if "sudo:" in error.detail:
        remedy = f"let {host.user.text} use sudo without a password (NOPASSWD: ALL)"
        return HostError(message("sudo was refused", where, last, remedy))
    if error.code not in {None, SSH_FAILED}:
        remedy = "look at it: a full disk, its PATH, the login shell"
        return HostError(message("the host could not run the command", where, last, remedy))
    remedy = "check address, port, network and that sshd runs"
    return UnreachableError(message("cannot reach the host", where, last, remedy))
