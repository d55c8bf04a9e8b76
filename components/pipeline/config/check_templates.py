"""What a check names: a URL, an endpoint, a unit or a command, and the placeholders in it."""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from ..values import HostAddress, InvalidValue, Port
from ..values.names import check_characters

MAX_TEXT: Final = 1000
MAX_UNIT: Final = 255

PLACEHOLDERS: Final = ("address", "name", "appRef", "appRev", "toplevel")
"""What may stand in braces in a check; each host has its own values."""

_SAMPLES: Final = dict.fromkeys(PLACEHOLDERS, "name") | {"address": "192.0.2.1"}
_IN_AUTHORITY: Final = frozenset({"address", "name"})
_BRACES: Final = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_URL: Final = re.compile(r"https?://([^/?#]*)(.*)")
_URL_REST: Final = r"!$-;=?-Z\[\]_a-z~"
_ENDPOINT: Final = re.compile(r"(?:\[([^]]*)\]|([^:\[\]]*))(?::(.*))?")
_UNIT: Final = re.compile(r"[^.].*\.(?:service|socket|target|timer|mount|path)")


def placeholders_in(text: str) -> frozenset[str]:
    """Give the names in single braces in a text."""
    found = (match[0] for match in _BRACES.finditer(text))
    return frozenset(brace[1:-1] for brace in found if brace not in {"{{", "}}", "{", "}"})


def fill(text: str, value: Callable[[str], str]) -> str:
    """Replace the placeholders, once; `{{` and `}}` become literal braces."""

    def replacement(match: re.Match[str]) -> str:
        brace = match[0]
        return brace[0] if brace in {"{{", "}}"} else value(brace[1:-1])

    return _BRACES.sub(replacement, text)


def in_endpoint(value: str) -> str:
    """Write a value as it stands before a port: an IPv6 address in brackets."""
    return f"[{value}]" if ":" in value else value


def in_url(name: str, value: str) -> str:
    """Write the value of a placeholder as it stands in a URL."""
    if name == "name":  # where a host belongs, an `@` would make a user of what is before it
        return quote(value, safe="")
    return in_endpoint(value) if name == "address" else quote(value, safe="/@")


def endpoint_of(url: str) -> str:
    """Give the host and port of a URL, with their placeholders; empty if it is none."""
    parts = _URL.fullmatch(url)
    return parts[1] if parts else ""


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
            msg = "has an unmatched brace"
            raise InvalidValue(msg, remedy="write {{ or }} for a brace itself")
        if brace not in {"{{", "}}"} and brace[1:-1] not in PLACEHOLDERS:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            msg = "has an unknown placeholder"
            raise InvalidValue(
                msg, sample=brace, remedy=f"write {known}, or {{{{ and }}}} for braces"
            )
    return text


def http_url(text: str) -> str:
    """Parse the URL of a check, or raise InvalidValue."""
    parts = _URL.fullmatch(template(text))
    if parts is None:
        msg = "does not begin with http:// or https://"
        raise InvalidValue(msg)
    if "@" in parts[1]:
        msg = "has a user or password in it"
        raise InvalidValue(msg, remedy="write the url without them")
    _check_endpoint(parts[1])
    if rest := fill(parts[2], _SAMPLES.__getitem__):
        check_characters(rest, _URL_REST, limit=2 * MAX_TEXT)
    return text


def tcp_endpoint(text: str) -> str:
    """Parse the host and port of a check, or raise InvalidValue."""
    _check_endpoint(template(text), needs_port=True)
    return text


def unit_name(text: str) -> str:
    """Parse the name of a unit with its suffix, or raise InvalidValue."""
    check_characters(text, r"A-Za-z0-9:_.@\\-", limit=MAX_UNIT)
    if text.startswith("-"):
        msg = "starts with '-'"
        raise InvalidValue(msg)
    if not _UNIT.fullmatch(text):
        msg = "is not a service, socket, target, timer, mount or path"
        raise InvalidValue(msg)
    return text


def unit_pattern(text: str) -> str:
    """Parse the name of a unit in which `*` stands for any text, or raise InvalidValue.

    `*` is not its first character: a pattern such as `*.service` would excuse whatever fails.
    """
    if text.startswith("*"):
        msg = "starts with '*'"
        raise InvalidValue(msg)
    check_characters(text, r"A-Za-z0-9:_.@\\*-", limit=MAX_UNIT)
    unit_name(text.replace("*", "x"))
    return text


def _check_endpoint(text: str, *, needs_port: bool = False) -> None:
    """Check `host`, `host:port` or `[IPv6]:port`, where the host may be a placeholder."""
    if misplaced := sorted(placeholders_in(text) - _IN_AUTHORITY):
        msg = "has a placeholder where a host and port belong"
        raise InvalidValue(msg, sample=f"{{{misplaced[0]}}}", remedy="write {address} or {name}")
    parts = _ENDPOINT.fullmatch(fill(text, _SAMPLES.__getitem__))
    if parts is None:
        msg = "is not a host and port"
        raise InvalidValue(msg, remedy="write host:port, with an IPv6 address in brackets")
    bracketed, name, port = parts.groups()
    if bracketed is not None and ":" not in bracketed:
        msg = "has brackets around something other than an IPv6 address"
        raise InvalidValue(msg, remedy="write {address} alone: it gets the brackets it needs")
    if not (host := name if bracketed is None else bracketed):
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
