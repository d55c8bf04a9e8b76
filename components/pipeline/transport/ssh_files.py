"""The files and options of ssh: known_hosts, the login key, and how every connection is made.

Every connection verifies the host's pinned ed25519 key, ignores the user's configuration, shares
no other connection and times out by itself: a new handshake each time proves that network, sshd,
keys and sudo work (OpenSSH's ssh_config(5)).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..config.stack import Endpoint, HostSpec, Target
from ..process import files
from ..process.run import Argv

CONNECT_TIMEOUT = 5
"""Seconds for TCP connect and key exchange."""


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

    def nix_sshopts(self, host: HostSpec) -> str:
        """NIX_SSHOPTS: nix splits it at white space, which none of our options contains."""
        return " ".join(self.options(host))

    def pin(self, host: HostSpec, endpoint: Endpoint) -> None:
        """Write the known_hosts file of an instance, whose endpoint is known now."""
        write_private(Path(self.known_hosts_for(host)), _known_hosts_line(host, endpoint))


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


def _known_hosts_line(host: HostSpec, endpoint: Endpoint) -> str:
    return f"{host.name} {endpoint.host_key.line}\n"


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically, readable by its owner only."""
    files.replace(path, text, mode=0o600)
