"""Maps and lists of a service as configured: ports, environment, secrets, volumes, a command."""

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..errors import printable
from ..values import InvalidValue, Port
from .docker import PATH
from .schema import Key
from .section import Section, is_too_large
from .service_secrets import NAME, check_content

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
    unique: Callable[[str, str], object]
    """What of a key and its value is there once."""
    is_shown: bool = True
    """Whether values may be in messages."""


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], object]:
    def check(text: str) -> None:
        if not pattern.fullmatch(text):
            msg = f"is not {what}"
            raise InvalidValue(msg)

    return check


def _printable(text: str) -> None:
    if any(not char.isprintable() and char not in "\n\t" for char in text):
        msg = "has a control character"
        raise InvalidValue(msg)


_PORTS: Final = Rule(MAX_PORTS, Port.parse, Port.parse, lambda outer, _: int(outer))
_ENV: Final = Rule(
    MAX_ENV,
    _matching(_VARIABLE, "the name of a variable"),
    _printable,
    lambda name, _: name,
    is_shown=False,
)
_SECRETS: Final = Rule(
    MAX_SECRETS,
    _matching(NAME, "the name of a file"),
    check_content,
    lambda name, _: name,
    is_shown=False,
)
_VOLUMES: Final = Rule(
    MAX_VOLUMES,
    _matching(_VOLUME, "the name of a volume"),
    _matching(PATH, "an absolute path"),
    lambda _, path: posixpath.normpath(path),
)


def read_ports(section: Section, key: Key) -> dict[int, int]:
    """Read a map of port here to port there."""
    return {
        Port.parse(outer).number: Port.parse(inner).number
        for outer, inner in _read_pairs(section, key.name, _PORTS).items()
    }


def read_env(section: Section, key: Key) -> dict[str, str]:
    """Read the map of environment variables."""
    return _read_pairs(section, key.name, _ENV)


def read_secrets(section: Section, key: Key) -> dict[str, str]:
    """Read the map of a file's name to what is in it."""
    return _read_pairs(section, key.name, _SECRETS)


def read_volumes(section: Section, key: Key) -> dict[str, str]:
    """Read the map of a volume's name to its path in the container."""
    return _read_pairs(section, key.name, _VOLUMES)


def _read_pairs(section: Section, name: str, rule: Rule) -> dict[str, str]:
    """Read a map; what its rule refuses is left out, and reported."""
    values = section.read_map(name)
    if values is None or is_too_large(section, name, values, rule.most, "keys"):
        return {}
    pairs: dict[object, tuple[str, str]] = {}
    for key, value in values.items():
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        pair = printable(key)
        if not isinstance(text, str):
            section.reject(name, f"has {pair}, whose value is not text: put it in quotes")
            continue
        pair += f": {printable(text)}" if rule.is_shown and not section.is_hidden(name) else ""
        try:
            rule.key(key)
            rule.value(text)
        except InvalidValue as error:
            section.reject(name, f"has {pair}, which {error.reason(hidden=True)}")
            continue
        other, _ = pairs.setdefault(rule.unique(key, text), (key, text))
        if other != key:
            section.reject(name, f"has {pair}, which is the same as {printable(other)}")
    return dict(pairs.values())


def read_words(section: Section, key: Key) -> tuple[str, ...] | None:
    """Read a list of words."""
    value = section.values[key.name]
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        section.reject(key.name, "is not a list of words")
        return None
    if not value:
        section.reject(key.name, "is empty")
        return None
    if is_too_large(section, key.name, value, MAX_WORDS, "words"):
        return None
    if not all(value):
        section.reject(key.name, "has an empty word")
    elif any("\0" in word for word in value):
        section.reject(key.name, "has a word with a NUL character")
    return tuple(value)
