"""Diff: what changed between the inputs of the last success and the new ones."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from plugin_protocol.values import Secret, Unknown, reveal, same

if TYPE_CHECKING:
    from plugin_protocol.fields import Field, Shape
    from plugin_protocol.values import Properties, Value

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
    """Every place where the inputs differ; each is an update, or what its table says."""
    found: list[Difference] = []
    for top in sorted(name for name in old.keys() | new.keys() if not _is_the_engines(name, shape)):
        field = shape.fields.get(top)
        before, after = _sorted(old.get(top), field), _sorted(new.get(top), field)
        changes: dict[str, Change] = {}
        _compare(before, after, _step("", top), changes)
        replaces = field is not None and field.replaces
        found.extend(
            Difference(path=path, top=top, change=change, replaces=replaces)
            for path, change in changes.items()
        )
    return tuple(found)


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


def _compare(old: Value, new: Value, path: str, changes: dict[str, Change]) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            _compare(old.get(key), new.get(key), _step(path, key), changes)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            place = f"{path}[{index}]"
            if index >= len(old):
                changes[place] = Change.ADD
            elif index >= len(new):
                changes[place] = Change.DELETE
            else:
                _compare(old[index], new[index], place, changes)
    elif not same(old, new):
        gone, fresh = old is None, new is None
        changes[path] = Change.ADD if gone else Change.DELETE if fresh else Change.UPDATE


def _step(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        quoted = key.replace("\\", "\\\\").replace('"', '\\"')
        return f'{path}["{quoted}"]'
    return f"{path}.{key}" if path else key
