"""The hosts of a stack as values, and how they are read from its config."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from components.pipeline.activation_config import DEFAULTS, Activation, read_activation
from components.pipeline.config_section import Section, flag, one_of, path_to
from components.pipeline.config_table import HOST, HOSTS
from components.pipeline.grammar import (
    Attr,
    GrammarError,
    HostAddress,
    HostKey,
    HostName,
    Port,
    Ref,
    UserName,
)

WRITE_NAME: Final = "write a name of letters, digits, '_' and '-', such as web1"

_USER: Final = UserName(HOST["user"].default)


class Target(StrEnum):
    """How a host is reached and kept."""

    SSH = "ssh"
    """A NixOS machine that exists already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """One host as configured; `app_ref` and `activation` are the stack's unless it has its own."""

    name: str
    target: Target = Target.SSH
    address: HostAddress
    port: int = int(HOST["port"].default)
    user: UserName = _USER
    host_key: HostKey
    attr: Attr
    app_ref: Ref | None = None
    activation: Activation = DEFAULTS
    substitute: bool = True
    """Whether the host fetches what its own caches have (`--substitute-on-destination`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The hosts of a config, sorted by name."""

    enabled: tuple[HostSpec, ...] = ()
    left_out: tuple[HostSpec, ...] = ()
    names: Mapping[str, bool] = field(default_factory=dict)
    """Whether each host that is written down is enabled; also those with problems."""


def read_hosts(stack: Section, app_ref: Ref | None, activation: Activation) -> Hosts:
    """Read the hosts of a stack, whose keys fall back to the stack's."""
    values = stack.mapping("hosts")
    if values is None:
        return Hosts()
    sections = _sections(stack, values)
    _check_addresses(sections)
    read = [_host(name, section, app_ref, activation) for name, section in sections.items()]
    specs = sorted((host for host in read if host), key=lambda host: host.name)
    names = {name: _is_enabled(sections.get(name)) for name in values}
    if not values:
        stack.refuse("hosts", "is empty")
    elif not any(names.values()):
        stack.refuse("hosts", "has no host that is enabled", "write enabled: true in one at least")
    return Hosts(
        enabled=tuple(host for host in specs if names[host.name]),
        left_out=tuple(host for host in specs if not names[host.name]),
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
    except GrammarError as error:
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


def _host(
    name: str, section: Section, app_ref: Ref | None, activation: Activation
) -> HostSpec | None:
    target = section.read("target", one_of(Target))
    address = section.read("address", HostAddress.parse)
    port = section.read("port", Port.parse)
    user = section.read("user", UserName.parse)
    host_key = section.read("hostKey", HostKey.parse)
    attr = section.read("attr", Attr.parse) if "attr" in section.values else _named(name)
    own_ref = section.read("appRef", Ref.parse, app_ref)
    own_activation = read_activation(section, activation)
    substitute = section.read("substitute", flag)
    section.read("enabled", flag)
    if (
        target is None
        or address is None
        or port is None
        or user is None
        or host_key is None
        or attr is None
        or substitute is None
    ):
        return None
    return HostSpec(
        name=name,
        target=target,
        address=address,
        port=port.number,
        user=user,
        host_key=host_key,
        attr=attr,
        app_ref=own_ref,
        activation=own_activation,
        substitute=substitute,
    )


def _named(name: str) -> Attr | None:
    """Give the attribute of a host that names none; a bad name is a problem written down."""
    try:
        return Attr.parse(name)
    except GrammarError:
        return None
