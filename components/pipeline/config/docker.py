"""Where the Docker daemon of a stack is: on this machine, or on another one, over ssh."""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from ..values import HostAddress, HostKey, InvalidValue, Port, UserName
from .registry import Registry, read_registry
from .schema import Key, Table
from .section import Section

PATH: Final = re.compile(r"(?!.*/\.{1,2}(?:/|$))/[A-Za-z0-9._/+@-]{1,199}")
SCHEME: Final = "ssh"
PORT: Final = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine of a daemon, in the form of DOCKER_HOST: `ssh://deploy@docker.example.org:22`."""

    user: UserName
    address: HostAddress
    port: int = PORT

    @property
    def url(self) -> str:
        """One spelling for each machine: another one would count as another daemon."""
        address = self.address.canonical
        bracketed = f"[{address}]" if ":" in address else address
        return f"{SCHEME}://{self.user.text}@{bracketed}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the address of a daemon over ssh, or raise InvalidValue."""
        try:
            place = urlsplit(text)
            host, port = place.hostname or "", place.port
        except ValueError:
            msg = "is not the address of a machine"
            raise InvalidValue(msg) from None
        if place.scheme != SCHEME or not host:
            msg = "is not the address of a machine"
            raise InvalidValue(msg)
        if not place.username:
            msg = "has no user"
            raise InvalidValue(msg)
        if place.password is not None:
            msg = "has a password in it"
            raise InvalidValue(msg, remedy="remove it: the login is by sshKey, or by your agent")
        if place.path not in {"", "/"} or place.query or place.fragment:
            msg = "has something after the address"
            remedy = "leave it out: the Docker client there knows where its daemon is"
            raise InvalidValue(msg, remedy=remedy)
        return cls(
            user=UserName.parse(place.username),
            address=HostAddress.parse(host),
            port=PORT if port is None else Port(port).number,
        )


def _parse_daemon(text: str) -> str:
    msg = "is not the address of a daemon"
    try:
        place = urlsplit(text)
        port = place.port
    except ValueError:
        raise InvalidValue(msg) from None
    if place.scheme == "unix" and PATH.fullmatch(place.path) and not place.netloc:
        return text
    if place.scheme == SCHEME:
        return Machine.parse(text).url
    if place.scheme == "tcp" and place.hostname and port and not (place.path or place.username):
        if not HostAddress.parse(place.hostname).is_loopback:
            msg = "is a daemon that anybody on the network can reach: nothing would be encrypted"
            raise InvalidValue(msg, remedy="write a socket, or the near end of a tunnel to it")
        return text
    raise InvalidValue(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSpec:
    """The daemon that runs the services of a stack, and where it has their images from."""

    host: Annotated[
        str,
        Key(
            "Where the daemon listens, as in DOCKER_HOST. With `ssh` the machine has a Docker "
            "client that the user may use; the login is by `sshKey` or an agent.",
            takes="a daemon's address",
            write=(
                "write unix:///var/run/docker.sock, ssh://deploy@docker.example.org, "
                "or tcp://127.0.0.1:2375 behind a tunnel"
            ),
            limits=(
                "`unix://` and an absolute path; `ssh://`, a user, an address and perhaps a port; "
                "or `tcp://` and a loopback address and port"
            ),
            parse=_parse_daemon,
        ),
    ] = "unix:///var/run/docker.sock"
    host_key: Annotated[
        HostKey | None,
        Key(
            "The public ed25519 key of the daemon's machine, which every connection verifies; "
            "this cannot be turned off.",
            takes="a host key",
            write=(
                "write the line of /etc/ssh/ssh_host_ed25519_key.pub on the daemon's machine: "
                "ssh-ed25519 AAAA..."
            ),
            limits="as a host's `hostKey`; required with `ssh://`, and only there",
        ),
    ] = None
    registry: Annotated[
        Registry | None,
        Key(
            "The registry to push images to and pull them from, so that only missing layers are "
            "transferred.",
            takes="a map",
            write="write a map, such as registry: {address: registry.example.org/team}",
            limits="see below",
            otherwise="images are sent to the daemon, whole",
            of=Registry,
        ),
    ] = None


DOCKER: Final = Table(
    DockerSpec,
    "Which Docker daemon runs the services, and the registry that their images go through.",
    instead={
        "proxyJump": (
            "remove it: open a tunnel through that machine (`ssh -J`, `-L`) and write its near end "
            "as docker.host: tcp://127.0.0.1:2375"
        )
    },
)


def read_docker(stack: Section) -> DockerSpec:
    """Read `docker` of a stack; where a key has a problem, the rest is still read."""
    values = stack.read_map("docker")
    if values is None:
        return DockerSpec()
    section = stack.open("docker", values, DOCKER)
    docker = replace(DockerSpec(), **section.read_fields(), registry=read_registry(section))
    scheme = docker.host.partition("://")[0]
    if scheme == SCHEME and "hostKey" not in values:
        section.reject("hostKey", "is required for a daemon over ssh")
    is_host_valid = section.muted().read("host") if "host" in values else docker.host
    if is_host_valid and scheme != SCHEME and "hostKey" in values:
        section.reject("hostKey", f"cannot be used with {scheme}://", "remove the key")
    return docker
