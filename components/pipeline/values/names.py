"""What a ref, a host, a user, a store path, ... may look like: allow-lists, parsed once.

A value of these types is safe in an argv, on an ssh command line and in a Nix expression: it
starts with no `-` and holds no white space, no control character and nothing a shell expands.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Self

from ..errors import printable

MAX_REF: Final = 200
MAX_HOST: Final = 253
MAX_LABEL: Final = 63
MAX_USER: Final = 32
MAX_NAME: Final = 63
MAX_ATTR: Final = 128
MAX_PORT: Final = 65535
MAX_SECONDS: Final = 24 * 3600

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_PART: Final = re.compile(r'\.("[^"]*"|[^."]*)(?=\.|$)')
_STORE_PATH: Final = re.compile(r"/nix/store/[0-9a-df-np-sv-z]{32}-([A-Za-z0-9._+=?-]{1,207})")
_DURATION: Final = re.compile(r"(0|[1-9][0-9]{0,4})([smh])")
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


class InvalidValue(ValueError):  # noqa: N818 what is said of the text
    """A text that is not a value of the wanted kind.

    `sample` is a piece of the text, kept apart from `why` so that it can be left out where the
    text is a secret. `remedy` is empty where the general one of the config key will do.
    """

    def __init__(self, why: str, *, sample: str = "", remedy: str = "") -> None:
        self.why = why
        self.sample = sample
        self.remedy = remedy
        super().__init__(self.reason())

    def reason(self, *, hidden: bool = False) -> str:
        """Say why the text was refused, with or without a piece of it."""
        return self.why if hidden or not self.sample else f"{self.why} ('{printable(self.sample)}')"


def check_characters(text: str, allowed: str, *, limit: int) -> None:
    """Refuse the empty text, more than `limit` characters, and any outside `allowed`.

    `allowed` is the inside of a regular expression's character class, such as `A-Za-z0-9`.
    """
    if not text:
        msg = "is empty"
        raise InvalidValue(msg)
    if len(text) > limit:
        msg = f"is longer than {limit} characters"
        raise InvalidValue(msg)
    if found := re.search(f"[^{allowed}]", text):
        msg = "has a character that is not allowed here"
        raise InvalidValue(msg, sample=found[0])


@dataclass(frozen=True, slots=True)
class Ref:
    """A tag, a branch, `refs/...` or a full commit id: git-check-ref-format(1), and stricter.

    It may hold a `#`, which a URL has to escape, but not begin with one, as a shell's comments do.
    """

    text: str

    def __post_init__(self) -> None:
        check_characters(self.text, "A-Za-z0-9._/+@#-", limit=MAX_REF)
        for start in ("-", ".", "/", "#"):
            if self.text.startswith(start):
                msg = f"starts with '{start}'"
                raise InvalidValue(msg)
        for end in ("/", ".", ".lock"):
            if self.text.endswith(end):
                msg = f"ends with '{end}'"
                raise InvalidValue(msg)
        for inside in ("..", "//", "/.", ".lock/"):
            if inside in self.text:
                msg = f"has '{inside}' in it"
                raise InvalidValue(msg)
        if self.text == "@":
            msg = "is git's short name for HEAD, which pins nothing"
            raise InvalidValue(msg)
        if _COMMIT.fullmatch(self.text.lower()) and not self.is_commit:
            msg = "is a commit id with capital letters"
            raise InvalidValue(msg, remedy="write it in lower case, as git does")

    @property
    def is_commit(self) -> bool:
        """Whether this is a full commit id (40 hex digits)."""
        return _COMMIT.fullmatch(self.text) is not None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a ref, or raise InvalidValue."""
        return cls(text)


@dataclass(frozen=True, slots=True)
class Rev:
    """A full commit id: 40 lower-case hex digits."""

    text: str

    def __post_init__(self) -> None:
        if not _COMMIT.fullmatch(self.text):
            msg = "is not a full commit id: 40 hex digits in lower case"
            raise InvalidValue(msg)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a commit id, or raise InvalidValue."""
        return cls(text)


@dataclass(frozen=True, slots=True)
class HostAddress:
    """A host name (RFC 1123), or an IPv4 or IPv6 address without brackets and zone."""

    text: str

    def __post_init__(self) -> None:
        if self.text.startswith("["):
            msg = "has a bracket"
            raise InvalidValue(msg, remedy="write an IPv6 address without brackets")
        if "@" in self.text:
            msg = "has a user in it"
            raise InvalidValue(msg, remedy="write the address alone, and the user as `user`")
        check_characters(self.text, "A-Za-z0-9.:-", limit=MAX_HOST)
        if ":" in self.text or self.text.rpartition(".")[2].isdigit():
            _check_ip(self.text)
            return
        for label in self.text.split("."):
            if len(label) > MAX_LABEL or not _LABEL.fullmatch(label):
                msg = (
                    "is not a host name: a part of it does not begin and end with a letter or digit"
                )
                raise InvalidValue(msg)

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The address as a number (an IPv4 one where IPv6 wraps it), or None for a name."""
        try:
            return _ip(self.text)
        except ValueError:
            return None

    @property
    def is_loopback(self) -> bool:
        """Whether this is the machine itself."""
        return self.text.lower() == "localhost" if self.ip is None else self.ip.is_loopback

    @property
    def canonical(self) -> str:
        """One spelling for each address, to compare by."""
        return self.text.lower() if self.ip is None else self.ip.compressed

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an address, or raise InvalidValue."""
        return cls(text)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(text)
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def _check_ip(text: str) -> None:
    try:
        ip = _ip(text)
    except ValueError:
        msg = "is neither a host name nor an IP address"
        raise InvalidValue(msg) from None
    if ip.is_link_local:
        msg = "is a link-local address (cloud metadata services answer there)"
        raise InvalidValue(msg)
    if ip.is_unspecified or ip.is_multicast or ip.compressed == "255.255.255.255":
        msg = "is not the address of one host"
        raise InvalidValue(msg)


@dataclass(frozen=True, slots=True)
class UserName:
    """A login name: `[a-z_][a-z0-9_-]{0,31}`."""

    text: str

    def __post_init__(self) -> None:
        check_characters(self.text, "a-z0-9_-", limit=MAX_USER)
        if self.text[0] in "-0123456789":
            msg = "does not start with a letter or '_'"
            raise InvalidValue(msg)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a login name, or raise InvalidValue."""
        return cls(text)


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port, 1 to 65535."""

    number: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= MAX_PORT:
            msg = f"is not in 1 to {MAX_PORT}"
            raise InvalidValue(msg)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a port from its digits, or raise InvalidValue."""
        if not re.fullmatch(r"-?[0-9]{1,9}", text):
            msg = "is not a number"
            raise InvalidValue(msg)
        return cls(int(text))


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a check or a service: letters, digits, `_` and `-`, no `-` at its start."""

    text: str

    def __post_init__(self) -> None:
        check_characters(self.text, "A-Za-z0-9_-", limit=MAX_NAME)
        if self.text.startswith("-"):
            msg = "starts with '-'"
            raise InvalidValue(msg)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a name, or raise InvalidValue."""
        return cls(text)


@dataclass(frozen=True, slots=True)
class InputName(Name):
    """The name of a flake's input."""


@dataclass(frozen=True, slots=True)
class Attr:
    """The name of a system in the flake (`nixosConfigurations.<attr>`), always quoted in Nix.

    It is one name, also with dots: systems may be named after their domain.
    """

    text: str

    def __post_init__(self) -> None:
        check_characters(self.text, "A-Za-z0-9._@+-", limit=MAX_ATTR)
        if self.text[0] in ".@+-":
            msg = f"starts with '{self.text[0]}'"
            raise InvalidValue(msg)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an attribute name, or raise InvalidValue."""
        return cls(text)


@dataclass(frozen=True, slots=True)
class HostName(Attr):
    """The name of a host in the config: part of resource names, file names and HostKeyAlias."""


@dataclass(frozen=True, slots=True)
class AttrPath:
    """The path of a package below `packages.<system>`, by the parts between its dots.

    As in an installable of nix, dots separate names unless the name is in quotes:
    `images.web`, `images."web.1"`.
    """

    parts: tuple[Attr, ...]

    @property
    def text(self) -> str:
        """The path as nix takes it, with quotes only where they are needed."""
        return ".".join(map(_quoted, self.parts))

    @property
    def label(self) -> str:
        """The path as a part of resource names, where dots have another meaning."""
        return "/".join(map(_quoted, self.parts))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a path, or raise InvalidValue."""
        if len(text) > MAX_ATTR:
            msg = f"is longer than {MAX_ATTR} characters"
            raise InvalidValue(msg)
        if text.count('"') % 2:
            msg = "has a quote without its other one"
            raise InvalidValue(msg)
        found = _PART.findall(f".{text}")
        if "".join(f".{part}" for part in found) != f".{text}":
            msg = "has a quote within a name"
            raise InvalidValue(msg)
        if text and not all(part.strip('"') for part in found):
            msg = "has an empty name"
            raise InvalidValue(msg)
        return cls(tuple(Attr.parse(part.strip('"')) for part in found))


def _quoted(attr: Attr) -> str:
    return f'"{attr.text}"' if "." in attr.text else attr.text


@dataclass(frozen=True, slots=True)
class StorePath:
    """A path directly in the Nix store, such as a toplevel; `name` is what follows its hash."""

    path: str

    def __post_init__(self) -> None:
        if not _STORE_PATH.fullmatch(self.path):
            msg = "is not a store path: /nix/store/<32 characters>-<name>"
            raise InvalidValue(msg)

    @property
    def name(self) -> str:
        """The part after the hash."""
        return self.path[len("/nix/store/") + 33 :]

    @property
    def digest(self) -> str:
        """The hash alone."""
        return self.path[len("/nix/store/") :][:32]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a store path, or raise InvalidValue."""
        return cls(text)


@dataclass(frozen=True, slots=True)
class Duration:
    """A time such as `30s`, `10m` or `2h`: at most a day; a key that takes no `0s` refuses it."""

    text: str

    def __post_init__(self) -> None:
        if not _DURATION.fullmatch(self.text):
            msg = "is not a whole number with one unit"
            raise InvalidValue(msg)
        if self.seconds > MAX_SECONDS:
            msg = "is more than 24h"
            raise InvalidValue(msg)

    @property
    def seconds(self) -> int:
        """The time in seconds."""
        return int(self.text[:-1]) * _UNIT_SECONDS[self.text[-1]]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a time, or raise InvalidValue."""
        return cls(text)
