"""Every key of a stack's config, once: for the parser, its messages and docs/config.md."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

SIMILAR: Final = 0.6
"""How alike (0 to 1) an unknown key and a known one must be for the second to be suggested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key: what it takes, and what leaving it out means.

    `takes` is the kind of value in a few words, `write` the remedy of each message about it.
    `default` is a text as a user would write it, or empty; `otherwise` says in words what a key
    without one falls back to. `most` is the largest time, and `zero` allows `0s`; `within` holds
    the smallest and the largest whole number. A `plain` of int or bool allows YAML's own value as
    well as the same in quotes.
    """

    name: str
    takes: str
    write: str
    meaning: str
    limits: str
    default: str = ""
    otherwise: str = ""
    required: bool = False
    most: str = ""
    zero: bool = False
    within: tuple[int, int] = (0, 0)
    plain: type[str] | type[int] | type[bool] = str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The keys of one map of the config; `path` names it in the documentation."""

    path: str
    about: str
    keys: tuple[Key, ...]
    _by_name: dict[str, Key] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {key.name: key for key in self.keys})

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Key:
        return self._by_name[name]

    def nearest(self, name: str) -> str | None:
        """Give the known key that an unknown one was probably meant to be."""
        return nearest(name, self._by_name)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Give the one of the known names that another was probably meant to be."""
    spelt = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name[:100].lower(), spelt, n=1, cutoff=SIMILAR)
    return spelt[found[0]] if found else None


_WRITE_REF: Final = "write a tag, a branch, refs/... or a full commit id, such as v2.1.0"
_REF_LIMITS: Final = (
    "1 to 200 of `A-Z a-z 0-9 . _ / + @ -`; no `..`, `//`, `/.`, `.lock`; "
    "no `-`, `.` or `/` at its start, no `.` or `/` at its end"
)
_NAME_LIMITS: Final = "1 to 63 of `A-Z a-z 0-9 _ -`; no `-` at its start"

WRITE_ACTIVATION: Final = "write a map, such as activation: {checkDeadline: 2m}"

STACK: Final = Table(
    path="",
    about="Top-level keys, each set with `pulumi config set KEY VALUE`.",
    keys=(
        Key(
            name="appRef",
            takes="a ref",
            write=_WRITE_REF,
            meaning=(
                "The application's release: the one thing that changes on a deployment. "
                "Without it the application is what the flake's own lock says."
            ),
            limits=_REF_LIMITS,
        ),
        Key(
            name="appRev",
            takes="a commit id",
            write="write the full commit id that appRef resolves to, or remove the key",
            meaning=(
                "The commit that `appRef` must resolve to. A tag that was moved is then refused, "
                "from the pull request to production."
            ),
            limits="40 hex digits in lower case; only beside `appRef`",
        ),
        Key(
            name="flake",
            takes="a flake url",
            write="write ./flake, git+https://host/repo.git or github:owner/repo",
            meaning=(
                "Where the flake is: a folder of this repository (`./flake`), a path (`/srv/flake` "
                "or `path:/srv/flake`), or a git repository (`git+https:`, `git+ssh:`, "
                "`git+file:`, `github:owner/repo`, `gitlab:owner/repo?host=gitlab.example.org`)."
            ),
            limits=(
                "`?dir=` names the folder of `flake.nix` in it; no revision, password, `#`, `..` "
                "or `%`; `git+http:` and `git+git:` only from this machine; a folder begins with "
                "`./`"
            ),
            default="./flake",
        ),
        Key(
            name="flakeRef",
            takes="a ref",
            write=_WRITE_REF,
            meaning=(
                "The flake's own release, where `flake` is a git repository. A folder or a path "
                "has none: it is taken as it is, and identified by its content."
            ),
            limits="as `appRef`; required for git, refused for a folder or a path",
        ),
        Key(
            name="appInput",
            takes="the name of an input",
            write="write the name of the flake's input for the application, such as app",
            meaning="The input of the flake that `appRef` replaces.",
            limits=_NAME_LIMITS,
            default="app",
        ),
        Key(
            name="hosts",
            takes="a map of hosts",
            write="write at least one host as a map: hosts: {web1: {address: ..., hostKey: ...}}",
            meaning="The hosts by name.",
            limits=f"a name has {_NAME_LIMITS}; no two names differ only in case",
            otherwise="**required**, unless there are `services`",
        ),
        Key(
            name="sshKey",
            takes="a private key",
            write="run: pulumi config set --secret sshKey < KEY_FILE",
            meaning=(
                "The private key to log in with, the same for everybody who runs the stack. "
                "Without it, whatever agent `SSH_AUTH_SOCK` names is asked."
            ),
            limits="a Pulumi secret; in OpenSSH's form or PEM, without a passphrase",
        ),
        Key(
            name="activation",
            takes="a map",
            write=WRITE_ACTIVATION,
            meaning="How hosts are switched: times, health checks, mode.",
            limits="see below",
        ),
        Key(
            name="rollout",
            takes="a map",
            write="write a map, such as rollout: {canary: 1, maxParallel: 4}",
            meaning="In which order the hosts are switched, and how many at a time.",
            limits="see below",
        ),
        Key(
            name="incus",
            takes="a map",
            write="write a map, such as incus: {image: incus-base, remote: local}",
            meaning="How instances of Incus are made: server, image, profiles, devices.",
            limits="see below",
        ),
        Key(
            name="docker",
            takes="a map",
            write="write a map, such as docker: {host: unix:///var/run/docker.sock}",
            meaning="Which Docker daemon runs the services.",
            limits="see below",
        ),
        Key(
            name="services",
            takes="a map of services",
            write="write a map, such as services: {app: {image: app-image}}",
            meaning="Containers of Docker, by name, from images of the flake.",
            limits="see below; a name has 1 to 40 of `A-Z a-z 0-9 _ -`; no `-` or `_` at its start",
        ),
        Key(
            name="observe",
            takes="auto or never",
            write="write auto or never",
            meaning=(
                "Whether the hosts are asked what they run, so that a preview can show it: `auto` "
                "asks, and goes on without an answer; `never` asks nothing before a deployment."
            ),
            limits="`auto` or `never`",
            default="auto",
        ),
    ),
)

HOSTS: Final = Table(path="hosts", about="The hosts by name.", keys=())
"""The map of hosts: its keys are their names."""

HOST: Final = Table(
    path="hosts.<name>",
    about="Keys of one host.",
    keys=(
        Key(
            name="target",
            takes="a target",
            write="write ssh or incus",
            meaning=(
                "How the host is reached and kept: `ssh` is a NixOS machine that exists; `incus` "
                "is a container that the program makes."
            ),
            limits="`ssh` or `incus`",
            default="ssh",
        ),
        Key(
            name="address",
            takes="an address",
            write="write a host name or an IP address, such as web1.example.org or 10.0.0.5",
            meaning="Where its sshd listens; an instance of Incus says so itself.",
            limits=(
                "a host name (RFC 1123), an IPv4 or an IPv6 address without brackets and zone; "
                "not link-local; no two hosts have the same address and port; only with `ssh`"
            ),
            required=True,
        ),
        Key(
            name="port",
            takes="a port",
            write="write a port, such as 22",
            meaning="The port of its sshd.",
            limits="1 to 65535",
            default="22",
            plain=int,
        ),
        Key(
            name="user",
            takes="a login name",
            write="write root, or a user with passwordless sudo",
            meaning="Who logs in: root, or a user with `NOPASSWD: ALL` in sudoers.",
            limits="1 to 32 of `a-z 0-9 _ -`; begins with a letter or `_`",
            default="root",
        ),
        Key(
            name="hostKey",
            takes="a host key",
            write=(
                "write the line of /etc/ssh/ssh_host_ed25519_key.pub on that host: "
                "ssh-ed25519 AAAA..."
            ),
            meaning=(
                "Its public ed25519 key. Every connection verifies it; nothing turns that off. "
                "That of an instance is read through Incus when it is made."
            ),
            limits="one line: `ssh-ed25519`, the key, and a comment if you like; only with `ssh`",
            required=True,
        ),
        Key(
            name="attr",
            takes="the name of a system",
            write="write the name of a system in nixosConfigurations, such as web1",
            meaning="Its system in the flake: `nixosConfigurations.<attr>`.",
            limits=_NAME_LIMITS,
            otherwise="the host's name",
        ),
        Key(
            name="appRef",
            takes="a ref",
            write=_WRITE_REF,
            meaning="A release of its own: one host ahead of the others, or behind.",
            limits="as the stack's `appRef`",
            otherwise="the stack's",
        ),
        Key(
            name="activation",
            takes="a map",
            write=WRITE_ACTIVATION,
            meaning=(
                "Times, mode and checks of its own. A key that is left out is the stack's; "
                "`checks` are laid over the stack's by name."
            ),
            limits="see below",
            otherwise="the stack's",
        ),
        Key(
            name="incus",
            takes="a map",
            write="write a map, such as incus: {image: incus-base}",
            meaning="The instance that it is: keys that are left out are those of the stack.",
            limits="see below; only with `target: incus`",
            otherwise="the stack's",
        ),
        Key(
            name="substitute",
            takes="true or false",
            write="write true or false",
            meaning=(
                "Whether the host itself fetches what its caches have, so that only the rest is "
                "sent (`nix copy --substitute-on-destination`)."
            ),
            limits="`true` or `false`",
            default="true",
            plain=bool,
        ),
        Key(
            name="enabled",
            takes="true or false",
            write="write true or false",
            meaning=(
                "`false` leaves the host out: it is not built, asked or switched, and the preview "
                "says so."
            ),
            limits="`true` or `false`; at least one host is enabled",
            default="true",
            plain=bool,
        ),
    ),
)
