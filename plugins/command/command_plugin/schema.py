"""What the two resources take and give, as tables: checks, secrets and the schema come from them.

The facts are those of the schema that pulumi-command 1.2.1 ships.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from command_plugin import VERSION

Kind: TypeAlias = Literal[
    "string", "number", "integer", "boolean", "strings", "map", "any", "object"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One property: its kind, and what the provider adds to it."""

    kind: Kind = "string"
    required: bool = False
    secret: bool = False
    replaces: bool = False
    default: float | str | None = None
    of: Shape | None = None
    """The shape of an `object`."""
    choices: str = ""
    """The token of the enumeration that a string is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A named set of properties, as a resource or a nested object has them."""

    token: str
    title: str
    """What error texts call it."""
    fields: dict[str, Field]


_LOGGING_VALUES: Final = ("stdout", "stderr", "stdoutAndStderr", "none")


def _endpoint() -> dict[str, Field]:
    return {
        "agentSocketPath": Field(),
        "dialErrorLimit": Field(kind="integer", default=10.0),
        "host": Field(required=True),
        "hostKey": Field(),
        "password": Field(secret=True),
        "perDialTimeout": Field(kind="integer", default=15.0),
        "port": Field(kind="number", default=22.0),
        "privateKey": Field(secret=True),
        "privateKeyPassword": Field(secret=True),
        "user": Field(default="root"),
    }


def _common(kind: str) -> dict[str, Field]:
    return {
        "addPreviousOutputInEnv": Field(kind="boolean"),
        "create": Field(),
        "delete": Field(),
        "environment": Field(kind="map"),
        "logging": Field(choices=f"command:{kind}:Logging"),
        "stdin": Field(),
        "triggers": Field(kind="any", replaces=True),
        "update": Field(),
    }


PROXY: Final = Shape(
    token="command:remote:ProxyConnection",  # noqa: S106 a type, no password
    title="remote.ProxyConnection",
    fields=_endpoint(),
)
CONNECTION: Final = Shape(
    token="command:remote:Connection",  # noqa: S106 a type, no password
    title="remote.Connection",
    fields={**_endpoint(), "proxy": Field(kind="object", of=PROXY)},
)
REMOTE: Final = Shape(
    token="command:remote:Command",  # noqa: S106 a type, no password
    title="remote.CommandInputs",
    fields={
        **_common("remote"),
        "connection": Field(kind="object", of=CONNECTION, required=True, secret=True),
    },
)
LOCAL: Final = Shape(
    token="command:local:Command",  # noqa: S106 a type, no password
    title="local.CommandInputs",
    fields={
        **_common("local"),
        "archivePaths": Field(kind="strings"),
        "assetPaths": Field(kind="strings"),
        "dir": Field(),
        "interpreter": Field(kind="strings"),
    },
)
RESOURCES: Final = {shape.token: shape for shape in (LOCAL, REMOTE)}
NOT_OFFERED: Final = frozenset({"archivePaths", "assetPaths"})
"""Inputs of the release that this plugin refuses: nothing here collects files."""


def document() -> str:
    """The package schema as JSON text."""
    types = {shape.token: _object(shape) for shape in (CONNECTION, PROXY)}
    choices: dict[str, object] = {
        "type": "string",
        "enum": [{"value": value} for value in _LOGGING_VALUES],
    }
    for kind in ("local", "remote"):
        types[f"command:{kind}:Logging"] = choices
    return json.dumps(
        {
            "name": "command",
            "version": VERSION,
            "displayName": "Command",
            "license": "MIT",
            "config": {},
            "provider": {},
            "types": types,
            "resources": {token: _resource(shape) for token, shape in RESOURCES.items()},
        }
    )


def _resource(shape: Shape) -> dict[str, object]:
    inputs = {name: _property(field) for name, field in shape.fields.items()}
    required = [name for name, field in shape.fields.items() if field.required]
    text = {"type": "string"}
    return {
        "properties": {**inputs, "stdout": text, "stderr": text},
        "required": [*required, "stdout", "stderr"],
        "inputProperties": inputs,
        "requiredInputs": required,
    }


def _object(shape: Shape) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {name: _property(field) for name, field in shape.fields.items()},
        "required": [name for name, field in shape.fields.items() if field.required],
    }


def _property(field: Field) -> dict[str, object]:
    text = {"type": "string"}
    if field.of is not None:
        described: dict[str, object] = {"$ref": f"#/types/{field.of.token}"}
    elif field.choices:
        described = {"$ref": f"#/types/{field.choices}"}
    elif field.kind == "strings":
        described = {"type": "array", "items": text}
    elif field.kind == "map":
        described = {"type": "object", "additionalProperties": text}
    elif field.kind == "any":
        described = {"type": "array", "items": {"$ref": "pulumi.json#/Any"}}
    else:
        described = {"type": field.kind}
    if field.default is not None:
        described["default"] = field.default
    if field.secret:
        described["secret"] = True
    if field.replaces:
        described["replaceOnChanges"] = True
    return described
