"""Maps and lists of a service as configured: ports, environment, secrets, volumes, a command."""

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..errors import printable
from ..values import InvalidValue, Port
from . import service_secrets
from .docker import PATH
from .section import Section

MAX_WORDS: Final = 64
MAX_PORTS: Final = 16
MAX_ENV: Final = 128
MAX_VOLUMES: Final = 32
MAX_SECRETS: Final = 64
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_VOLUME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Rule:
    """What the keys and values of a map may be, and that no two of one side are the same."""

    most: int
    key: Callable[[str], object]
    value: Callable[[str], object]
    once: Callable[[str, str], object]
    """What of a key and its value is there once."""
    is_shown: bool = True
    """Whether values may be in messages."""


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], object]:
    def check(text: str) -> None:
        if not pattern.fullmatch(text):
            msg = f"is no {what}"
            raise InvalidValue(msg)

    return check


def _printable(text: str) -> None:
    if any(not char.isprintable() and char not in "\n\t" for char in text):
        msg = "has a control character in it"
        raise InvalidValue(msg)


PORTS: Final = Rule(MAX_PORTS, Port.parse, Port.parse, lambda outer, _: int(outer))
ENV: Final = Rule(
    MAX_ENV,
    _matching(_VARIABLE, "variable's name"),
    _printable,
    lambda name, _: name,
    is_shown=False,
)
SECRETS: Final = Rule(
    MAX_SECRETS,
    _matching(service_secrets.NAME, "file's name"),
    service_secrets.check,
    lambda name, _: name,
    is_shown=False,
)
VOLUMES: Final = Rule(
    MAX_VOLUMES,
    _matching(_VOLUME, "volume's name"),
    _matching(PATH, "absolute path"),
    lambda _, path: posixpath.normpath(path),
)


def ports(one: Section, name: str) -> dict[int, int]:
    """Read a map of port here to port there."""
    return {
        Port.parse(outer).number: Port.parse(inner).number
        for outer, inner in pairs(one, name, PORTS)
    }


def pairs(one: Section, name: str, rule: Rule) -> list[tuple[str, str]]:
    """Read a map; what its rule refuses is left out, and written down as a problem."""
    values = one.mapping(name)
    if values is None:
        return []
    if len(values) > rule.most:
        one.refuse(name, f"has more than {rule.most} keys")
        return []
    pairs: dict[object, tuple[str, str]] = {}
    for key, value in values.items():
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        said = printable(key)
        if not isinstance(text, str):
            one.refuse(name, f"has {said}, whose value is not text: put it in quotes")
            continue
        said += f": {printable(text)}" if rule.is_shown and not one.hides(name) else ""
        try:
            rule.key(key)
            rule.value(text)
        except InvalidValue as error:
            one.refuse(name, f"has {said}, which {error.reason(hidden=True)}")
            continue
        other, _ = pairs.setdefault(rule.once(key, text), (key, text))
        if other != key:
            one.refuse(name, f"has {said}, which is the same as {printable(other)}")
    return list(pairs.values())


def words(one: Section, name: str) -> tuple[str, ...]:
    """Read a list of words; none where there are none, or where they are refused."""
    value = one.values.get(name)
    if name not in one.values:
        return ()
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        one.refuse(name, "is not a list of words")
        return ()
    if not 1 <= len(value) <= MAX_WORDS:
        one.refuse(name, "is empty" if not value else f"has more than {MAX_WORDS} words")
        return ()
    if not all(value):
        one.refuse(name, "has an empty word")
    elif any("\0" in word for word in value):
        one.refuse(name, "has a word that no program can be given")
    return tuple(value)
