"""Diff: what changed between the inputs of the last successful update and the new ones."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from .values import Secret, Unknown, equal, reveal

if TYPE_CHECKING:
    from .schema import Field, Schema
    from .values import Properties, Value

_PLAIN_KEY: Final = re.compile(r'[^."\[\]]+')


class Change(Enum):
    """How one property changed."""

    ADD = "ADD"
    DELETE = "DELETE"
    UPDATE = "UPDATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One changed property."""

    path: str
    """Such as `connection`, `environment.LANG` or `triggers[0]`."""
    top: str
    """The top-level property that it is in."""
    change: Change = Change.UPDATE
    replaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """All differences, and how a replacement is done."""

    differences: tuple[Difference, ...]
    delete_before_replace: bool = False


def differences(old: Properties, new: Properties, schema: Schema) -> tuple[Difference, ...]:
    """Every property that differs.

    It replaces the resource if its field says so, or the field of an object or list that it is in.
    """
    result: list[Difference] = []
    names = (name for name in old.keys() | new.keys() if not _is_internal(name, schema))
    for top in sorted(names):
        found: dict[str, _Found] = {}
        cursor = _Cursor(found, schema.fields.get(top), replaces=False)
        _compare(old.get(top), new.get(top), _step("", top), cursor)
        result.extend(
            Difference(path=path, top=top, change=each.change, replaces=each.replaces)
            for path, each in found.items()
        )
    return tuple(result)


class _Found(NamedTuple):
    change: Change
    replaces: bool


class _Cursor:
    """The position of a comparison: its field, and whether a change there replaces."""

    __slots__ = ("field", "found", "replaces")

    def __init__(self, found: dict[str, _Found], field: Field | None, *, replaces: bool) -> None:
        self.found = found
        self.field = field
        self.replaces = replaces or (field is not None and field.replaces)

    def into(self, name: str) -> _Cursor:
        """The position of a property of the object here."""
        schema = self.field.of if self.field is not None else None
        inner = schema.fields.get(name) if schema is not None else None
        return _Cursor(self.found, inner, replaces=self.replaces)

    def record(self, path: str, change: Change) -> None:
        self.found[path] = _Found(change, self.replaces)


def _is_internal(name: str, schema: Schema) -> bool:
    return name.startswith("__") or (name == "version" and name not in schema.fields)


def _sorted(value: Value, field: Field | None) -> Value:
    """An unordered list in an order that depends on its content only."""
    if field is None or not field.unordered:
        return value
    if isinstance(value, Secret):
        return Secret(_sorted(value.value, field))
    return sorted(value, key=sort_key) if isinstance(value, list) else value


def sort_key(value: Value) -> str:
    """A sort key: equal for equal values."""
    return json.dumps(reveal(value), sort_keys=True, default=lambda _: str(Unknown()))


def _compare(old: Value, new: Value, path: str, cursor: _Cursor) -> None:
    old, new = _sorted(old, cursor.field), _sorted(new, cursor.field)
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            _compare(old.get(key), new.get(key), _step(path, key), cursor.into(key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            item = f"{path}[{index}]"
            if index >= len(old):
                cursor.record(item, Change.ADD)
            elif index >= len(new):
                cursor.record(item, Change.DELETE)
            else:
                _compare(old[index], new[index], item, cursor)
    elif not equal(old, new):
        added, deleted = old is None, new is None
        cursor.record(path, Change.ADD if added else Change.DELETE if deleted else Change.UPDATE)


def _step(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        quoted = key.replace("\\", "\\\\").replace('"', '\\"')
        return f'{path}["{quoted}"]'
    return f"{path}.{key}" if path else key
