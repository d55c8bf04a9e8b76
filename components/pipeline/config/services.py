"""The services of a stack: containers of Docker, as values, and how they are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Annotated, Any, Final

from ..values import AttrPath, Duration, InvalidValue, Name
from .docker import DockerSpec, read_docker
from .schema import Key, Table
from .section import Section, path_to
from .service_maps import (
    MAX_ENV,
    MAX_PORTS,
    MAX_SECRETS,
    MAX_VOLUMES,
    MAX_WORDS,
    read_env,
    read_ports,
    read_secrets,
    read_volumes,
    read_words,
)
from .service_secrets import check_secrets

WRITE_NAME: Final = "write a name of letters, digits, '_' and '-', such as app"
MAX_NAME: Final = 40
"""Characters of a service's name: with what the provider adds, a container's is one in DNS too."""

_USER: Final = re.compile(r"[0-9]{1,10}(?::[0-9]{1,10})?")


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
    """What goes through an edge."""

    HTTP = "http"
    TCP = "tcp"


def _parse_user(text: str) -> str:
    if not _USER.fullmatch(text):
        msg = "is not a user by number"
        raise InvalidValue(msg)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service as configured."""

    name: str
    image: Annotated[
        AttrPath,
        Key(
            "The image: `packages.<system>.<image>` of the flake, an archive of dockerTools, or a "
            "script that writes one. As in nix, dots separate names (`images.web`) that are not in "
            'quotes (`images."web.1"`).',
            takes="the path of a package",
            write=(
                "write the path of an image below packages.<system>, such as app-image, images.web "
                'or images."web.1"'
            ),
            limits="1 to 128; each name as a host's `attr`, with dots only in quotes",
        ),
    ]
    origin: Annotated[
        Origin,
        Key(
            "Whose `packages` the image is in: this flake's, or those of the app's own flake, at "
            "the commit of `appRef` and with that flake's own lock file. The edge is always from "
            "this flake.",
            name="from",
            limits="`app` requires `appRef`",
        ),
    ] = Origin.FLAKE
    system: Annotated[
        System, Key("The platform of the image, which is the daemon's.", takes="a system")
    ] = System.X86_64
    strategy: Annotated[
        Strategy,
        Key(
            "`blue-green`: the new container runs next to the old one until it is healthy; then "
            "the edge sends requests to it, and the old one is removed. `recreate`: the old one "
            "is removed first, with a gap, for what may run only once.",
            limits="`blue-green` with `ports` requires an `edge`",
        ),
    ] = Strategy.BLUE_GREEN
    ports: Annotated[
        Mapping[int, int],
        Key(
            "Ports of the daemon's machine, each with the container's port that answers there.",
            takes="a map of ports",
            write='write a map of port here to port in the container, such as {"80": "8080"}',
            limits=f"at most {MAX_PORTS}; each 1 to 65535",
            read=read_ports,
        ),
    ] = field(default_factory=dict)
    edge: Annotated[
        AttrPath | None,
        Key(
            "The image of the edge: HAProxy 2.4 or later. It holds the ports of a `blue-green` "
            "service, and keeps running when a release comes.",
            takes="the path of a package",
            write=(
                "write the path of an image of HAProxy below packages.<system>, such as edge-image"
            ),
            limits="as `image`; requires `ports`",
        ),
    ] = None
    traffic: Annotated[
        Traffic,
        Key(
            "The protocol that the edge forwards; with `http`, connections that stay open are "
            "moved too."
        ),
    ] = Traffic.HTTP
    command: Annotated[
        tuple[str, ...],
        Key(
            "The command of the container.",
            takes="a list of words",
            write='write a list, such as command: ["/bin/app", "--port", "8080"]',
            limits=f"at most {MAX_WORDS}",
            otherwise="what the image says",
            read=read_words,
        ),
    ] = ()
    env: Annotated[
        Mapping[str, str],
        Key(
            "Environment variables. Everybody with access to the daemon sees them; one that is "
            "set with `pulumi config set --secret --path` is a secret in the state.",
            takes="a map of texts",
            write='write a map, such as env: {LOG_LEVEL: info, WORKERS: "4"}',
            limits=f"at most {MAX_ENV}; names of `A-Z a-z 0-9 _`",
            read=read_env,
            takes_numbers=True,
        ),
    ] = field(default_factory=dict, repr=False)
    secrets: Annotated[
        Mapping[str, str],
        Key(
            "Files in the container, `/run/secrets/<name>`, that everybody in it may read (0444) "
            "and nobody can write. They are there before it starts, and in no environment, "
            "image, log or clear state; another text recreates the container.",
            takes="a map of secrets",
            write="run: pulumi config set --secret --path services.NAME.secrets.FILE",
            limits=(
                f"at most {MAX_SECRETS}, each a Pulumi secret of 1 byte to 500 KiB; names of "
                "`A-Z a-z 0-9 _ . -`, no `.` or `-` at their start"
            ),
            read=read_secrets,
            takes_numbers=True,
            is_secret=True,
        ),
    ] = field(default_factory=dict, repr=False)
    """Name of a file → what is in it."""
    volumes: Annotated[
        Mapping[str, str],
        Key(
            "Named volumes of the daemon, and where they are mounted in the container. They are "
            "never deleted.",
            takes="a map of paths",
            write="write a map of volume to path, such as volumes: {data: /var/lib/app}",
            limits=f"at most {MAX_VOLUMES}; absolute paths, each once; no folders of the machine",
            read=read_volumes,
        ),
    ] = field(default_factory=dict)
    user: Annotated[
        str,
        Key(
            "The user that it runs as.",
            takes="a user",
            write='write a user and group by number, such as user: "1000:1000"',
            limits="`UID` or `UID:GID`",
            otherwise="what the image says",
            parse=_parse_user,
        ),
    ] = ""
    read_only: Annotated[bool, Key("Whether its root file system is read-only.")] = False
    healthcheck: Annotated[
        tuple[str, ...],
        Key(
            "The command that Docker runs in the container to check its health. If it is not "
            "set, a container that has run for 3 s counts as healthy.",
            takes="a list of words",
            write='write a list, such as healthcheck: ["/bin/wget", "-q", "http://localhost:8080/"]',
            limits=f"at most {MAX_WORDS}",
            read=read_words,
        ),
    ] = ()
    health_interval: Annotated[
        Duration,
        Key(
            "The time between two health checks; three failures in a row make it unhealthy.",
            most="1h",
        ),
    ] = Duration("2s")
    wait: Annotated[
        Duration,
        Key("How long a candidate, and then the container, may take to become healthy.", most="1h"),
    ] = Duration("1m")
    grace: Annotated[
        Duration,
        Key("How long the old container may take to stop.", most="1h"),
    ] = Duration("10s")


SERVICE: Final = Table(
    ServiceSpec,
    "A service is a container from an image of the flake. A new release first runs as a "
    "candidate, which has to become healthy; only then is anything changed.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services(DockerSpec):
    """The services of a stack, sorted by name, and the daemon that runs them."""

    specs: tuple[ServiceSpec, ...] = ()
    is_secret: bool = False
    """Whether there is a Pulumi secret in them: which of their texts it is, nobody says."""


def read_services(stack: Section) -> Services:
    """Read `docker` and `services`; where a key has a problem, the rest is still read."""
    docker = read_docker(stack)
    daemon: dict[str, Any] = {one.name: getattr(docker, one.name) for one in fields(docker)}
    values = stack.read_map("services")
    if values is None:
        return Services(**daemon)
    services = stack.open("services", values)
    has_app = "appRef" in stack.values
    found = [_read_service(services, name, has_app=has_app) for name in sorted(values)]
    specs = tuple(spec for spec in found if spec)
    _check_ports(services, specs)
    return Services(**daemon, specs=specs, is_secret=services.hidden)


def _read_service(services: Section, name: str, *, has_app: bool) -> ServiceSpec | None:
    try:
        _check_name(name)
    except InvalidValue as error:
        services.reject(name, f"the name of the service {error.reason()}", WRITE_NAME)
        return None
    values = services.read_map(name, "write a map with at least image")
    if values is None:
        return None
    section = services.open(name, values, SERVICE)
    # Where the image has a problem, another one only fills its place: the config is refused.
    spec = ServiceSpec(**{"name": name, "image": AttrPath.parse("none"), **section.read_fields()})
    _check_edge(section, spec)
    if spec.origin is Origin.APP and not has_app:
        why = "is the app's flake, whose commit only appRef says"
        section.reject("from", why, "set appRef, or write from: flake")
    check_secrets(section, spec.name, spec.secrets, spec.volumes)
    return spec


def _check_name(name: str) -> None:
    Name.parse(name)
    if name.startswith("_"):
        msg = "starts with '_'"
        raise InvalidValue(msg)
    if len(name) > MAX_NAME:
        msg = f"is longer than {MAX_NAME} characters"
        raise InvalidValue(msg)


def _check_edge(section: Section, spec: ServiceSpec) -> None:
    has_ports, has_edge = "ports" in section.values, "edge" in section.values
    if has_edge and (not has_ports or spec.strategy is not Strategy.BLUE_GREEN):
        why = "has no effect: it is for the ports of a blue-green service"
        section.reject("edge", why, "remove it, or write ports and strategy: blue-green")
    if has_ports and spec.strategy is Strategy.BLUE_GREEN and not has_edge:
        why = "cannot be used by two containers at once, as blue-green runs them"
        section.reject("ports", why, "write an edge too, or strategy: recreate")


def _check_ports(services: Section, specs: tuple[ServiceSpec, ...]) -> None:
    taken: dict[int, str] = {}
    for spec in specs:
        for port in spec.ports:
            other = taken.setdefault(port, spec.name)
            if other != spec.name:
                why = f"has the port {port}, which {path_to('services', other)} has as well"
                services.reject(spec.name, why, "write each port once")
