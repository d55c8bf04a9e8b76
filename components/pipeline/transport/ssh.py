"""How a host is reached; over ssh, whose options are spelt here and nowhere else.

Every connection verifies the host's pinned ed25519 key, reads no configuration of the user's,
shares no connection with another one, and gives up on its own: a new handshake each time is
what proves that network, sshd, keys and sudo work (OpenSSH's ssh_config(5)).
"""

import os
import shlex
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import quote

from ..config.stack import Endpoint, HostSpec, Target
from ..errors import HostError, ProcessError, UnreachableError, message
from ..process.run import Argv
from ..values import StorePath
from .ssh_errors import refused

PLAIN_NIX: Argv = ("nix", "--extra-experimental-features", "nix-command")
CONNECT_TIMEOUT = 5
"""Seconds for TCP connect and key exchange."""
SSH_FAILED = 255
"""Exit code of ssh where it, and not the remote command, has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshFiles:
    """The files ssh needs, named relative to the program's folder.

    Relative, because the names are inputs of resources: the same stack in another folder, or
    run by somebody else, must show no change.
    """

    known_hosts: PurePosixPath
    key: PurePosixPath | None

    def known_hosts_for(self, host: HostSpec) -> PurePosixPath:
        """The known_hosts file of a host.

        An instance has one of its own, which is written when its key is known; the others' file
        is written again by each run, also by a preview beside an `up` that makes instances.
        """
        if host.target is Target.SSH:
            return self.known_hosts
        return self.known_hosts.with_name(f"known_hosts-{host.name}")

    def options(self, host: HostSpec) -> Argv:
        """The options of each ssh process to a host, ours and those that nix starts."""
        return self.options_to(host.name, host.port, self.known_hosts_for(host))

    def options_to(self, alias: str, port: int, pins: PurePosixPath) -> Argv:
        """The options of each ssh process: `pins` is where `alias` has its key."""
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
            "-o", f"UserKnownHostsFile={pins}",
            "-o", "GlobalKnownHostsFile=/dev/null",
            "-o", f"HostKeyAlias={alias}",
            "-o", "HostKeyAlgorithms=ssh-ed25519",
            # The key exchange of OpenSSH 9.0 to 9.8 costs each side 0.15 s of a core. Later ones
            # have a fast one that is as safe from the quantum computers of the future.
            "-o", "KexAlgorithms=-sntrup761*",
            "-o", "CheckHostIP=no",
            "-o", "UpdateHostKeys=no",
            "-o", "ForwardAgent=no",
            "-o", "LogLevel=ERROR",
            "-p", str(port),
            *key,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A store as `nix copy --to` is given it."""

    url: str
    environment: Mapping[str, str] = field(default_factory=dict)


class Transport(Protocol):
    """A way to a host: commands there as root, and its store."""

    @property
    def host(self) -> HostSpec:
        """Who is at its end."""

    @property
    def address(self) -> str:
        """Where the host is, for checks over the network; empty where nothing leads there."""

    def argv(self, *remote: str) -> Argv:
        """The local command that runs `remote` on the host as root."""

    def explain(self, error: ProcessError) -> HostError:
        """What a failure of such a command means for the person who reads it."""

    def is_transport_failure(self, code: int | None) -> bool:
        """Whether an exit code is the transport's, and not the remote command's."""

    def store(self) -> AbstractAsyncContextManager[Store]:
        """The host's store, for the time of a copy to it."""

    def copy_text(self, build: StorePath, out: StorePath) -> str:
        """A command of a shell that builds and copies a closure to the host."""

    def copied_marker(self, out: StorePath) -> PurePosixPath:
        """The file that says, within one run, that `out` has been copied to the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """One host over ssh, as root or through passwordless sudo."""

    host: HostSpec
    endpoint: Endpoint
    identity: SshFiles

    @classmethod
    def of(cls, host: HostSpec, identity: SshFiles) -> "Ssh":
        """A host whose place is known.

        Raises:
            ValueError: it is an instance that has not said it yet.
        """
        if host.endpoint is None:
            msg = f"{host.name} has no address yet"
            raise ValueError(msg)
        return cls(host=host, endpoint=host.endpoint, identity=identity)

    @property
    def is_root(self) -> bool:
        """Whether the login user is root, so that no sudo is needed."""
        return self.host.is_root

    def argv(self, *remote: str) -> Argv:
        """The local command that runs `remote` on the host as root.

        The login shell splits what ssh sends, so each word is quoted for it.
        """
        return (
            "ssh",
            "-T",
            *self.identity.options(self.host),
            "-l", self.host.user.text,
            "--",
            self.endpoint.address.text,
            self.as_root(*remote),
        )  # fmt: skip

    def as_root(self, *remote: str) -> str:
        """The text that the login shell is given."""
        return shlex.join(remote if self.is_root else ("sudo", "-n", "--", *remote))

    @property
    def store_url(self) -> str:
        """The host's store, for `nix copy --to`.

        The remote side runs through sudo where the user is not root, so that no host needs to
        trust unsigned paths from a login user.
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

    def copy_text(self, build: StorePath, out: StorePath) -> str:
        """`nix copy`, which builds what this machine's store lacks."""
        del out
        return f"exec {shlex.join(self.copy_argv(build))}"

    def copy_argv(self, build: StorePath) -> Argv:
        """`nix copy` to the host, with NIX_SSHOPTS in the environment."""
        return (*PLAIN_NIX, *copy_argv(self.host, self.store_url, build))

    def explain(self, error: ProcessError) -> HostError:
        """What an ssh failure means: key, login, sudo or network."""
        return explain(self, error)

    def is_transport_failure(self, code: int | None) -> bool:
        """Whether ssh has failed, or was ended."""
        return code in (None, SSH_FAILED)

    def copied_marker(self, out: StorePath) -> PurePosixPath:
        """The file that says, within one run, that `out` has been copied to the host."""
        return self.identity.known_hosts.with_name(f"copied-{self.host.name}-{out.digest}")

    @property
    def nix_sshopts(self) -> str:
        """NIX_SSHOPTS for nix's own connections to the host."""
        return nix_sshopts(self.host, self.identity)


def copy_argv(host: HostSpec, url: str, build: StorePath) -> Argv:
    """`nix copy` of what a derivation builds to a store.

    Unsigned paths may pass: the way is authenticated, and leads to root's rights; what the host
    fetches from a cache must be signed as ever.
    """
    substitute = ("--substitute-on-destination",) if host.substitute else ()
    return ("copy", "--no-check-sigs", *substitute, "--to", url, "--", f"{build.path}^out")


def nix_sshopts(host: HostSpec, identity: SshFiles) -> str:
    """NIX_SSHOPTS: nix splits it at white space, and none of our options has any."""
    return " ".join(identity.options(host))


def folder_of(stack: str) -> Path:
    """The private folder of a stack's ssh files, relative to the program's."""
    return Path(".flakeup", stack, "ssh")


def write_ssh_files(folder: Path, hosts: Iterable[HostSpec], key: str | None) -> SshFiles:
    """Write known_hosts and, where the config has one, the ssh key, into `folder`.

    The folder is private (0700) and the key 0600; both are replaced by renaming, since a
    preview may run beside an `up` of the same stack. `folder` is relative to the program's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    placed = [(host, host.endpoint) for host in hosts if host.endpoint]
    pins = "".join(_pin(host, at) for host, at in placed if host.target is Target.SSH)
    write_private(folder / "known_hosts", pins)
    if key is None:
        (folder / "key").unlink(missing_ok=True)
    else:
        write_private(folder / "key", key.rstrip("\n") + "\n")
    return ssh_files_in(folder)


def ssh_files_in(folder: Path) -> SshFiles:
    """What the last run of the program has written into the stack's folder."""
    key = folder / "key"
    return SshFiles(
        known_hosts=PurePosixPath(folder / "known_hosts"),
        key=PurePosixPath(key) if key.exists() else None,
    )


def pin(identity: SshFiles, host: HostSpec, endpoint: Endpoint) -> Ssh:
    """Write down the key of an instance, which has just been told; gives the way to it."""
    write_private(Path(identity.known_hosts_for(host)), _pin(host, endpoint))
    return Ssh(host=host, endpoint=endpoint, identity=identity)


def _pin(host: HostSpec, endpoint: Endpoint) -> str:
    return f"{host.name} {endpoint.host_key.line}\n"


def write_private(path: Path, text: str) -> None:
    """Replace a file of ssh's in one step: nobody reads half of it, and nobody else reads it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def explain(ssh: Ssh, error: ProcessError) -> HostError:
    """What an ssh failure means for the person who reads it: key, login, sudo or network."""
    host, at = ssh.host, ssh.endpoint
    where = f"{host.name} ({host.user.text}@{at.address.text}, port {host.port})"
    last = error.last_lines(1)
    remedy = "find out why it changed; only then put the new key into hosts' hostKey"
    if host.target is Target.INCUS:
        remedy = "find out why it changed; then `pulumi refresh` reads it anew through Incus"
    if found := refused(error, where, at.host_key, remedy, has_key=ssh.identity.key is not None):
        return found
    if "sudo:" in error.detail:
        remedy = f"let {host.user.text} use sudo without a password (NOPASSWD: ALL)"
        return HostError(message("sudo was refused", where, last, remedy))
    if error.code not in {None, SSH_FAILED}:
        remedy = "look at it: a full disk, its PATH, the login shell"
        return HostError(message("the host could not run the command", where, last, remedy))
    remedy = "check address, port, network and that sshd runs"
    return UnreachableError(message("cannot reach the host", where, last, remedy))
