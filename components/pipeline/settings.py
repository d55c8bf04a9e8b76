"""The settings of a stack as frozen values: what `parse` makes of its config."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from components.pipeline.config_section import Section, flag, one_of, path_to, time_up_to
from components.pipeline.config_table import ACTIVATION, HOST, HOSTS, STACK
from components.pipeline.errors import ConfigError, Problem
from components.pipeline.grammar import (
    Attr,
    Duration,
    FlakeUrl,
    GrammarError,
    HostAddress,
    HostKey,
    HostName,
    InputName,
    Port,
    PrivateKey,
    Ref,
    Rev,
    UserName,
)

ALWAYS_SECRET: Final = frozenset({"sshKey"})
"""Keys whose value is in no message, also where somebody wrote it in clear."""

WRITE_NAME: Final = "write a name of letters, digits, '_' and '-', such as web1"

_TIMES: Final = {key.name: Duration(key.default) for key in ACTIVATION.keys}
_USER: Final = UserName(HOST["user"].default)


class Target(StrEnum):
    """How a host is reached and kept."""

    SSH = "ssh"
    """A NixOS machine that exists already."""


class Observe(StrEnum):
    """Whether previews ask the hosts what they run."""

    AUTO = "auto"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """The times of the phases of a switch; together they bound the way back to OLD."""

    timeout: Duration = _TIMES["timeout"]
    """For `switch-to-configuration test`."""
    settle: Duration = _TIMES["settle"]
    """From its end to the first look at the units."""
    checks: Duration = _TIMES["checks"]
    """For all checks, `settle` included."""
    confirm: Duration = _TIMES["confirm"]
    """From the end of the checks on the host to the commit."""
    commit: Duration = _TIMES["commit"]
    """For the commit itself."""
    call: Duration = _TIMES["call"]
    """For each call to a host."""


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
    activation: Activation = Activation()
    substitute: bool = True
    """Whether the host fetches what its own caches have (`--substitute-on-destination`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The config of one stack; `hosts` are sorted by name."""

    flake: FlakeUrl
    flake_ref: Ref | None = None
    app_input: str = STACK["appInput"].default
    app_ref: Ref | None = None
    app_rev: Rev | None = None
    hosts: tuple[HostSpec, ...]
    ssh_key: str | None = field(default=None, repr=False)
    activation: Activation = Activation()
    observe: Observe = Observe.AUTO


def parse(
    raw: Mapping[str, object],
    *,
    secret_keys: frozenset[str] = frozenset(),
    project: str = "flakeup",
    stack: str = "",
) -> Settings:
    """Parse the config of a stack: `raw` by key, with `hosts` and `activation` as maps.

    Nothing is looked up: no file, no process, no connection. The value of a key in
    `secret_keys` is in no message.

    Raises:
        ConfigError: all problems at once.
    """
    problems: list[Problem] = []
    stack_keys = Section(
        values=raw, table=STACK, problems=problems, secrets=secret_keys | ALWAYS_SECRET
    )
    stack_keys.refuse_unknown()
    settings = _stack(stack_keys, secret_keys)
    if problems or settings is None:
        raise ConfigError(problems, project=project, stack=stack)
    return settings


def _stack(stack: Section, secret_keys: frozenset[str]) -> Settings | None:
    flake = stack.read("flake", FlakeUrl.parse)
    flake_ref = stack.read("flakeRef", Ref.parse)
    app_input = stack.read("appInput", InputName.parse)
    app_ref = stack.read("appRef", Ref.parse)
    app_rev = stack.read("appRev", Rev.parse)
    ssh_key = stack.read("sshKey", PrivateKey.parse)
    activation = _activation(stack, Activation())
    observe = stack.read("observe", one_of(Observe))
    _check_flake_ref(stack, flake)
    _check_app_rev(stack, app_ref, app_rev)
    if "sshKey" in stack.values and "sshKey" not in secret_keys:
        stack.refuse("sshKey", "is in clear text")
    hosts = _hosts(stack, app_ref, activation)
    if flake is None or app_input is None or observe is None:
        return None
    return Settings(
        flake=flake,
        flake_ref=flake_ref,
        app_input=app_input.text,
        app_ref=app_ref,
        app_rev=app_rev,
        hosts=hosts,
        ssh_key=None if ssh_key is None else ssh_key.text,
        activation=activation,
        observe=observe,
    )


def _check_flake_ref(stack: Section, flake: FlakeUrl | None) -> None:
    if flake is None:
        return
    if flake.kind.is_pinned_by_ref and "flakeRef" not in stack.values:
        stack.refuse("flakeRef", "is required for a flake in git: nothing else pins it")
    if not flake.kind.is_pinned_by_ref and "flakeRef" in stack.values:
        stack.refuse(
            "flakeRef",
            f"does not go with a flake that is a {flake.kind}, which is taken as it is",
            "remove the key, or write a git repository as flake",
        )


def _check_app_rev(stack: Section, app_ref: Ref | None, app_rev: Rev | None) -> None:
    if "appRev" in stack.values and "appRef" not in stack.values:
        stack.refuse("appRev", "is set without appRef", "set appRef too, or remove the key")
    if app_ref and app_rev and app_ref.is_commit and app_ref.text != app_rev.text:
        stack.refuse("appRev", "is another commit than appRef")


def _hosts(stack: Section, app_ref: Ref | None, activation: Activation) -> tuple[HostSpec, ...]:
    values = stack.mapping("hosts")
    if values is None:
        return ()
    if not values:
        stack.refuse("hosts", "is empty")
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
    _check_addresses(sections)
    read = (_host(name, section, app_ref, activation) for name, section in sections.items())
    return tuple(sorted((host for host in read if host), key=lambda host: host.name))


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
    own_activation = _activation(section, activation)
    substitute = section.read("substitute", flag)
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


def _activation(parent: Section, base: Activation) -> Activation:
    """Read times over those of `base`; where one is refused, the rest is still looked at."""
    values = parent.mapping("activation")
    if values is None:
        return base
    times = parent.inner("activation", values, ACTIVATION)
    read = {
        key.name: times.read(key.name, time_up_to(key.most), getattr(base, key.name))
        for key in ACTIVATION.keys
    }
    made = replace(base, **{name: time for name, time in read.items() if time is not None})
    own = {"settle", "checks"} & values.keys()
    if own and made.settle.seconds >= made.checks.seconds and None not in read.values():
        times.refuse(
            "settle" if "settle" in values else "checks",
            "leaves no time to check: settle is not shorter than checks",
            "write settle shorter, or checks longer",
        )
    return made
