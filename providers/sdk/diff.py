"""Diff: what changed between the inputs of the last success and the new ones."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from .values import Secret, Unknown, reveal, same

if TYPE_CHECKING:
    from .fields import Field, Shape
    from .values import Properties, Value

_PLAIN_KEY: Final = re.compile(r'[^."\[\]]+')


class Change(Enum):
    """How one property changed."""

    ADD = "ADD"
    DELETE = "DELETE"
    UPDATE = "UPDATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One changed place, as `connection` or `environment.LANG` or `triggers[0]`."""

    path: str
    top: str
    change: Change = Change.UPDATE
    replaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """All that changed, and how a replacement is done."""

    differences: tuple[Difference, ...]
    delete_before_replace: bool = False


def differences(old: Properties, new: Properties, shape: Shape) -> tuple[Difference, ...]:
    """Every place where the inputs differ; each is an update, or what its table says.

    A place replaces when its own field does, or one that it is in.
    """
    found: list[Difference] = []
    for top in sorted(name for name in old.keys() | new.keys() if not _is_the_engines(name, shape)):
        field = shape.fields.get(top)
        places: dict[str, _Place] = {}
        _compare(old.get(top), new.get(top), _step("", top), _Walk(places, field, replaces=False))
        found.extend(
            Difference(path=path, top=top, change=place.change, replaces=place.replaces)
            for path, place in places.items()
        )
    return tuple(found)


class _Place(NamedTuple):
    change: Change
    replaces: bool


class _Walk:
    """Where a comparison is: the field of the place, and whether all in it replaces."""

    __slots__ = ("field", "places", "replaces")

    def __init__(self, places: dict[str, _Place], field: Field | None, *, replaces: bool) -> None:
        self.places = places
        self.field = field
        self.replaces = replaces or (field is not None and field.replaces)

    def into(self, name: str) -> _Walk:
        """A property of an object here."""
        shape = self.field.of if self.field is not None else None
        inner = shape.fields.get(name) if shape is not None else None
        return _Walk(self.places, inner, replaces=self.replaces)

    def note(self, path: str, change: Change) -> None:
        self.places[path] = _Place(change, self.replaces)


def _is_the_engines(name: str, shape: Shape) -> bool:
    return name.startswith("__") or (name == "version" and name not in shape.fields)


def _sorted(value: Value, field: Field | None) -> Value:
    """A list without meaning in its order, in an order that depends on its content only."""
    if field is None or not field.unordered:
        return value
    if isinstance(value, Secret):
        return Secret(_sorted(value.value, field))
    return sorted(value, key=content) if isinstance(value, list) else value


def content(value: Value) -> str:
    """A text that two values share when they are equal, to sort by."""
    return json.dumps(reveal(value), sort_keys=True, default=lambda _: str(Unknown()))


def _compare(old: Value, new: Value, path: str, walk: _Walk) -> None:
    old, new = _sorted(old, walk.field), _sorted(new, walk.field)
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            _compare(old.get(key), new.get(key), _step(path, key), walk.into(key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            place = f"{path}[{index}]"
            if index >= len(old):
                walk.note(place, Change.ADD)
            elif index >= len(new):
                walk.note(place, Change.DELETE)
            else:
                _compare(old[index], new[index], place, walk)
    elif not same(old, new):
        gone, fresh = old is None, new is None
        walk.note(path, Change.ADD if gone else Change.DELETE if fresh else Change.UPDATE)


def _step(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        quoted = key.replace("\\", "\\\\").replace('"', '\\"')
        return f'{path}["{quoted}"]'
    return f"{path}.{key}" if path else key
