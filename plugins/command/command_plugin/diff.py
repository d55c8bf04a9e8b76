"""Diff: what changed between the inputs of the last success and the new ones."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from command_plugin.schema import Shape
from command_plugin.values import Properties, Value, same

_PLAIN_KEY: Final = re.compile(r'[^."\[\]]+')


class Change(Enum):
    """How one property changed."""

    ADD = "ADD"
    DELETE = "DELETE"
    UPDATE = "UPDATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One changed place in the inputs, as `connection` or `environment.LANG` or `triggers[0]`."""

    path: str
    top: str
    change: Change
    replaces: bool


def diff(old: Properties, new: Properties, shape: Shape) -> tuple[Difference, ...]:
    """Every place where the inputs differ; each is an update, a whole `triggers` a replacement.

    A changed element of `triggers` is an update too, as in the release: it is the SDK that adds
    `replace_on_changes=["triggers[*]"]`, and the engine that replaces because of it.
    """
    wanted = {
        key: value
        for key, value in new.items()
        if key != "version" and not key.startswith("__")  # the engine's own
    }
    found: list[Difference] = []
    for top in sorted(old.keys() | wanted.keys()):
        field = shape.fields.get(top)
        changes: dict[str, Change] = {}
        _compare(old.get(top), wanted.get(top), _step("", top), changes)
        found.extend(
            Difference(
                path=path,
                top=top,
                change=change,
                replaces=field is not None and field.replaces and path == top,
            )
            for path, change in changes.items()
        )
    return tuple(found)


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
