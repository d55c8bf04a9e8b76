"""Reads one map of a config, key by key, and writes down every problem instead of stopping."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeVar

from ..errors import Problem, printable
from ..values import Duration, InvalidValue
from .schema import Key, Table

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

NOT_WHOLE: Final = "is not a whole number"
NOT_SET: Final = "(not set)"
SECRET: Final = "[secret]"  # noqa: S105 what is shown in place of one

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")
_USERINFO: Final = re.compile(r"://(?!git@)(?:.*@)", re.DOTALL)
_WHOLE: Final = re.compile(r"-?[0-9]{1,60}")
_SHOWN: Final = 60


class Repeated:
    """Stands for the value of a key that a JSON text gives more than once."""


def shown(value: object) -> str:
    """Give a value as it may be printed: short, escaped, without what looks like a secret."""
    match value:
        case str() if "PRIVATE KEY" in value:
            text = SECRET
        case str():
            text = f'"{printable(_USERINFO.sub(f"://{SECRET}@", value), _SHOWN - 2)}"'
        case Mapping():
            text = "{…}"
        case list():
            text = "[…]"
        case bool() | None:
            text = json.dumps(value)
        case Repeated():
            text = "(more than one)"
        case _:
            text = printable(str(value), _SHOWN)
    return text


def path_to(parent: str, name: str) -> str:
    """Give the path of a key as `pulumi config set --path` takes it."""
    if not _PLAIN_NAME.fullmatch(name):
        return f'{parent}["{printable(name)}"]'
    return f"{parent}.{name}" if parent else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One map of the config: what it holds, what it may hold, and where problems go.

    `secrets` are names whose values are never shown; `hidden` says so of all that is in here.
    """

    values: Mapping[str, object] = field(repr=False)
    table: Table
    problems: list[Problem]
    path: str = ""
    hidden: bool = False
    secrets: frozenset[str] = field(default=frozenset())

    def refuse(self, name: str, why: str, remedy: str = "") -> None:
        """Write down a problem with the value of a key; the key's own remedy is the default."""
        self.problems.append(
            Problem(
                path=path_to(self.path, name),
                value=self._shown(name),
                why=why,
                remedy=remedy or self.table[name].write,
            )
        )

    def hides(self, name: str) -> bool:
        """Whether the value of a key must not be shown."""
        return self.hidden or name in self.secrets

    def refuse_unknown(self) -> None:
        """Write down each key that is not in the table, with the one that was meant."""
        for name in self.values:
            if name in self.table:
                continue
            near = self.table.nearest(name)
            known = ", ".join(key.name for key in self.table.keys)
            remedy = f"write {near}" if near else f"remove it: the keys here are {known}"
            self.refuse(name, "is not a key that flakeup knows", remedy)

    def read(self, name: str, parse: Callable[[str], T], fallback: T | None = None) -> T | None:
        """Parse the text of a key.

        A key that is left out gives `fallback`, else what is parsed from its default in the
        table, else None. None too where there is a problem, which is then written down.
        """
        key = self.table[name]
        if name not in self.values:
            if key.required:
                self.refuse(name, "is required")
            if fallback is not None or not key.default:
                return fallback
            return parse(key.default)
        text = self._text(key)
        if text is None:
            return None
        try:
            return parse(text)
        except InvalidValue as error:
            self.refuse(name, error.reason(hidden=self.hides(name)), error.remedy)
            return None

    def numbers(self, name: str, *, most: int) -> tuple[int, ...] | None:
        """Parse the list of 1 to `most` whole numbers under a key.

        None where there is no such key, or a problem, which is then written down.
        """
        if name not in self.values:
            return None
        value = self.values[name]
        if not isinstance(value, list):
            self.refuse(name, _not(self.table[name].takes, value))
            return None
        if not 1 <= len(value) <= most:
            self.refuse(name, "is empty" if not value else f"has more than {most} items")
            return None
        read = [self._number(name, index, item) for index, item in enumerate(value)]
        found = tuple(number for number in read if number is not None)
        return found if len(found) == len(read) else None

    def _number(self, name: str, index: int, item: object) -> int | None:
        key = self.table[name]
        why = _not("a whole number", item)
        if isinstance(item, float):
            why = NOT_WHOLE
        if isinstance(item, int | str) and not isinstance(item, bool):
            try:
                return number_of(key)(str(item))
            except InvalidValue as error:
                why = error.reason()
        path, value = f"{path_to(self.path, name)}[{index}]", shown(item)
        value = SECRET if self.hides(name) else value
        self.problems.append(Problem(path=path, value=value, why=why, remedy=key.write))
        return None

    def mapping(self, name: str, remedy: str = "") -> Mapping[str, object] | None:
        """Give the map under a key, or None where there is none; anything else is a problem."""
        if name not in self.values:
            if self.table[name].required:
                self.refuse(name, "is required")
            return None
        value = self.values[name]
        if isinstance(value, Mapping):
            return value
        self.refuse(name, _not("a map", value), remedy)
        return None

    def inner(self, name: str, values: Mapping[str, object], table: Table) -> "Section":
        """Open the map under a key with the keys of `table`, and refuse all others in it."""
        section = Section(
            values=values,
            table=table,
            problems=self.problems,
            path=path_to(self.path, name),
            hidden=self.hides(name),
        )
        section.refuse_unknown()
        return section

    def silent(self) -> "Section":
        """Give the same section for a first look: its problems are dropped."""
        return replace(self, problems=[])

    def _text(self, key: Key) -> str | None:
        value = self.values[key.name]
        match value:
            case str():
                return value
            case bool() if key.plain is bool:
                return str(value).lower()
            case int() if key.plain is int and not isinstance(value, bool):
                return printable(str(value))
        if key.plain is str and not key.most and isinstance(value, bool | int | float):
            why = _not("text", value) + ": put it in quotes if it is meant"
        elif key.plain is int and isinstance(value, float):
            why = NOT_WHOLE
        else:
            why = _not(key.takes, value)
        self.refuse(key.name, why)
        return None

    def _shown(self, name: str) -> str:
        if name not in self.values:
            return NOT_SET
        return SECRET if self.hides(name) else shown(self.values[name])


def _not(wanted: str, value: object) -> str:
    match value:
        case None:
            return "has no value"
        case Repeated():
            return "is given more than once"
        case bool():
            found = "true or false"
        case int() | float():
            found = "a number"
        case str():
            found = "text"
        case list():
            found = "a list"
        case _:
            found = "a map"
    return f"is {found}, not {wanted}"


def time_of(key: Key) -> Callable[[str], Duration]:
    """Give the parser of a time within the limits of `key`."""
    limit = Duration(key.most)

    def parse_time(text: str) -> Duration:
        time = Duration.parse(text)
        if time.seconds > limit.seconds:
            msg = f"is more than {limit.text}"
            raise InvalidValue(msg)
        if not time.seconds and not key.zero:
            msg = "is no time at all"
            raise InvalidValue(msg)
        return time

    return parse_time


def number_of(key: Key) -> Callable[[str], int]:
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


def one_of(kind: type[E]) -> Callable[[str], E]:
    """Give the parser of the members of `kind`."""

    def parse_member(text: str) -> E:
        try:
            return kind(text)
        except ValueError:
            msg = f"is not one of: {', '.join(kind)}"
            raise InvalidValue(msg) from None

    return parse_member


def flag(text: str) -> bool:
    """Parse `true` or `false`."""
    match text:
        case "true":
            return True
        case "false":
            return False
    msg = "is neither true nor false"
    raise InvalidValue(msg)
