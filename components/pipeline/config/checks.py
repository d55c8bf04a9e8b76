"""Health checks as values, and the grammar of what they name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from ..values import Attr, Duration, HostAddress, InvalidValue, Port
from ..values.names import check_characters

MAX_TEXT: Final = 1000
MAX_UNIT: Final = 255

PLACEHOLDERS: Final = ("address", "name", "appRef", "appRev", "toplevel")
"""What may stand in braces in a check; each host has its own values."""

OF_THE_RELEASE: Final = frozenset({"appRef", "appRev"})
"""Placeholders that only a host with an appRef can fill."""

_SAMPLES: Final = dict.fromkeys(PLACEHOLDERS, "name") | {"address": "192.0.2.1"}
_IN_AUTHORITY: Final = frozenset({"address", "name"})
_BRACES: Final = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_URL: Final = re.compile(r"https?://([^/?#]*)(.*)")
_URL_REST: Final = r"!$-;=?-Z\[\]_a-z~"
_ENDPOINT: Final = re.compile(r"(?:\[([^]]*)\]|([^:\[\]]*))(?::(.*))?")
_UNIT: Final = re.compile(r"[^.].*\.(?:service|socket|target|timer|mount|path)")


class CheckKind(StrEnum):
    """What a check looks at."""

    HTTP = "http"
    TCP = "tcp"
    UNIT = "unit"
    COMMAND = "command"


class CheckOrigin(StrEnum):
    """Who makes a check."""

    HOST = "host"
    DEPLOYER = "deployer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One health check; `status`, `contains` and `header` count for http alone.

    `target` is a url, a host and port, a unit or a command. In it, `contains` and `header` are
    placeholders until `filled`. Empty `contains` and `header` ask for nothing.
    """

    name: str
    kind: CheckKind
    target: str
    origin: CheckOrigin
    status: int
    contains: str
    header: str
    period: Duration
    """Between two tries: the host waits so long after a try, the deployer from start to start."""
    timeout: Duration
    """For each try."""
    retries: int
    """Tries that may fail before the first good one."""
    hold: Duration
    """How long it must stay good after that."""

    @property
    def longest(self) -> int:
        """Seconds that its retries and its hold take, the time of the tries themselves left out."""
        return self.retries * self.period.seconds + self.hold.seconds

    @property
    def placeholders(self) -> frozenset[str]:
        """The names in braces in it."""
        if self.kind is CheckKind.UNIT:
            return frozenset()
        return frozenset().union(*map(names_in, (self.target, self.contains, self.header)))

    def filled(self, values: Mapping[str, str]) -> "Check":
        """Replace the placeholders, once: a brace that was written twice is then a single one.

        Raises:
            KeyError: the check has a placeholder without a value.
        """
        match self.kind:
            case CheckKind.HTTP:
                target = _fill(self.target, lambda name: _in_url(name, values[name]))
            case CheckKind.TCP:
                target = _fill(self.target, lambda name: _bracketed(values[name]))
            case CheckKind.COMMAND:
                target = _fill(self.target, values.__getitem__)
            case CheckKind.UNIT:
                return self
        return replace(
            self,
            target=target,
            contains=_fill(self.contains, values.__getitem__),
            header=_fill(self.header, values.__getitem__),
        )


def names_in(text: str) -> frozenset[str]:
    """Give the names in single braces in a text."""
    found = (match[0] for match in _BRACES.finditer(text))
    return frozenset(brace[1:-1] for brace in found if brace not in {"{{", "}}", "{", "}"})


def _fill(text: str, value: Callable[[str], str]) -> str:
    def one(match: re.Match[str]) -> str:
        brace = match[0]
        return brace[0] if brace in {"{{", "}}"} else value(brace[1:-1])

    return _BRACES.sub(one, text)


def _bracketed(text: str) -> str:
    return f"[{text}]" if ":" in text else text


def _in_url(name: str, value: str) -> str:
    return _bracketed(value) if name == "address" else quote(value, safe="/@")


class CheckName(Attr):
    """The name of a check: part of messages and results."""


def template(text: str) -> str:
    """Parse a text with placeholders, or raise InvalidValue."""
    if not text.strip():
        msg = "is empty"
        raise InvalidValue(msg)
    if len(text) > MAX_TEXT:
        msg = f"is longer than {MAX_TEXT} characters"
        raise InvalidValue(msg)
    if not text.isprintable():
        control = next(char for char in text if not char.isprintable())
        msg = "has a control character"
        raise InvalidValue(msg, sample=control)
    for brace in _BRACES.findall(text):
        if brace in {"{", "}"}:
            msg = "has a brace without its other half"
            raise InvalidValue(msg, remedy="write {{ or }} for a brace itself")
        if brace not in {"{{", "}}"} and brace[1:-1] not in PLACEHOLDERS:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            msg = "has a placeholder that nothing fills"
            raise InvalidValue(
                msg, sample=brace, remedy=f"write {known}, or {{{{ and }}}} for braces"
            )
    return text


def http_url(text: str) -> str:
    """Parse the url of a check, or raise InvalidValue."""
    parts = _URL.fullmatch(template(text))
    if parts is None:
        msg = "does not begin with http:// or https://"
        raise InvalidValue(msg)
    if "@" in parts[1]:
        msg = "has a user or password in it"
        raise InvalidValue(msg, remedy="write the url without them")
    _check_endpoint(parts[1])
    if rest := _fill(parts[2], _SAMPLES.__getitem__):
        check_characters(rest, _URL_REST, limit=2 * MAX_TEXT)
    return text


def tcp_endpoint(text: str) -> str:
    """Parse the host and port of a check, or raise InvalidValue."""
    _check_endpoint(template(text), needs_port=True)
    return text


def unit_name(text: str) -> str:
    """Parse the name of a unit with its kind, or raise InvalidValue."""
    check_characters(text, r"A-Za-z0-9:_.@\\-", limit=MAX_UNIT)
    if text.startswith("-"):
        msg = "starts with '-'"
        raise InvalidValue(msg)
    if not _UNIT.fullmatch(text):
        msg = "is not a service, socket, target, timer, mount or path"
        raise InvalidValue(msg)
    return text


def _check_endpoint(text: str, *, needs_port: bool = False) -> None:
    """Look at `host`, `host:port` or `[IPv6]:port`, where the host may be a placeholder."""
    if strange := sorted(names_in(text) - _IN_AUTHORITY):
        msg = "has a placeholder where a host and port belong"
        raise InvalidValue(msg, sample=f"{{{strange[0]}}}", remedy="write {address} or {name}")
    parts = _ENDPOINT.fullmatch(_fill(text, _SAMPLES.__getitem__))
    if parts is None:
        msg = "is not a host and port"
        raise InvalidValue(msg, remedy="write host:port, with an IPv6 address in brackets")
    numeric, name, port = parts.groups()
    if numeric is not None and ":" not in numeric:
        msg = "has brackets around what is no IPv6 address"
        raise InvalidValue(msg, remedy="write {address} alone: it gets the brackets it needs")
    if not (host := name if numeric is None else numeric):
        msg = "has no host"
        raise InvalidValue(msg)
    _check_part("host", HostAddress.parse, host)
    if port is not None:
        _check_part("port", Port.parse, port)
    elif needs_port:
        msg = "has no port"
        raise InvalidValue(msg)


def _check_part(part: str, parse: Callable[[str], object], text: str) -> None:
    try:
        parse(text)
    except InvalidValue as error:
        msg = f"the {part} in it {error.why}"
        raise InvalidValue(msg, sample=error.sample) from None
