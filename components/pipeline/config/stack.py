"""The settings of a stack as frozen values: what `parse` makes of its config."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ..deploy.waves import CANARY_FIRST, Rollout
from ..errors import ConfigError, Problem
from ..values import FlakeUrl, InputName, PrivateKey, Ref, Rev
from .activation import DEFAULTS, Activation, Mode, read_activation
from .checks import OF_THE_RELEASE
from .hosts import Endpoint, HostSpec, Target, read_hosts
from .incus import TransportKind
from .rollout import read_rollout
from .schema import STACK
from .section import Section, one_of
from .services import Services, read_services

__all__ = [
    "ALWAYS_SECRET",
    "Activation",
    "Endpoint",
    "HostSpec",
    "Mode",
    "Observe",
    "Rollout",
    "Settings",
    "Target",
    "parse",
]

ADDRESS: Final = "address"
ALWAYS_SECRET: Final = frozenset({"sshKey"})
"""Keys whose value is in no message, also where somebody wrote it in clear."""


class Observe(StrEnum):
    """Whether previews ask the hosts what they run."""

    AUTO = "auto"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The config of one stack; `hosts` are those to deploy, sorted by name."""

    flake: FlakeUrl
    flake_ref: Ref | None = None
    app_input: str = STACK["appInput"].default
    app_ref: Ref | None = None
    app_rev: Rev | None = None
    hosts: tuple[HostSpec, ...]
    services: Services = Services()  # noqa: RUF009 frozen
    disabled: tuple[HostSpec, ...] = ()
    """Those with `enabled: false`, sorted by name."""
    ssh_key: str | None = field(default=None, repr=False)
    activation: Activation = DEFAULTS
    rollout: Rollout = CANARY_FIRST
    observe: Observe = Observe.AUTO


def parse(
    raw: Mapping[str, object],
    *,
    secret_keys: frozenset[str] = frozenset(),
    project: str = "flakeup",
    stack: str = "",
    grounds: Mapping[str, Activation] | None = None,
) -> Settings:
    """Parse the config of a stack: `raw` by key, with maps and lists where a key holds them.

    Nothing is looked up: no file, no process, no connection. The value of a key in
    `secret_keys` is in no message. `grounds` are what hosts say of themselves in the flake, once
    that is evaluated.

    Raises:
        ConfigError: all problems at once.
    """
    problems: list[Problem] = []
    stack_keys = Section(
        values=raw, table=STACK, problems=problems, secrets=secret_keys | ALWAYS_SECRET
    )
    stack_keys.refuse_unknown()
    settings = _stack(stack_keys, secret_keys, grounds or {})
    if problems or settings is None:
        raise ConfigError(problems, project=project, stack=stack)
    return settings


def _stack(
    stack: Section, secret_keys: frozenset[str], grounds: Mapping[str, Activation]
) -> Settings | None:
    flake = stack.read("flake", FlakeUrl.parse)
    flake_ref = stack.read("flakeRef", Ref.parse)
    app_input = stack.read("appInput", InputName.parse)
    app_ref = stack.read("appRef", Ref.parse)
    app_rev = stack.read("appRev", Rev.parse)
    ssh_key = stack.read("sshKey", PrivateKey.parse)
    activation = read_activation(stack, DEFAULTS)
    observe = stack.read("observe", one_of(Observe))
    _check_flake_ref(stack, flake)
    _check_app_rev(stack, app_ref, app_rev)
    if "sshKey" in stack.values and "sshKey" not in secret_keys:
        stack.refuse("sshKey", "is in clear text")
    hosts = read_hosts(stack, app_ref, activation, grounds)
    services = read_services(stack)
    rollout = read_rollout(stack, hosts.names)
    _check_placeholders(stack, hosts.enabled)
    _check_addresses(stack, hosts.enabled)
    if flake is None or app_input is None or observe is None:
        return None
    return Settings(
        flake=flake,
        flake_ref=flake_ref,
        app_input=app_input.text,
        app_ref=app_ref,
        app_rev=app_rev,
        hosts=hosts.enabled,
        services=services,
        disabled=hosts.disabled,
        ssh_key=None if ssh_key is None else ssh_key.text,
        activation=activation,
        rollout=rollout,
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


def _check_addresses(stack: Section, hosts: Iterable[HostSpec]) -> None:
    """Refuse the first check of an address that nothing leads to."""
    for host in hosts:
        if host.incus is None or host.incus.transport is not TransportKind.EXEC:
            continue
        for check in host.activation.checks:
            if ADDRESS in check.placeholders:
                why = (
                    f"has {host.name}, whose check {check.name} names {{{ADDRESS}}}: there is none"
                )
                remedy = "write localhost in it, or transport: ssh"
                stack.refuse("hosts", f"{why} with transport exec", remedy)
                return


def _check_placeholders(stack: Section, hosts: Iterable[HostSpec]) -> None:
    """Refuse the first check that asks for a release which its host has none of."""
    if "appRef" in stack.values:
        return
    for host in hosts:
        for check in host.activation.checks:
            if host.app_ref is None and (unfilled := check.placeholders & OF_THE_RELEASE):
                name = f"{{{min(unfilled)}}}"
                stack.refuse(
                    "appRef",
                    f"is required for {name} in the check {check.name} of {host.name}",
                    f"set appRef, or write the check without {name}",
                )
                return
