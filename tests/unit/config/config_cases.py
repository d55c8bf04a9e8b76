"""Reads the cases of tests/data/config: a new case is an entry in one of these files.

An entry has a `name`, what it does to `_valid.yaml` (`set`: path to value, `unset`: paths), which
keys are secret (`secret`), and the whole `messages` it gives, one per problem:
without any it is accepted.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "data" / "config"
VALID: dict[str, Any] = yaml.safe_load((FOLDER / "_valid.yaml").read_text())


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    raw: dict[str, object]
    secret_keys: frozenset[str]
    messages: tuple[str, ...]


def cases() -> Iterator[Case]:
    for file in sorted(FOLDER.glob("[a-z]*.yaml")):
        for entry in yaml.safe_load(file.read_text()):
            unknown = entry.keys() - {"name", "set", "unset", "secret", "messages"}
            assert not unknown, f"{file.name}: {unknown}"
            yield Case(
                name=f"{file.stem}: {entry['name']}",
                raw=_changed(entry.get("set", {}), entry.get("unset", ())),
                secret_keys=frozenset(entry.get("secret", ())),
                messages=tuple(entry["messages"]),
            )


def _changed(changes: dict[str, object], unset: list[str]) -> dict[str, object]:
    raw = copy.deepcopy(VALID)
    for path, value in changes.items():
        *parents, last = path.split(".")
        _at(raw, parents)[last] = value
    for path in unset:
        *parents, last = path.split(".")
        del _at(raw, parents)[last]
    return raw


def _at(raw: dict[str, Any], parents: list[str]) -> dict[str, Any]:
    for name in parents:
        raw = raw.setdefault(name, {})
    return raw
