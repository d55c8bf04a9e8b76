"""The hosts of a stack as values, and how they are read from its config."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ..values import Attr, HostAddress, HostKey, HostName, InvalidValue, Port, Ref, UserName
from .activation import DEFAULTS, Activation, read_activation
from .incus import IncusSpec, TransportKind, check_remotes, read_incus, read_instance
from .schema import HOST, HOSTS
from .section import Section, flag, one_of, path_to

WRITE_NAME: Final = "write a name of letters, digits, '_' and '-', such as web1"

_USER: Final = UserName(HOST["user"].default)


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
    endpoint: Endpoint | None = None
    """None where the config does not know it: an instance says so once it is up."""
    port: int = int(HOST["port"].default)
    user: UserName = _USER
    attr: Attr
    incus: IncusSpec | None = None
    """The instance that it is, where the program makes it."""
    app_ref: Ref | None = None
    activation: Activation = DEFAULTS
    substitute: bool = True
    """Whether the host fetches what its own caches have (`--substitute-on-destination`)."""

    @property
    def is_root(self) -> bool:
        """Whether the login user is root, so that no sudo is needed."""
        return self.user.text == "root"

    @property
    def target(self) -> Target:
        """How it is reached and kept."""
        return Target.SSH if self.incus is None else Target.INCUS


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The hosts of a config, sorted by name."""

    enabled: tuple[HostSpec, ...] = ()
    disabled: tuple[HostSpec, ...] = ()
    names: Mapping[str, bool] = field(default_factory=dict)
    """Whether each host that is written down is enabled; also those with problems."""


def read_hosts(
    stack: Section,
    app_ref: Ref | None,
    activation: Activation,
    grounds: Mapping[str, Activation],
) -> Hosts:
    """Read the hosts of a stack, whose keys fall back to the stack's.

    `grounds` are what hosts say of themselves in the flake: the stack's `activation`, and then the
    host's, is laid over it.
    """
    incus = read_incus(stack, IncusSpec())
    values = stack.mapping("hosts")
    # A stack of services alone needs no hosts.
    is_needed = not stack.values.get("services")
    if values is None:
        if is_needed and "hosts" not in stack.values:
            stack.refuse("hosts", "is required")
        return Hosts()
    sections = _sections(stack, values)
    _check_addresses(sections)
    own = {name: read_activation(stack, ground) for name, ground in grounds.items()}
    defaults = _Defaults(app_ref=app_ref, activation=activation, own=own, incus=incus)
    read = [_host(name, section, defaults) for name, section in sections.items()]
    specs = sorted((host for host in read if host), key=lambda host: host.name)
    _check_instances(sections, specs)
    if len(specs) == len(values):  # one that could not be read may be on any remote
        check_remotes(stack, (host.incus for host in specs if host.incus))
    names = {name: _is_enabled(sections.get(name)) for name in values}
    if is_needed and not values:
        stack.refuse("hosts", "is empty")
    elif is_needed and not any(names.values()):
        stack.refuse("hosts", "has no host that is enabled", "write enabled: true in one at least")
    return Hosts(
        enabled=tuple(host for host in specs if names[host.name]),
        disabled=tuple(host for host in specs if not names[host.name]),
        names=names,
    )


def _sections(stack: Section, values: Mapping[str, object]) -> dict[str, Section]:
    hosts = Section(
        values=values,
        table=HOSTS,
        problems=stack.problems,
        path="hosts",
        hidden=stack.hides("hosts"),
    )
    sections = {}
    spelt = {name.lower(): name for name in sorted(values, reverse=True)}
    for name in values:
        _check_name(hosts, name, spelt)
        one = hosts.mapping(name, "write a map with at least address and hostKey")
        if one is not None:
            sections[name] = hosts.inner(name, one, HOST)
    return sections


def _is_enabled(host: Section | None) -> bool:
    """Look at a key that `_host` reads too; a problem there is no second one here."""
    return host is None or host.silent().read("enabled", flag) is not False


def _check_name(hosts: Section, name: str, spelt: Mapping[str, str]) -> None:
    try:
        HostName.parse(name)
    except InvalidValue as error:
        hosts.refuse(name, f"the name of the host {error.reason()}", WRITE_NAME)
    if (twin := spelt[name.lower()]) != name:
        hosts.refuse(
            name,
            f"the name differs from {path_to('hosts', twin)} only in case",
            "write names that differ in more: ssh does not tell these two apart",
        )


def _check_addresses(hosts: Mapping[str, Section]) -> None:
    """Refuse a host where another one is: two deployments would fight over it."""
    taken: dict[tuple[str, int], str] = {}
    for name, section in sorted(hosts.items()):
        quiet = section.silent()
        address, port = quiet.read("address", HostAddress.parse), quiet.read("port", Port.parse)
        if address is None or port is None:
            continue
        other = taken.setdefault((address.canonical, port.number), name)
        if other != name:
            section.refuse(
                "address",
                f"is the address and port of {path_to('hosts', other)} too",
                "write each host once, with an address or port of its own",
            )


def _check_instances(sections: Mapping[str, Section], hosts: Iterable[HostSpec]) -> None:
    """Refuse an instance that another host is already."""
    taken: dict[tuple[str, str, str], str] = {}
    for host in hosts:
        if host.incus is None:
            continue
        place = (host.incus.remote, host.incus.project, host.incus.name)
        other = taken.setdefault(place, host.name)
        if other != host.name:
            why = f"is the instance of {path_to('hosts', other)} too"
            sections[host.name].refuse("incus", why, "write each instance once")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Defaults:
    """What hosts fall back to: the stack's own values."""

    app_ref: Ref | None
    activation: Activation
    own: Mapping[str, Activation]
    """The stack's over that of the flake, for hosts that have one there."""
    incus: IncusSpec


def _host(name: str, section: Section, stack: _Defaults) -> HostSpec | None:
    target = section.read("target", one_of(Target))
    endpoint, incus = None, None
    if target is Target.INCUS:
        _refuse_place(section)
        incus = read_instance(section, name, stack.incus)
        if incus.transport is TransportKind.EXEC:
            _refuse_login(section)
    else:
        endpoint = _endpoint(section)
        if target is Target.SSH and "incus" in section.values:
            section.refuse("incus", "does not go with target ssh", "write target: incus beside it")
    port = section.read("port", Port.parse)
    user = section.read("user", UserName.parse)
    attr = section.read("attr", Attr.parse) if "attr" in section.values else _named(name)
    own_ref = section.read("appRef", Ref.parse, stack.app_ref)
    own_activation = read_activation(section, stack.own.get(name, stack.activation))
    substitute = section.read("substitute", flag)
    section.read("enabled", flag)
    if (
        target is None
        or (endpoint is None and incus is None)
        or port is None
        or user is None
        or attr is None
        or substitute is None
    ):
        return None
    return HostSpec(
        name=name,
        endpoint=endpoint,
        port=port.number,
        user=user,
        attr=attr,
        incus=incus,
        app_ref=own_ref,
        activation=own_activation,
        substitute=substitute,
    )


def _endpoint(section: Section) -> Endpoint | None:
    address = section.read("address", HostAddress.parse)
    host_key = section.read("hostKey", HostKey.parse)
    if address is None or host_key is None:
        return None
    return Endpoint(address=address, host_key=host_key)


def _refuse_login(section: Section) -> None:
    """Who may talk to Incus is root in the instance: there is no login."""
    for key in ("user", "port"):
        if key in section.values:
            why = "does not go with transport exec, which is root and has no sshd"
            section.refuse(key, why, "remove the key, or write transport: ssh in its `incus`")


def _refuse_place(section: Section) -> None:
    """An instance says itself where it is: a second word on it could only be wrong."""
    for key in ("address", "hostKey"):
        if key in section.values:
            why = "does not go with target incus: the instance says it itself"
            section.refuse(key, why, "remove the key")


def _named(name: str) -> Attr | None:
    """Give the attribute of a host that names none; a bad name is a problem written down."""
    try:
        return Attr.parse(name)
    except InvalidValue:
        return None
