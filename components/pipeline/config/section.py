"""Reads one map of a config, key by key, and reports every problem instead of stopping."""

import json
import re
from collections.abc import Callable, Container, Mapping, Sized
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ..errors import Problem, printable
from ..values import InvalidValue
from .schema import NAMES, NOT_WHOLE, Key, Table, number_parser

NOT_SET: Final = "(not set)"
SECRET: Final = "[secret]"  # noqa: S105 what is shown in place of one

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")
_USERINFO: Final = re.compile(r"://(?!git@)(?:.*@)", re.DOTALL)
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

    def reject(self, name: str, why: str, remedy: str = "") -> None:
        """Report a problem with the value of a key; the key's own remedy is the default."""
        remedy = remedy or self.table[name].write
        self.reject_value(path_to(self.path, name), self._shown(name), why, remedy)

    def reject_value(self, path: str, value: str, why: str, remedy: str) -> None:
        """Report a problem with something that is not the whole value of a key."""
        self.problems.append(Problem(path=path, value=value, why=why, remedy=remedy))

    def is_hidden(self, name: str) -> bool:
        """Whether the value of a key must not be shown."""
        return self.hidden or name in self.secrets

    def reject_unknown(self) -> None:
        """Report each key that is not in the table, with the one that was meant."""
        for name in self.values:
            if name in self.table:
                continue
            near = self.table.nearest(name)
            known = ", ".join(key.name for key in self.table.keys)
            remedy = f"write {near}" if near else f"remove it: the keys here are {known}"
            remedy = self.table.instead.get(name, remedy)
            self.reject(name, "is not a key that flakeup knows", remedy)

    def read_fields(self, *, without: Container[str] = ()) -> dict[str, Any]:
        """Read the values of all keys that are set and valid, by field.

        Keys that hold maps with keys of their own are left to their modules, those of `without`
        to the caller.
        """
        keys = (
            key
            for key in self.table.keys
            if not key.is_read_by_its_module and key.name not in without
        )
        read = {key.field: self.read(key.name) for key in keys}
        return {name: value for name, value in read.items() if value is not None}

    def read(self, name: str) -> Any:
        """Read the value of a key; None if it is not set, or has a problem (reported then)."""
        key = self.table[name]
        if name not in self.values:
            if key.required:
                self.reject(name, "is required")
            return None
        if key.read:
            return key.read(self, key)
        text = self._text(key)
        return None if text is None else self.parse(name, text, key.parse or str)

    def parse(self, name: str, text: str, parse: Callable[[str], object]) -> Any:
        """Parse the text of a key; None if it has a problem, which is then reported."""
        try:
            return parse(text)
        except InvalidValue as error:
            self.reject(name, error.reason(hidden=self.is_hidden(name)), error.remedy)
            return None

    def read_map(self, name: str, remedy: str = "") -> Mapping[str, object] | None:
        """Give the map under a key, or None if it is not set; anything else is a problem."""
        if name not in self.values:
            return None
        value = self.values[name]
        if isinstance(value, Mapping):
            return value
        self.reject(name, not_a("a map", value), remedy)
        return None

    def read_list(self, name: str) -> list[Any] | None:
        """Give the list under a key, or None if it is not set; anything else is a problem."""
        if name not in self.values:
            return None
        value = self.values[name]
        if isinstance(value, list):
            return value
        self.reject(name, not_a(self.table[name].takes, value))
        return None

    def open(
        self,
        name: str,
        values: Mapping[str, object],
        table: Table = NAMES,
        secrets: frozenset[str] = frozenset(),
        index: int | None = None,
    ) -> "Section":
        """Open the map under a key, or the one at `index` of the list there.

        One whose keys are not names takes those of `table` alone.
        """
        path = path_to(self.path, name)
        section = Section(
            values=values,
            table=table,
            problems=self.problems,
            path=path if index is None else f"{path}[{index}]",
            hidden=self.is_hidden(name),
            secrets=secrets,
        )
        if table is not NAMES:
            section.reject_unknown()
        return section

    def muted(self) -> "Section":
        """Give the same section for a first look: its problems are dropped."""
        return replace(self, problems=[])

    def _text(self, key: Key) -> str | None:
        value = self.values[key.name]
        match value:
            case str():
                return value
            case bool() if key.value_type is bool:
                return str(value).lower()
            case int() if key.value_type is int and not isinstance(value, bool):
                return printable(str(value))
        is_text = key.value_type not in {bool, int} and not key.most
        if is_text and isinstance(value, bool | int | float):
            why = not_a("text", value) + ": put it in quotes if it is meant"
        elif key.value_type is int and isinstance(value, float):
            why = NOT_WHOLE
        else:
            why = not_a(key.takes, value)
        self.reject(key.name, why)
        return None

    def _shown(self, name: str) -> str:
        if name not in self.values:
            return NOT_SET
        return SECRET if self.is_hidden(name) else shown(self.values[name])


def not_a(wanted: str, value: object) -> str:
    """Say what a value is in place of what is wanted."""
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


def is_too_large(section: Section, name: str, values: Sized, most: int, what: str) -> bool:
    """Whether the list or map under a key has more than `most` of `what`, which is reported."""
    if len(values) <= most:
        return False
    section.reject(name, f"has more than {most} {what}")
    return True


def whole_numbers(most: int) -> Callable[[Section, Key], tuple[int, ...] | None]:
    """Give the reader of a list of 1 to `most` whole numbers within the limits of its key."""

    def read_numbers(section: Section, key: Key) -> tuple[int, ...] | None:
        items = section.read_list(key.name)
        if items is None or is_too_large(section, key.name, items, most, "items"):
            return None
        if not items:
            section.reject(key.name, "is empty")
            return None
        read = [_number(section, key, index, item) for index, item in enumerate(items)]
        found = tuple(number for number in read if number is not None)
        return found if len(found) == len(read) else None

    return read_numbers


def _number(section: Section, key: Key, index: int, item: object) -> int | None:
    why = not_a("a whole number", item)
    if isinstance(item, float):
        why = NOT_WHOLE
    if isinstance(item, int | str) and not isinstance(item, bool):
        try:
            return number_parser(key)(str(item))
        except InvalidValue as error:
            why = error.reason()
    value = SECRET if section.is_hidden(key.name) else shown(item)
    section.reject_value(f"{path_to(section.path, key.name)}[{index}]", value, why, key.write)
    return None
