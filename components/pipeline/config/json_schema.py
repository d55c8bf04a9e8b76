"""Makes docs/config.schema.json, by which editors check and complete Pulumi.<stack>.yaml.

`python -m components.pipeline.config.json_schema`. It says what may be where, as far as a JSON
schema can: what two keys are together, and the grammar of most texts, the program itself checks.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import StrEnum
from typing import Any, Final, get_args, get_origin

from ..values import Duration
from .schema import Key, Table
from .stack import STACK

Schema = dict[str, Any]

NAMESPACE: Final = "flakeup"
_SECURE: Final[Schema] = {"$ref": "#/$defs/secure"}


def schema() -> Schema:
    """Give the schema of a stack's file."""
    keys = {f"{NAMESPACE}:{key.name}": _of_key(key) for key in STACK.keys}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Pulumi.<stack>.yaml of flakeup",
        "type": "object",
        "properties": {
            "config": {
                "type": "object",
                "properties": keys,
                # Other providers have keys of their own, in their own namespaces.
                "patternProperties": {f"^(?!{NAMESPACE}:)": {}},
                "additionalProperties": False,
            }
        },
        "$defs": {
            "secure": {
                "description": "A secret: pulumi config set --secret",
                "type": "object",
                "properties": {"secure": {"type": "string"}},
                "required": ["secure"],
                "additionalProperties": False,
            }
        },
    }


def page() -> str:
    """Give the text of docs/config.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _of_key(key: Key) -> Schema:
    said: Schema = {"description": f"{key.meaning} ({key.limits})"}
    if key.default:
        said["default"] = key.default
    return said | _value(key)


def _value(key: Key) -> Schema:
    if key.of:
        return _map_of(Table(key.of))
    if key.each:
        return {"type": "object", "additionalProperties": _map_of(Table(key.each))}
    if key.parse is None:
        return _collection(key.value_type, key)
    return _scalar(key.value_type, key)


def _map_of(table: Table) -> Schema:
    """The schema of a map with these keys; whether a key is required may depend on others."""
    return {
        "type": "object",
        "properties": {key.name: _of_key(key) for key in table.keys},
        "additionalProperties": False,
    }


def _collection(declared: Any, key: Key) -> Schema:
    items = get_args(declared)
    if get_origin(declared) is tuple and isinstance(items[0], type) and is_dataclass(items[0]):
        one = _map_of(Table(items[0]))
        return {"anyOf": [one, {"type": "array", "items": one}]}
    if get_origin(declared) is tuple:
        return {"type": "array", "items": _scalar(items[0], key)}
    value = items[1]
    return {
        "type": "object",
        "additionalProperties": (
            _collection(value, key) if get_origin(value) else _scalar(value, key)
        ),
    }


def _scalar(kind: Any, key: Key) -> Schema:
    if kind is bool:
        return {"enum": [True, False, "true", "false"]}
    if kind is int:
        return {"type": ["integer", "string"], **_bounds(key)}
    if kind is Duration:
        return {"type": "string", "pattern": "^(0|[1-9][0-9]{0,4})[smh]$"}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"enum": list(kind)}
    text: Schema = {"type": ["string", "integer"] if key.takes_numbers else "string"}
    # Any text may be encrypted; where it is usual, Pulumi's form of it is accepted.
    return {"anyOf": [text, _SECURE]} if key.is_secret or key.takes_numbers else text


def _bounds(key: Key) -> Mapping[str, int]:
    least, most = key.within
    return {"minimum": least, "maximum": most} if most else {}


if __name__ == "__main__":
    sys.stdout.write(page())
