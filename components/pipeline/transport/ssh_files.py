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

FOLDER = ".flakeup"
"""The program's own folder in the project: files of ssh, by stack."""
CONNECT_TIMEOUT = 5
"""Seconds for TCP connect and key exchange; behind jumps, for those of each of them too."""
Pairs = tuple[tuple[str, str], ...]
"""Options of ssh, as ssh_config(5) names them, and their values."""


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
        """The options of every ssh process to a host, whether we or nix start it.

        With jumps they are in a file: ssh passes no option on to the ssh of a jump but `-F`.
        """
        if host.proxy_jump:
            return ("-F", str(self.config_for(host)))
        return self.options_to(host.name, host.port, self.known_hosts_for(host))

    def options_to(self, alias: str, port: int, known_hosts: PurePosixPath) -> Argv:
        """The options of every ssh process to `alias`, whose key is in `known_hosts`."""
        pairs = _options(alias, known_hosts, CONNECT_TIMEOUT)
        options = (word for name, value in pairs for word in ("-o", f"{name}={value}"))
        key = () if self.key is None else ("-i", str(self.key), "-o", "IdentitiesOnly=yes")
        return ("-F", "none", *options, "-p", str(port), *key)

    def config_for(self, host: HostSpec) -> PurePosixPath:
        """The ssh_config of a host with jumps, which `write_ssh_files` writes."""
        return self.known_hosts.with_name(f"ssh_config-{host.name}")

    def jump_keys_for(self, host: HostSpec) -> PurePosixPath:
        """The known_hosts file of a host's jumps."""
        return self.known_hosts.with_name(f"jump_keys-{host.name}")

    def config(self, host: HostSpec) -> str:
        """The text of a host's ssh_config(5).

        Each jump has a block with all options of a connection, and the host has one: no address
        has the `_` of a jump's name. A machine behind others waits longer than they do, so the one
        that does not answer is the one that says so.
        """
        blocks, jump_keys = [], self.jump_keys_for(host)
        for number, jump in enumerate(host.proxy_jump, 1):
            at = (("HostName", jump.address.text), ("User", jump.user.text))
            pairs = self._pairs(_alias(number), jump.port, jump_keys, number - 1)
            blocks.append(_block(_alias(number), (*at, *pairs)))
        jumps = len(host.proxy_jump)
        pairs = self._pairs(host.name, host.port, self.known_hosts_for(host), jumps)
        blocks.append(_block(f"* !{_alias('*')}", pairs))
        return "\n".join(blocks)

    def _pairs(self, alias: str, port: int, known_hosts: PurePosixPath, jumps: int) -> Pairs:
        """The options of a connection behind so many jumps."""
        key = (("IdentityFile", str(self.key)), ("IdentitiesOnly", "yes")) if self.key else ()
        return (
            ("ProxyJump", _alias(jumps) if jumps else "none"),
            ("Port", str(port)),
            *key,
            *_options(alias, known_hosts, CONNECT_TIMEOUT * (jumps + 1)),
        )

    def write_jumps(self, host: HostSpec) -> None:
        """Write the files of a host's jumps, if it has any."""
        if host.proxy_jump:
            keys = (jump.host_key.line for jump in host.proxy_jump)
            lines = "".join(f"{_alias(number)} {key}\n" for number, key in enumerate(keys, 1))
            write_private(Path(self.jump_keys_for(host)), lines)
            write_private(Path(self.config_for(host)), self.config(host))

    def nix_sshopts(self, host: HostSpec) -> str:
        """NIX_SSHOPTS: nix splits it at white space, which none of our options contains."""
        return " ".join(self.options(host))

    def pin(self, host: HostSpec, endpoint: Endpoint) -> None:
        """Write the known_hosts file of an instance, whose endpoint is known now."""
        write_private(Path(self.known_hosts_for(host)), _known_hosts_line(host, endpoint))


def _options(alias: str, known_hosts: PurePosixPath, timeout: int) -> Pairs:
    """What holds for every connection, to a host and to each jump before it."""
    return (
        ("ControlMaster", "no"),
        ("ControlPath", "none"),
        ("BatchMode", "yes"),
        ("ConnectTimeout", str(timeout)),
        ("ServerAliveInterval", "5"),
        ("ServerAliveCountMax", "3"),
        ("StrictHostKeyChecking", "yes"),
        ("UserKnownHostsFile", str(known_hosts)),
        ("GlobalKnownHostsFile", "/dev/null"),
        ("HostKeyAlias", alias),
        ("HostKeyAlgorithms", "ssh-ed25519"),
        # The default key exchange of OpenSSH 9.0 to 9.8 costs each side 0.15 s of CPU. Later
        # versions have a fast one that is post-quantum secure as well.
        ("KexAlgorithms", "-sntrup761*"),
        ("CheckHostIP", "no"),
        ("UpdateHostKeys", "no"),
        ("ForwardAgent", "no"),
        ("LogLevel", "ERROR"),
    )


def _alias(number: int | str) -> str:
    """The name of a jump in the files; 1 is the first one on the way."""
    return f"jump_{number}"


def _block(pattern: str, pairs: Pairs) -> str:
    return "".join((f"Host {pattern}\n", *(f"  {name} {value}\n" for name, value in pairs)))


def folder_of(stack: str) -> Path:
    """The private folder of a stack's ssh files, relative to the program's."""
    return Path(FOLDER, stack, "ssh")


def write_ssh_files(folder: Path, hosts: Iterable[HostSpec], key: str | None) -> SshFiles:
    """Write known_hosts, the files of jumps and, if the config has one, the key into `folder`.

    The folder gets mode 0700, the files 0600. They are replaced by renaming, since a preview
    may run during an `up` of the same stack. `folder` is relative to the program's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    _keep_out_of_git(folder)
    hosts = tuple(hosts)
    known = [(host, host.endpoint) for host in hosts if host.endpoint]
    lines = "".join(_known_hosts_line(host, at) for host, at in known if host.target is Target.SSH)
    write_private(folder / "known_hosts", lines)
    if key is None:
        (folder / "key").unlink(missing_ok=True)
    else:
        write_private(folder / "key", key.rstrip("\n") + "\n")
    written = ssh_files_in(folder)
    for host in hosts:
        written.write_jumps(host)
    return written


def _keep_out_of_git(folder: Path) -> None:
    """Make git ignore our folder in a repository whose own `.gitignore` does not name it."""
    for parent in folder.parents:
        ignore = parent / ".gitignore"
        if parent.name == FOLDER and not ignore.exists():
            files.replace(ignore, "*\n")


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
