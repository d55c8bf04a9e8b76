"""The settings of a stack as frozen values: what `parse` makes of its config."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final

from ..errors import ConfigError, Problem
from ..values import FlakeKind, FlakeUrl, InputName, Owner, PrivateKey, Ref, Rev
from .activation import (
    DEFAULTS,
    WRITE_ACTIVATION,
    Activation,
    Mode,
    read_overlay,
)
from .caches import Cache, read_caches
from .checks import FROM_RELEASE
from .docker import DockerSpec
from .hosts import ATTR_LIMITS, WRITE_REF, Defaults, Endpoint, HostSpec, Target, read_hosts
from .incus import IncusDefaults, TransportKind, read_incus
from .misread import misreadings
from .rollout import CANARY_FIRST, Rollout, read_rollout
from .schema import Key, Table
from .section import Section
from .services import Services, ServiceSpec, read_services
from .timeouts import DEFAULT_TIMEOUTS, Timeouts, read_timeouts

__all__ = [
    "ALWAYS_SECRET",
    "STACK",
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


class Observe(StrEnum):
    """Whether previews ask the hosts what they run."""

    AUTO = "auto"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where settings come from, for what is found wrong with them only later."""

    section: Section
    project: str
    stack: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The config of one stack; `hosts` are those to deploy, sorted by name."""

    app_ref: Annotated[
        Ref | None,
        Key(
            "The release of the application: the only thing that changes on a deployment. If it "
            "is not set, the flake's own lock file decides.",
            takes="a ref",
            write=WRITE_REF,
            limits=(
                "1 to 200 of `A-Z a-z 0-9 . _ / + @ -`; no `..`, `//`, `/.`, `.lock`; "
                "no `-`, `.` or `/` at its start, no `.` or `/` at its end"
            ),
        ),
    ] = None
    app_rev: Annotated[
        Rev | None,
        Key(
            "The commit that `appRef` must resolve to: a tag that has been moved since is "
            "refused, in the pull request and in production.",
            takes="a commit id",
            write="write the full commit id that appRef resolves to, or remove the key",
            limits="40 hex digits in lower case; requires `appRef`",
        ),
    ] = None
    flake: Annotated[
        FlakeUrl,
        Key(
            "Where the flake is: a folder of this repository (`./flake`, `.?dir=flake`), of which "
            "the files that git tracks are taken; a path (`/srv/flake` or `path:/srv/flake`), or "
            "a git repository (`git+https:`, `git+ssh:`, `git+file:`, `github:owner/repo`, "
            "`gitlab:group%2Fsub/repo?host=gitlab.example.org`, `sourcehut:~owner/repo`).",
            takes="a flake url",
            write="write ./flake, git+https://host/repo.git or github:owner/repo",
            limits=(
                "`?dir=` names the folder of `flake.nix` in it; git takes nix's options "
                "(`submodules=1`, `shallow=1`, …); no revision, password or `#`; `git+http:` and "
                "`git+git:` only from this machine; a folder begins with `./` or `../`, or is `.`"
            ),
        ),
    ] = FlakeUrl(kind=FlakeKind.FOLDER, base="flake")
    flake_ref: Annotated[
        Ref | None,
        Key(
            "The flake's own release, if `flake` is a git repository. A folder or a path has "
            "none: it is used as it is, and identified by its content.",
            takes="a ref",
            write=WRITE_REF,
            limits="as `appRef`; required for git, refused for a folder or a path",
        ),
    ] = None
    app_input: Annotated[
        str,
        Key(
            "The input of the flake that `appRef` replaces.",
            takes="the name of an input",
            write="write the name of the flake's input for the application, such as app",
            limits="1 to 63 of `A-Z a-z 0-9 _ -`; no `-` at its start",
            parse=lambda text: InputName.parse(text).text,
        ),
    ] = "app"
    hosts: Annotated[
        tuple[HostSpec, ...],
        Key(
            "The hosts by name.",
            takes="a map of hosts",
            write="write at least one host as a map: hosts: {web1: {address: ..., hostKey: ...}}",
            limits=f"a name has {ATTR_LIMITS}; no two names differ only in case",
            otherwise="**required**, unless there are `services`",
            each=HostSpec,
        ),
    ]
    disabled: tuple[HostSpec, ...] = ()
    """Those with `enabled: false`, sorted by name."""
    ssh_key: Annotated[
        str | None,
        Key(
            "The private key to log in with, the same for everybody who runs the stack. If it is "
            "not set, the agent at `SSH_AUTH_SOCK` is used.",
            takes="a private key",
            write="run: pulumi config set --secret sshKey < KEY_FILE",
            limits="a Pulumi secret; in OpenSSH's form or PEM, without a passphrase",
            parse=lambda text: PrivateKey.parse(text).text,
            is_secret=True,
        ),
    ] = field(default=None, repr=False)
    activation: Annotated[
        Activation,
        Key(
            "How hosts are switched: timeouts, health checks, mode.",
            takes="a map",
            write=WRITE_ACTIVATION,
            limits="see below",
            of=Activation,
        ),
    ] = DEFAULTS
    rollout: Annotated[
        Rollout,
        Key(
            "In which order hosts are switched, and how many at a time.",
            takes="a map",
            write="write a map, such as rollout: {canary: 1, maxParallel: 4}",
            limits="see below",
            of=Rollout,
        ),
    ] = CANARY_FIRST
    incus: Annotated[
        IncusDefaults,
        Key(
            "How Incus instances are created: server, image, profiles, devices.",
            takes="a map",
            write="write a map, such as incus: {image: incus-base, remote: local}",
            limits="see below",
            of=IncusDefaults,
        ),
    ] = IncusDefaults()
    services: Annotated[
        Services,
        Key(
            "Which Docker daemon runs the services.",
            name="docker",
            takes="a map",
            write="write a map, such as docker: {host: unix:///var/run/docker.sock}",
            limits="see below",
            of=DockerSpec,
        ),
        Key(
            "Docker containers by name, from images of the flake.",
            takes="a map of services",
            write="write a map, such as services: {app: {image: app-image}}",
            limits="see below; a name has 1 to 40 of `A-Z a-z 0-9 _ -`; no `-` or `_` at its start",
            each=ServiceSpec,
        ),
    ] = Services()
    observe: Annotated[
        Observe,
        Key(
            "Whether a preview asks the hosts what they run: `auto` asks, and continues without "
            "an answer; `never` asks nothing before a deployment."
        ),
    ] = Observe.AUTO
    owner: Annotated[
        Owner | None,
        Key(
            "Whose the containers, networks, instances, volumes and images are that this stack "
            "finds on daemons by their label. The first `up` makes an owner, and the state keeps "
            "it: the key is only for taking over what a lost state, or an earlier version, has "
            "made, and can be removed after the next `up`. Never give two stacks the same one.",
            takes="an owner",
            write="write the label of what is to be taken over, as the message has it",
            limits="`PROJECT/STACK/ID`, or `PROJECT/STACK` from earlier versions",
        ),
    ] = None
    timeouts: Annotated[
        Timeouts,
        Key(
            "How long nix may take to fetch, evaluate, build and copy.",
            takes="a map",
            write="write a map, such as timeouts: {evaluate: 30m}",
            limits="see below",
            of=Timeouts,
        ),
    ] = DEFAULT_TIMEOUTS
    caches: Annotated[
        tuple[Cache, ...],
        Key(
            "Binary caches that nix uses for this stack, beside those of nix.conf.",
            takes="a list of caches",
            write="write a list, such as caches: [{url: https://cache.example.org, publicKey: "
            "cache.example.org-1:BASE64}]",
            limits="see below; at most 16",
            read=read_caches,
        ),
    ] = ()
    source: Source | None = field(default=None, repr=False, compare=False)

    @property
    def uses_daemons(self) -> bool:
        """Whether the stack has anything on a daemon."""
        return bool(self.services.specs) or any(one.incus for one in (*self.hosts, *self.disabled))

    def resolve_hosts(self, host_defaults: Mapping[str, Activation]) -> tuple[HostSpec, ...]:
        """Lay the config over what hosts say of themselves in the flake, by host.

        Raises:
            ConfigError: what does not go together with that; all problems at once.
        """
        problems: list[Problem] = []
        hosts = tuple(
            _over(host, host_defaults[host.name], problems) if host.name in host_defaults else host
            for host in self.hosts
        )
        if self.source is None:
            return hosts
        _check_hosts(replace(self.source.section, problems=problems), hosts)
        if problems:
            raise ConfigError(problems, project=self.source.project, stack=self.source.stack)
        return hosts


STACK: Final = Table(Settings, "Top-level keys, each set with `pulumi config set KEY VALUE`.")
ALWAYS_SECRET: Final = frozenset(key.name for key in STACK.keys if key.is_secret)
"""Keys whose value is in no message, even if it is in clear text."""


def parse(
    raw: Mapping[str, object],
    *,
    secret_keys: frozenset[str] = frozenset(),
    written: Mapping[str, object] = MappingProxyType({}),
    project: str = "flakeup",
    stack: str = "",
) -> Settings:
    """Parse the config of a stack: `raw` by key, with maps and lists where a key holds them.

    `written` is the same as the files have it, as far as they could be read: see `misreadings`.

    Nothing is looked up: no file, no process, no connection. The value of a key in
    `secret_keys` is in no message.

    Raises:
        ConfigError: all problems at once.
    """
    section = Section(values=raw, table=STACK, problems=[], secrets=secret_keys | ALWAYS_SECRET)
    section.reject_unknown()
    settings = _read_stack(section, secret_keys)
    # What is wrong with a value that nobody has written is of no use.
    misread = tuple(misreadings(raw, written, hidden=section.secrets))
    paths = {problem.path for problem in misread}
    problems = [*misread, *(one for one in section.problems if one.path not in paths)]
    if problems:
        raise ConfigError(problems, project=project, stack=stack)
    return replace(settings, source=Source(section=section, project=project, stack=stack))


def _read_stack(stack: Section, secret_keys: frozenset[str]) -> Settings:
    fields = stack.read_fields()
    overlay = read_overlay(stack)
    activation = overlay.over(DEFAULTS, stack.problems) if overlay else DEFAULTS
    if "sshKey" in stack.values and "sshKey" not in secret_keys:
        stack.reject("sshKey", "is in clear text")
    incus = read_incus(stack)
    defaults = Defaults(
        app_ref=fields.get("app_ref"), activation=activation, overlay=overlay, incus=incus
    )
    hosts = read_hosts(stack, defaults)
    settings = Settings(
        **fields,
        hosts=hosts.enabled,
        disabled=hosts.disabled,
        incus=incus,
        services=read_services(stack),
        activation=activation,
        rollout=read_rollout(stack, hosts.names),
        timeouts=read_timeouts(stack),
    )
    if "flake" not in stack.values or "flake" in fields:
        _check_flake_ref(stack, settings.flake)
    _check_app_rev(stack, settings.app_ref, settings.app_rev)
    _check_hosts(stack, settings.hosts)
    return settings


def _check_flake_ref(stack: Section, flake: FlakeUrl) -> None:
    if flake.kind.is_pinned_by_ref and "flakeRef" not in stack.values:
        stack.reject("flakeRef", "is required for a flake in git: nothing else pins it")
    if not flake.kind.is_pinned_by_ref and "flakeRef" in stack.values:
        stack.reject(
            "flakeRef",
            f"cannot be used with a flake that is a {flake.kind}, which is used as it is",
            "remove the key, or write a git repository as flake",
        )


def _check_app_rev(stack: Section, app_ref: Ref | None, app_rev: Rev | None) -> None:
    if "appRev" in stack.values and "appRef" not in stack.values:
        stack.reject("appRev", "is set without appRef", "set appRef too, or remove the key")
    if app_ref and app_rev and app_ref.is_commit and app_ref.text != app_rev.text:
        stack.reject("appRev", "is a different commit than appRef")


def _over(host: HostSpec, activation: Activation, problems: list[Problem]) -> HostSpec:
    for overlay in host.overlays:
        activation = overlay.over(activation, problems)
    return replace(host, activation=activation)


def _check_hosts(stack: Section, hosts: Iterable[HostSpec]) -> None:
    """Check what the checks of hosts need of the rest of the config."""
    hosts = tuple(hosts)
    _check_placeholders(stack, hosts)
    _check_addresses(stack, hosts)
    _check_names(stack, hosts)


def _check_addresses(stack: Section, hosts: Iterable[HostSpec]) -> None:
    """Reject the first check of an address that nothing leads to."""
    for host in hosts:
        if host.incus is None or host.incus.transport is not TransportKind.EXEC:
            continue
        for check in host.activation.checks:
            if ADDRESS in check.placeholders:
                why = (
                    f"has {host.name}, whose check {check.name} names {{{ADDRESS}}}: there is none"
                )
                remedy = "write localhost in it, or transport: ssh"
                stack.reject("hosts", f"{why} with transport exec", remedy)
                return


def _check_names(stack: Section, hosts: Iterable[HostSpec]) -> None:
    """Reject the first check that connects to a name which cannot be an address."""
    for host in hosts:
        for check in host.activation.checks:
            if check.is_at_name and (found := re.search("[@+]", host.name)):
                why = (
                    f"has {host.name}, whose check {check.name} connects to {{name}}: "
                    f"'{found[0]}' cannot be in an address"
                )
                stack.reject("hosts", why, "write {address} in the check, or another name")
                return


def _check_placeholders(stack: Section, hosts: Iterable[HostSpec]) -> None:
    """Reject the first check that asks for a release of a host that has none."""
    if "appRef" in stack.values:
        return
    for host in hosts:
        for check in host.activation.checks:
            if host.app_ref is None and (unfilled := check.placeholders & FROM_RELEASE):
                name = f"{{{min(unfilled)}}}"
                stack.reject(
                    "appRef",
                    f"is required for {name} in the check {check.name} of {host.name}",
                    f"set appRef, or write the check without {name}",
                )
                return
