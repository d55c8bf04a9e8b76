"""The services of a stack as configured."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from ..values import Attr, Duration, HostKey, HostName, InvalidValue
from . import service_maps, service_secrets
from .docker import read_daemon
from .hosts import WRITE_NAME
from .registry import Registry, read_registry
from .section import Section, flag, one_of, path_to, time_of
from .services_table import DOCKER, SERVICE, SERVICES

_USER: Final = re.compile(r"[0-9]{1,10}(?::[0-9]{1,10})?")
MAX_NAME: Final = 40
"""Characters of a service's name: with what the provider adds, a container's is one in DNS too."""


class System(StrEnum):
    """For which processor an image is."""

    X86_64 = "x86_64-linux"
    AARCH64 = "aarch64-linux"


class Origin(StrEnum):
    """Whose flake the image is of."""

    FLAKE = "flake"
    APP = "app"
    """That of `appInput`, at the commit that `appRef` pins."""


class Strategy(StrEnum):
    """How a new container takes the place of the old one."""

    BLUE_GREEN = "blue-green"
    RECREATE = "recreate"


class Traffic(StrEnum):
    """What goes through the edge of a service."""

    HTTP = "http"
    TCP = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service as configured."""

    name: str
    image: Attr
    origin: Origin = Origin.FLAKE
    system: System = System.X86_64
    strategy: Strategy = Strategy.BLUE_GREEN
    ports: Mapping[int, int] = field(default_factory=dict)
    """Port of the daemon's machine → port of the container."""
    edge: Attr | None = None
    traffic: Traffic = Traffic.HTTP
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Name of a file → what is in it."""
    volumes: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    read_only: bool = False
    healthcheck: tuple[str, ...] = ()
    health_interval: Duration = Duration(SERVICE["healthInterval"].default)  # noqa: RUF009 frozen
    wait: Duration = Duration(SERVICE["wait"].default)  # noqa: RUF009 frozen
    grace: Duration = Duration(SERVICE["grace"].default)  # noqa: RUF009 frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services of a stack, sorted by name, and the daemon that runs them."""

    host: str = DOCKER["host"].default
    host_key: HostKey | None = None
    """Of the machine, where the daemon is reached over ssh."""
    registry: Registry | None = None
    """Where images go first, and the daemon pulls them from."""
    specs: tuple[ServiceSpec, ...] = ()
    is_secret: bool = False
    """Whether there is a Pulumi secret in them: which of their texts it is, nobody says."""


def read_services(stack: Section) -> Services:
    """Read `docker` and `services` of a stack; where a key is refused, the rest is looked at."""
    daemon = _daemon_and_registry(stack)
    values = stack.mapping("services")
    if values is None:
        return daemon
    services = Section(
        values=values,
        table=SERVICES,
        problems=stack.problems,
        path="services",
        hidden=stack.hides("services"),
    )
    has_app = "appRef" in stack.values
    found = [_service(services, name, has_app=has_app) for name in sorted(values)]
    specs = tuple(spec for spec in found if spec)
    _check_ports(services, specs)
    return replace(daemon, specs=specs, is_secret=services.hidden)


def _daemon_and_registry(stack: Section) -> Services:
    values = stack.mapping("docker")
    if values is None:
        return Services()
    docker = stack.inner("docker", values, DOCKER)
    host, host_key = read_daemon(docker)
    return Services(host=host, host_key=host_key, registry=read_registry(docker))


def _service(services: Section, name: str, *, has_app: bool) -> ServiceSpec | None:
    try:
        _check_name(name)
    except InvalidValue as error:
        services.refuse(name, f"the name of the service {error.reason()}", WRITE_NAME)
        return None
    values = services.mapping(name, "write a map with at least image")
    if values is None:
        return None
    one = services.inner(name, values, SERVICE)
    # Where a key is refused, something else only fills its place: the config is refused with it.
    image = one.read("image", Attr.parse) or Attr("none")
    plain = ServiceSpec(name=name, image=image)
    made = ServiceSpec(
        name=name,
        image=image,
        origin=one.read("from", one_of(Origin)) or plain.origin,
        edge=one.read("edge", Attr.parse),
        system=one.read("system", one_of(System)) or plain.system,
        strategy=one.read("strategy", one_of(Strategy)) or plain.strategy,
        traffic=one.read("traffic", one_of(Traffic)) or plain.traffic,
        ports=service_maps.ports(one, "ports"),
        command=service_maps.words(one, "command"),
        healthcheck=service_maps.words(one, "healthcheck"),
        env=dict(service_maps.pairs(one, "env", service_maps.ENV)),
        secrets=dict(service_maps.pairs(one, "secrets", service_maps.SECRETS)),
        volumes=dict(service_maps.pairs(one, "volumes", service_maps.VOLUMES)),
        user=one.read("user", _user) or plain.user,
        read_only=bool(one.read("readOnly", flag)),
        health_interval=_time(one, "healthInterval", plain.health_interval),
        wait=_time(one, "wait", plain.wait),
        grace=_time(one, "grace", plain.grace),
    )
    _check_edge(one, made)
    if made.origin is Origin.APP and not has_app:
        why = "is the app's flake, and nothing says at which commit"
        one.refuse("from", why, "set appRef, or write from: flake")
    service_secrets.refuse(one, made.name, made.secrets, made.volumes)
    return made


def _check_name(name: str) -> None:
    HostName.parse(name)
    if name.startswith("_"):
        msg = "starts with '_'"
        raise InvalidValue(msg)
    if len(name) > MAX_NAME:
        msg = f"is longer than {MAX_NAME} characters"
        raise InvalidValue(msg)


def _time(one: Section, key: str, otherwise: Duration) -> Duration:
    return one.read(key, time_of(SERVICE[key])) or otherwise


def _check_edge(one: Section, made: ServiceSpec) -> None:
    has_ports, has_edge = "ports" in one.values, "edge" in one.values
    if has_edge and (not has_ports or made.strategy is not Strategy.BLUE_GREEN):
        why = "has nothing to do: it is for the ports of a blue-green service"
        one.refuse("edge", why, "remove it, or write ports and strategy: blue-green")
    if has_ports and made.strategy is Strategy.BLUE_GREEN and not has_edge:
        why = "cannot be had by two containers at once, as blue-green has them"
        one.refuse("ports", why, "write an edge too, or strategy: recreate")


def _check_ports(services: Section, specs: tuple[ServiceSpec, ...]) -> None:
    taken: dict[int, str] = {}
    for spec in specs:
        for port in spec.ports:
            other = taken.setdefault(port, spec.name)
            if other != spec.name:
                why = f"has the port {port}, which {path_to('services', other)} has too"
                services.refuse(spec.name, why, "write each port once")


def _user(text: str) -> str:
    if not _USER.fullmatch(text):
        msg = "is no user by number"
        raise InvalidValue(msg)
    return text
