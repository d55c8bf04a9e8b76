"""A registry of images: where it is, and who logs in to it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..values import HostAddress, InvalidValue, Port
from .registry_table import REGISTRY
from .section import Section, path_to

MAX_ADDRESS: Final = 160
MAX_USERNAME: Final = 255
MAX_PASSWORD: Final = 8192
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PART: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
"""One part of a repository's path (distribution's reference grammar)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A registry, a path in it, and the login of the config, if there is one."""

    address: str
    """`host[:port][/path]`: what the names of images begin with."""
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def host(self) -> str:
        """The host, with its port where it has one."""
        return self.address.split("/", 1)[0]

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine: only such a one may speak plain http."""
        return HostAddress.parse(self.host.partition(":")[0]).is_loopback

    def without_password(self, text: str) -> str:
        """A text that somebody else has made, as it may be shown."""
        return text.replace(self.password, "[secret]") if self.password else text


def parse_address(text: str) -> str:
    """Check an address; whoever gives it to Docker or skopeo has it understood as it is meant.

    Raises:
        InvalidValue: it is none, or a name that Docker would look for on Docker Hub.
    """
    if "://" in text:
        msg = "has a scheme"
        raise InvalidValue(msg, remedy="leave it out: write registry.example.org/team")
    if "@" in text:
        msg = "has a user or a digest in it"
        raise InvalidValue(msg, remedy="leave it out: username and password have keys of their own")
    if not text or len(text) > MAX_ADDRESS:
        msg = "is empty" if not text else f"is longer than {MAX_ADDRESS} characters"
        raise InvalidValue(msg)
    authority, *parts = text.split("/")
    host, colon, port = authority.partition(":")
    if not _HOST.fullmatch(host):
        msg = "does not begin with a host"
        raise InvalidValue(msg)
    if colon:
        Port.parse(port)
    elif "." not in host and host != "localhost":
        msg = "begins with what Docker takes for a user of Docker Hub"
        remedy = "write the host of the registry before it"
        raise InvalidValue(msg, sample=host, remedy=remedy)
    HostAddress.parse(host)
    for part in parts:
        if not _PART.fullmatch(part):
            msg = "has a part in its path that no repository's name may have"
            raise InvalidValue(msg, sample=part)
    return text


def read_registry(docker: Section) -> Registry | None:
    """Read `docker.registry`; None where there is none, or a problem, which is written down."""
    values = docker.mapping("registry", "write a map with at least address")
    if values is None:
        return None
    one = Section(
        values=values,
        table=REGISTRY,
        problems=docker.problems,
        path=path_to(docker.path, "registry"),
        hidden=docker.hides("registry"),
        # A password in clear is not shown either, whatever its key was meant to be.
        secrets=frozenset(values) - _shown(values),
    )
    one.refuse_unknown()
    address = one.read("address", parse_address)
    username = one.read("username", _username)
    password = one.read("password", _password)
    if "password" in values and not docker.hidden:
        one.refuse("password", "is in clear text")
    for name, other in (("username", "password"), ("password", "username")):
        if name in values and other not in values:
            one.refuse(name, f"is set without {other}", f"set {other} too, or remove the key")
    if address is None:
        return None
    return Registry(address=address, username=username or "", password=password or "")


def _shown(values: Mapping[str, object]) -> frozenset[str]:
    is_plain = "@" not in str(values.get("address"))
    return frozenset({"username", "address"} if is_plain else {"username"})


def _username(text: str) -> str:
    _check(text, MAX_USERNAME)
    if ":" in text:
        msg = "has a ':' in it"
        raise InvalidValue(msg)
    return text


def _password(text: str) -> str:
    _check(text, MAX_PASSWORD)
    return text


def _check(text: str, most: int) -> None:
    if not text or len(text) > most:
        msg = "is empty" if not text else f"is longer than {most} characters"
        raise InvalidValue(msg)
    if not text.isprintable():
        msg = "has a line break or another control character in it"
        raise InvalidValue(msg)
