"""The package schema, made from the tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .fields import Field, Kind, Shape
    from .plugin import Plugin

Described = dict[str, object]


def document(plugin: Plugin) -> str:
    """The package schema as JSON text."""
    shapes = [resource.shape for resource in plugin.resources]
    settings = {name: _property(field) for name, field in plugin.settings.fields.items()}
    return json.dumps(
        {
            "name": plugin.name,
            "version": plugin.version,
            "displayName": plugin.name.capitalize(),
            "license": "MIT",
            "config": {"variables": settings} if settings else {},
            "provider": {"inputProperties": settings} if settings else {},
            "types": _types((*shapes, plugin.settings)),
            "resources": {shape.token: _resource(shape) for shape in shapes},
        }
    )


def _types(shapes: Iterable[Shape]) -> Described:
    """The nested objects and enumerations that the shapes name, at any depth."""
    found: Described = {}
    for shape in shapes:
        for field in (*shape.fields.values(), *shape.outputs.values()):
            if field.of is not None and field.of.token not in found:
                found[field.of.token] = _object(field.of)
                found.update(_types((field.of,)))
            if field.choices_token:
                values = [{"value": value} for value in field.choices]
                found[field.choices_token] = {"type": "string", "enum": values}
    return found


def _resource(shape: Shape) -> Described:
    outputs = {name: _property(field) for name, field in shape.outputs.items()}
    inputs = _properties(shape.fields)
    needed = _required(shape.fields)
    return {
        "properties": {**inputs, **outputs},
        "required": [*needed, *_required(shape.outputs)],
        "inputProperties": inputs,
        "requiredInputs": needed,
    }


def _object(shape: Shape) -> Described:
    return {
        "type": "object",
        "properties": _properties(shape.fields),
        "required": _required(shape.fields),
    }


def _properties(fields: Mapping[str, Field]) -> Described:
    return {name: _property(field) for name, field in fields.items()}


def _required(fields: Mapping[str, Field]) -> list[str]:
    return [name for name, field in fields.items() if field.required]


def _property(field: Field) -> Described:
    described = _type(field)
    if field.default is not None:
        described["default"] = field.default
    if field.secret:
        described["secret"] = True
    if field.replaces:
        described["replaceOnChanges"] = True
    if field.description:
        described["description"] = field.description
    return described


def _type(field: Field) -> Described:
    if field.choices_token:
        return {"$ref": f"#/types/{field.choices_token}"}
    inner = _plain(field.items)
    if field.of is not None:
        inner = {"$ref": f"#/types/{field.of.token}"}
    if field.kind == "list":
        return {"type": "array", "items": inner}
    if field.kind == "map":
        return {"type": "object", "additionalProperties": inner}
    return inner if field.kind == "object" else _plain(field.kind)


def _plain(kind: Kind) -> Described:
    return {"$ref": "pulumi.json#/Any"} if kind == "any" else {"type": kind}
