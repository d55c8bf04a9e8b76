"""How a key of the config is declared: once, with the field of the value that it becomes.

    boot_timeout: Annotated[
        Duration, Key("How long it may take to come up.", most="1h")
    ] = Duration("2m")

The name of the key (`bootTimeout`), what it takes, its limits and the remedy in messages follow
from the field unless the `Key` says otherwise, and so do the parser and its default (section.py),
docs/config.md (reference.py) and the JSON schema for editors (json_schema.py).

No library does this here. pydantic costs more processor time to import than all of this program's
own modules (0.11 s), cattrs a third of them (0.03 s), and neither takes off what is left to do: a
value that is refused must not hide other problems, nor show a secret; a host's map is
laid over the stack's and the flake's; and half of all messages are about two keys together.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, MISSING, Field, dataclass, field, fields, replace
from enum import Enum, StrEnum
from functools import cache
from types import NoneType
from typing import Any, Final, get_args

from ..values import Duration, InvalidValue

SIMILAR: Final = 0.6
"""How alike (0 to 1) an unknown key and a known one must be for the second to be suggested."""
NOT_WHOLE: Final = "is not a whole number"

_WHOLE: Final = re.compile(r"-?[0-9]{1,60}")


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it takes, and what leaving it out means.

    `takes` is the kind of value in a few words, `write` the remedy of each message about it, and
    `otherwise` says what a key without a default falls back to. For a time, a number, a flag and
    the members of an enum, what is left empty here follows from the type of the field, and
    `limits` says what else there is.
    """

    meaning: str
    _: KW_ONLY
    name: str = ""
    """Its name in the config, where it is not the field's."""
    takes: str = ""
    write: str = ""
    limits: str = ""
    otherwise: str = ""
    required: bool | None = None
    """None: where neither the field nor `otherwise` says what stands for it."""
    most: str = ""
    """The longest time."""
    zero: bool = False
    """Whether a time may be `0s`."""
    example: str = ""
    """A time for its remedy, where the default is not one to recommend."""
    within: tuple[int, int] = (0, 0)
    """The smallest and the largest whole number."""
    parse: Callable[[str], object] | None = None
    """Makes a value of a text, or raises InvalidValue; None: what the type of the field says."""
    read: Callable[[Any, "Key"], object] | None = None
    """Reads a list or a map from a section; None where it has problems, which it has then reported.

    The section is a `section.py: Section`; that module imports this one.
    """
    of: type | None = None
    """The class of a map, whose own keys are declared in it: its module reads it."""
    each: type | None = None
    """The same of a map by name: that of each of its values."""
    takes_numbers: bool = False
    """Whether the texts in a map may be written as numbers."""
    is_secret: bool = False
    """Whether it, or each value in it, is to be a Pulumi secret."""
    field: str = ""
    default: str = ""
    """As a user would write it, or empty."""
    value_type: Any = None
    """Of the field; with int or bool, YAML's own value is taken as well as the same in quotes."""

    @property
    def is_read_by_its_module(self) -> bool:
        """Whether there is more to it than its own value: a section, or sections by name."""
        return self.of is not None or self.each is not None


@dataclass(frozen=True, slots=True)
class Table:
    """The keys of one map of the config: those that the fields of a class declare."""

    of: type | None = None
    """None: its keys are names."""
    about: str = ""
    instead: Mapping[str, str] = field(default_factory=dict)
    """The remedies for keys that other tables have, and this one has not."""

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys, in the order of the fields."""
        return tuple(self._by_name.values())

    @property
    def _by_name(self) -> Mapping[str, Key]:
        return {} if self.of is None else _keys_of(self.of)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Key:
        return self._by_name[name]

    def nearest(self, name: str) -> str | None:
        """Give the known key that an unknown one was probably meant to be."""
        return nearest(name, self._by_name)


NAMES: Final = Table()
"""A map whose keys are names: of hosts, checks, services."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Give the one of the known names that another was probably meant to be."""
    spelt = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name[:100].lower(), spelt, n=1, cutoff=SIMILAR)
    return spelt[found[0]] if found else None


@cache
def _keys_of(declaring: type) -> Mapping[str, Key]:
    resolved = (
        _resolve(key, field)
        for field in fields(declaring)
        for key in getattr(field.type, "__metadata__", ())
        if isinstance(key, Key)
    )
    return {key.name: key for key in resolved}


def _resolve(key: Key, field: Field[Any]) -> Key:
    """Fill in what follows from the field."""
    (annotated, *_) = get_args(field.type)
    is_optional = NoneType in get_args(annotated)
    value_type = key.value_type or (get_args(annotated)[0] if is_optional else annotated)
    has_default = field.default is not MISSING or field.default_factory is not MISSING
    key = replace(
        key,
        name=key.name or _camel_case(field.name),
        field=field.name,
        default=_written(field.default),
        required=not (has_default or key.otherwise) if key.required is None else key.required,
        value_type=value_type,
    )
    if key.parse or key.read or key.is_read_by_its_module or not isinstance(value_type, type):
        return key
    if issubclass(value_type, Duration):
        return _time(key)
    if issubclass(value_type, bool):
        return _choice(key, ("true", "false"), parse_flag)
    if issubclass(value_type, StrEnum):
        return _choice(key, tuple(value_type), member_parser(value_type))
    if issubclass(value_type, int):
        least, most = key.within
        return replace(key, limits=_and(f"{least} to {most}", key), parse=number_parser(key))
    return replace(key, parse=value_type.parse)  # type: ignore[attr-defined]


def _camel_case(field: str) -> str:
    first, *others = field.split("_")
    return first + "".join(word.capitalize() for word in others)


def _written(value: object) -> str:
    """Give a default as a user would write it, or nothing where that is more than a text."""
    match value:
        case bool():
            return str(value).lower()
        case Enum():
            return str(value.value)
        case str() | int():
            return str(value)
    text = getattr(value, "text", "")
    return text if isinstance(text, str) else ""


def _time(key: Key) -> Key:
    example = key.example or key.default
    write = f"write a whole number with a unit, at most {key.most}, such as {example}"
    return replace(
        key,
        takes=key.takes or "a time",
        write=key.write or write,
        limits=_and(f"{'0s' if key.zero else '1s'} to {key.most}", key),
        parse=time_parser(key),
    )


def _choice(key: Key, members: tuple[str, ...], parse: Callable[[str], object]) -> Key:
    def either(*words: str) -> str:
        return " or ".join((", ".join(words[:-1]), words[-1]))

    return replace(
        key,
        takes=key.takes or either(*members),
        write=key.write or f"write {either(*members)}",
        limits=_and(either(*(f"`{member}`" for member in members)), key),
        parse=parse,
    )


def _and(limits: str, key: Key) -> str:
    return f"{limits}; {key.limits}" if key.limits else limits


def time_parser(key: Key) -> Callable[[str], Duration]:
    """Give the parser of a time within the limits of `key`."""
    limit = Duration(key.most)

    def parse_time(text: str) -> Duration:
        time = Duration.parse(text)
        if time.seconds > limit.seconds:
            msg = f"is more than {limit.text}"
            raise InvalidValue(msg)
        if not time.seconds and not key.zero:
            msg = "must be longer than 0s"
            raise InvalidValue(msg)
        return time

    return parse_time


def number_parser(key: Key) -> Callable[[str], int]:
    """Give the parser of a whole number within the limits of `key`."""
    least, most = key.within

    def parse_number(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise InvalidValue(NOT_WHOLE)
        if not least <= int(text) <= most:
            msg = f"is not in {least} to {most}"
            raise InvalidValue(msg)
        return int(text)

    return parse_number


def member_parser(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    """Give the parser of the members of `kind`."""

    def parse_member(text: str) -> StrEnum:
        try:
            return kind(text)
        except ValueError:
            msg = f"is not one of: {', '.join(kind)}"
            raise InvalidValue(msg) from None

    return parse_member


def parse_flag(text: str) -> bool:
    """Parse `true` or `false`, or raise InvalidValue."""
    match text:
        case "true":
            return True
        case "false":
            return False
    msg = "is neither true nor false"
    raise InvalidValue(msg)
