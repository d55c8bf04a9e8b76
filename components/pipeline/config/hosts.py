"""The hosts of a stack: as values, and how they are read from its config."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final

from ..values import Attr, HostAddress, HostKey, HostName, InvalidValue, Port, Ref, UserName
from ..values.names import MAX_PORT
from .activation import (
    DEFAULTS,
    WRITE_ACTIVATION,
    Activation,
    ActivationOverlay,
    read_overlay,
)
from .incus import (
    IncusDefaults,
    IncusSpec,
    TransportKind,
    check_remotes,
    read_instance,
)
from .jumps import MAX_JUMPS, Jump, read_jumps
from .schema import Key, Table
from .section import Section, path_to

ATTR_LIMITS: Final = "1 to 128 of `A-Z a-z 0-9 . _ @ + -`; begins with a letter, a digit or `_`"
WRITE_NAME: Final = (
    "write a name of letters, digits, '.', '_', '-', '@' and '+' that begins with a letter, a "
    "digit or '_', such as web1 or web1.example.org"
)
WRITE_SYSTEM: Final = (
    "write the name of a system in nixosConfigurations, without quotes, such as web1 or "
    "web1.example.org"
)
WRITE_REF: Final = "write a tag, a branch, refs/... or a full commit id, such as v2.1.0"

_SSH_PORT: Final = 22
_FROM_INSTANCE: Final = frozenset({"address", "hostKey"})
"""What an instance says itself: a second word on it could only be wrong."""
_OF_LOGIN: Final = frozenset({"user", "port", "proxyJump"})
"""What nobody needs who talks to Incus: they are root in the instance."""


class Target(StrEnum):
    """How a host is reached and kept."""

    SSH = "ssh"
    """A NixOS machine that exists already."""
    INCUS = "incus"
    """A container that the program makes, and keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a host's sshd listens, and the key that it has to show."""

    address: HostAddress
    host_key: HostKey


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """One host as configured; `app_ref` and `activation` are the stack's unless it has its own."""

    name: str
    target: Annotated[
        Target,
        Key(
            "What the host is: with `ssh` a NixOS machine that exists already, with `incus` a "
            "container that the program creates.",
            takes="a target",
        ),
    ] = Target.SSH
    address: Annotated[
        HostAddress | None,
        Key(
            "Where its sshd listens. An Incus instance reports its own address.",
            takes="an address",
            write="write a host name or an IP address, such as web1.example.org or 10.0.0.5",
            limits=(
                "a host name (RFC 1123), an IPv4 or an IPv6 address without brackets and zone; "
                "not link-local; no two hosts have the same address and port; only with `ssh`"
            ),
            required=True,
        ),
    ] = None
    port: Annotated[
        int,
        Key(
            "The port of its sshd.",
            takes="a port",
            write="write a port, such as 22",
            limits=f"1 to {MAX_PORT}",
            within=(1, MAX_PORT),
            parse=lambda text: Port.parse(text).number,
        ),
    ] = _SSH_PORT
    user: Annotated[
        UserName,
        Key(
            "The user to log in as: root, or one with `NOPASSWD: ALL` in sudoers.",
            takes="a login name",
            write="write root, or a user with passwordless sudo",
            limits="1 to 32 of `a-z 0-9 _ -`; begins with a letter or `_`",
        ),
    ] = UserName("root")
    host_key: Annotated[
        HostKey | None,
        Key(
            "Its public ed25519 key, which every connection verifies; this cannot be turned off. "
            "The key of an Incus instance is read through Incus when it is created.",
            takes="a host key",
            write=(
                "write the line of /etc/ssh/ssh_host_ed25519_key.pub on that host: "
                "ssh-ed25519 AAAA..."
            ),
            limits="one line: `ssh-ed25519`, the key, and a comment if you like; only with `ssh`",
            required=True,
        ),
    ] = None
    proxy_jump: Annotated[
        tuple[Jump, ...],
        Key(
            "The machine that every connection to its sshd goes through, such as a bastion, or "
            "several in their order, as ssh's ProxyJump. Nothing of the user's own ssh config is "
            "read.",
            takes="a map or a list of maps",
            write=(
                "write a map, such as proxyJump: {address: bastion.example.org, user: jump, "
                "hostKey: ssh-ed25519 AAAA...}"
            ),
            limits=f"a map, or a list of 1 to {MAX_JUMPS}; see below; not with `transport: exec`",
            otherwise="connections are direct",
            read=read_jumps,
        ),
    ] = ()
    attr: Annotated[
        Attr,
        Key(
            "Its system in the flake: `nixosConfigurations.<attr>`, one name, also with dots.",
            takes="the name of a system",
            write=WRITE_SYSTEM,
            limits=ATTR_LIMITS,
            otherwise="the host's name",
        ),
    ]
    app_ref: Annotated[
        Ref | None,
        Key(
            "Its own release: one host ahead of the others, or behind.",
            takes="a ref",
            write=WRITE_REF,
            limits="as the stack's `appRef`",
            otherwise="the stack's",
        ),
    ] = None
    activation: Annotated[
        Activation,
        Key(
            "Its own timeouts, mode and checks. Keys that are not set are the stack's; `checks` "
            "are merged with the stack's by name.",
            takes="a map",
            write=WRITE_ACTIVATION,
            limits="see below",
            otherwise="the stack's",
            of=Activation,
        ),
    ] = DEFAULTS
    incus: Annotated[
        IncusSpec | None,
        Key(
            "Its instance. Keys that are not set are the stack's.",
            takes="a map",
            write="write a map, such as incus: {image: incus-base}",
            limits="see below; only with `target: incus`",
            otherwise="the stack's",
            of=IncusSpec,
        ),
    ] = None
    substitute: Annotated[
        bool,
        Key(
            "Whether the host fetches what its own caches have, so that only the rest is sent "
            "(`nix copy --substitute-on-destination`)."
        ),
    ] = True
    enabled: Annotated[
        bool,
        Key(
            "`false` skips the host: it is not built, asked or switched, and the preview says so.",
            limits="at least one host is enabled",
        ),
    ] = True
    overlays: tuple[ActivationOverlay, ...] = field(default=(), repr=False, compare=False)
    """The stack's and its own `activation`: what `activation` is made of, over the flake's."""

    @property
    def endpoint(self) -> Endpoint | None:
        """None where the config does not know it: an instance says so once it is up."""
        if self.address is None or self.host_key is None:
            return None
        return Endpoint(address=self.address, host_key=self.host_key)

    @property
    def is_root(self) -> bool:
        """Whether the login user is root, so that no sudo is needed."""
        return self.user.text == "root"


HOST: Final = Table(HostSpec, "Keys of one host.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The hosts of a config, sorted by name."""

    enabled: tuple[HostSpec, ...] = ()
    disabled: tuple[HostSpec, ...] = ()
    names: Mapping[str, bool] = field(default_factory=dict)
    """Whether each host that is written down is enabled; also those with problems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What hosts fall back to: the stack's own values."""

    app_ref: Ref | None
    activation: Activation
    overlay: ActivationOverlay | None
    """What the config itself says of `activation`."""
    incus: IncusDefaults


def read_hosts(stack: Section, defaults: Defaults) -> Hosts:
    """Read the hosts of a stack, whose keys fall back to the stack's."""
    values = stack.read_map("hosts")
    # A stack of services alone needs no hosts.
    is_needed = not stack.values.get("services")
    if values is None:
        if is_needed and "hosts" not in stack.values:
            stack.reject("hosts", "is required")
        return Hosts()
    sections = _sections(stack, values)
    _check_addresses(sections)
    read = [_read_host(name, section, defaults) for name, section in sections.items()]
    specs = sorted((host for host in read if host), key=lambda host: host.name)
    _check_instances(sections, specs)
    if len(specs) == len(values):  # one that could not be read may be on any remote
        check_remotes(stack, (host.incus for host in specs if host.incus))
    names = {name: _is_enabled(sections.get(name)) for name in values}
    if is_needed and not values:
        stack.reject("hosts", "is empty")
    elif is_needed and not any(names.values()):
        stack.reject("hosts", "has no host that is enabled", "write enabled: true in one at least")
    return Hosts(
        enabled=tuple(host for host in specs if names[host.name]),
        disabled=tuple(host for host in specs if not names[host.name]),
        names=names,
    )


def _sections(stack: Section, values: Mapping[str, object]) -> dict[str, Section]:
    hosts = stack.open("hosts", values)
    sections = {}
    spelt = {name.lower(): name for name in sorted(values, reverse=True)}
    for name in values:
        _check_name(hosts, name, spelt)
        one = hosts.read_map(name, "write a map with at least address and hostKey")
        if one is not None:
            sections[name] = hosts.open(name, one, HOST)
    return sections


def _is_enabled(host: Section | None) -> bool:
    """Look at a key that `_read_host` reads too; a problem there is no second one here."""
    return host is None or host.muted().read("enabled") is not False


def _check_name(hosts: Section, name: str, spelt: Mapping[str, str]) -> None:
    try:
        HostName.parse(name)
    except InvalidValue as error:
        hosts.reject(name, f"the name of the host {error.reason()}", WRITE_NAME)
    if (twin := spelt[name.lower()]) != name:
        hosts.reject(
            name,
            f"the name differs from {path_to('hosts', twin)} only in case",
            "write names that differ in more than case: ssh does not tell these two apart",
        )


def _check_addresses(hosts: Mapping[str, Section]) -> None:
    """Reject a host where another one is: two deployments would fight over it."""
    taken: dict[tuple[str, int, tuple[Jump, ...]], str] = {}
    for name, section in sorted(hosts.items()):
        muted = section.muted()
        address = muted.read("address")
        port = muted.read("port") if "port" in section.values else _SSH_PORT
        # The same private address behind another jump is another machine.
        jumps = muted.read("proxyJump") if "proxyJump" in section.values else ()
        if address is None or port is None or jumps is None:
            continue
        other = taken.setdefault((address.canonical, port, jumps), name)
        if other != name:
            section.reject(
                "address",
                f"is also the address and port of {path_to('hosts', other)}",
                "write each host once, with an address or port of its own",
            )


def _check_instances(sections: Mapping[str, Section], hosts: Iterable[HostSpec]) -> None:
    """Reject an instance that another host is already."""
    taken: dict[tuple[str, str, str], str] = {}
    for host in hosts:
        if host.incus is None:
            continue
        place = (host.incus.remote, host.incus.project, host.incus.name)
        other = taken.setdefault(place, host.name)
        if other != host.name:
            why = f"is also the instance of {path_to('hosts', other)}"
            sections[host.name].reject("incus", why, "write each instance once")


def _read_host(name: str, section: Section, stack: Defaults) -> HostSpec | None:
    """Read one host; None where a key has a problem that nothing else can stand for."""
    before = len(section.problems)
    target = section.muted().read("target") if "target" in section.values else Target.SSH
    is_incus = target is Target.INCUS
    fields = section.read_fields(
        without={"appRef", "enabled", *(_FROM_INSTANCE if is_incus else ())}
    )
    attr = fields.pop("attr", None) or _attr_of(name)
    is_valid = len(section.problems) == before
    if is_incus:
        fields["incus"] = _read_instance(name, section, stack.incus)
    elif target is Target.SSH and "incus" in section.values:
        section.reject("incus", "cannot be used with target ssh", "add `target: incus`")
    app_ref, enabled = section.read("appRef") or stack.app_ref, section.read("enabled")
    own = read_overlay(section)
    activation = own.over(stack.activation, section.problems) if own else stack.activation
    if attr is None or not is_valid:
        return None
    return HostSpec(
        name=name,
        attr=attr,
        app_ref=app_ref,
        activation=activation,
        enabled=enabled is not False,
        overlays=tuple(one for one in (stack.overlay, own) if one),
        **fields,
    )


def _read_instance(name: str, section: Section, stack: IncusDefaults) -> IncusSpec:
    """Read the instance that a host is, which makes some of the host's own keys wrong."""
    for key in _FROM_INSTANCE & section.values.keys():
        why = "cannot be used with target incus: the instance says it itself"
        section.reject(key, why, "remove the key")
    incus = read_instance(section, name, stack)
    if incus.transport is TransportKind.EXEC:
        for key in _OF_LOGIN & section.values.keys():
            why = "cannot be used with transport exec, which is root and has no sshd"
            section.reject(key, why, "remove the key, or write transport: ssh in its `incus`")
    return incus


def _attr_of(name: str) -> Attr | None:
    """Give the default attribute of a host; an invalid name is reported elsewhere."""
    try:
        return Attr.parse(name)
    except InvalidValue:
        return None
