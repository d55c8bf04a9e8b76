"""Where the daemon of a stack is: on this machine, or on another one that is reached over ssh."""

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from ..values import HostAddress, HostKey, InvalidValue, Port, UserName
from .section import Section
from .services_table import DOCKER

PATH: Final = re.compile(r"(?!.*/\.{1,2}(?:/|$))/[A-Za-z0-9._/+@-]{1,199}")
SCHEME: Final = "ssh"
PORT: Final = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine as DOCKER_HOST has it: `ssh://deploy@docker.example.org:22`."""

    user: UserName
    address: HostAddress
    port: int = PORT

    @property
    def url(self) -> str:
        """One spelling for each: another one would be another daemon to all that runs there."""
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
            msg = "is no address of a machine"
            raise InvalidValue(msg) from None
        if place.scheme != SCHEME or not host:
            msg = "is no address of a machine"
            raise InvalidValue(msg)
        if not place.username:
            msg = "does not say who logs in"
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


def read_daemon(docker: Section) -> tuple[str, HostKey | None]:
    """Read from `docker` of a stack where its daemon is, and the key of its machine."""
    values = docker.values
    host, host_key = docker.read("host", _daemon), docker.read("hostKey", HostKey.parse)
    scheme = (host or "").partition("://")[0]
    if scheme == SCHEME and "hostKey" not in values:
        docker.refuse("hostKey", "is required for a daemon over ssh")
    if scheme not in {"", SCHEME} and "hostKey" in values:
        docker.refuse("hostKey", f"does not go with {scheme}://", "remove the key")
    return host or DOCKER["host"].default, host_key


def _daemon(text: str) -> str:
    msg = "is no address of a daemon"
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
