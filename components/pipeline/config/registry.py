"""A registry of images: where it is, and who logs in to it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from ..values import HostAddress, InvalidValue, Port
from .schema import Key, Table
from .section import Section

MAX_ADDRESS: Final = 160
MAX_USERNAME: Final = 255
MAX_PASSWORD: Final = 8192
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PART: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
"""One part of a repository's path (distribution's reference grammar)."""


def parse_address(text: str) -> str:
    """Check an address; whoever gives it to Docker or skopeo has it understood as it is meant.

    Raises:
        InvalidValue: it is not one, or a name that Docker would look for on Docker Hub.
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
            msg = "has a part in its path that is not valid in a repository's name"
            raise InvalidValue(msg, sample=part)
    return text


def _parse_username(text: str) -> str:
    _check(text, MAX_USERNAME)
    if ":" in text:
        msg = "has a ':' in it"
        raise InvalidValue(msg)
    return text


def _parse_password(text: str) -> str:
    _check(text, MAX_PASSWORD)
    return text


def _check(text: str, most: int) -> None:
    if not text or len(text) > most:
        msg = "is empty" if not text else f"is longer than {most} characters"
        raise InvalidValue(msg)
    if not text.isprintable():
        msg = "has a line break or another control character in it"
        raise InvalidValue(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A registry, a path in it, and the login of the config, if there is one."""

    address: Annotated[
        str,
        Key(
            "The registry, and the path in it to put images under.",
            takes="a registry's address",
            write="write where images go, such as registry.example.org/team",
            limits=(
                "at most 160 of `a-z 0-9 . _ - / :`; a host with a `.` or a port, or `localhost`; "
                "no `https://`; plain http only where the host is this machine"
            ),
            parse=parse_address,
        ),
    ]
    """`host[:port][/path]`: what the names of images begin with."""
    username: Annotated[
        str,
        Key(
            "The user that pushes and pulls. If it is not set, the login of `skopeo login` or "
            "`docker login` on the machine that runs `pulumi up` is used, if there is one.",
            takes="a user's name",
            write="write the name of a user or a robot account",
            limits="at most 255 characters, no `:`; only with `password`",
            parse=_parse_username,
        ),
    ] = ""
    password: Annotated[
        str,
        Key(
            "The user's password or token.",
            takes="a password",
            write="run: pulumi config set --path docker.registry.password --secret",
            limits="a Pulumi secret; at most 8192 characters; only with `username`",
            parse=_parse_password,
            is_secret=True,
        ),
    ] = field(default="", repr=False)

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


REGISTRY: Final = Table(
    Registry,
    "With a registry, an image is pushed to it as `<address>/<image>:<hash of its path>`, unless "
    "that name exists already, and the daemon pulls the layers that it lacks. Nothing is ever "
    "removed from a registry. `skopeo` has to be on `PATH`.",
)


def read_registry(docker: Section) -> Registry | None:
    """Read `docker.registry`; None if it is not set, or has a problem, which is then reported."""
    values = docker.read_map("registry", "write a map with at least address")
    if values is None:
        return None
    # A password in clear is not shown either, whatever its key was meant to be.
    secrets = frozenset(values) - _shown(values)
    section = docker.open("registry", values, REGISTRY, secrets)
    fields = section.read_fields()
    if "password" in values and not docker.hidden:
        section.reject("password", "is in clear text")
    for name, other in (("username", "password"), ("password", "username")):
        if name in values and other not in values:
            section.reject(name, f"is set without {other}", f"set {other} too, or remove the key")
    return Registry(**fields) if "address" in fields else None


def _shown(values: Mapping[str, object]) -> frozenset[str]:
    is_plain = "@" not in str(values.get("address"))
    return frozenset({"username", "address"} if is_plain else {"username"})
