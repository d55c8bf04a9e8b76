"""The package schema, generated from the schemas of the resource types."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .plugin import Plugin
    from .schema import Field, Kind, Schema

JsonObject = dict[str, object]


def document(plugin: Plugin) -> str:
    """The package schema as JSON text."""
    schemas = [resource.schema for resource in plugin.resources]
    config = {name: _property(field) for name, field in plugin.config.fields.items()}
    return json.dumps(
        {
            "name": plugin.name,
            "version": plugin.version,
            "displayName": plugin.name.capitalize(),
            "license": "MIT",
            "config": {"variables": config} if config else {},
            "provider": {"inputProperties": config} if config else {},
            "types": _types((*schemas, plugin.config)),
            "resources": {schema.token: _resource(schema) for schema in schemas},
        }
    )


def _types(schemas: Iterable[Schema]) -> JsonObject:
    """The nested objects and enumerations that the schemas refer to, at any depth."""
    found: JsonObject = {}
    for schema in schemas:
        for field in (*schema.fields.values(), *schema.outputs.values()):
            if field.of is not None and field.of.token not in found:
                found[field.of.token] = _object(field.of)
                found.update(_types((field.of,)))
            if field.choices_token:
                values = [{"value": value} for value in field.choices]
                found[field.choices_token] = {"type": "string", "enum": values}
    return found


def _resource(schema: Schema) -> JsonObject:
    outputs = {name: _property(field) for name, field in schema.outputs.items()}
    inputs = _properties(schema.fields)
    required = _required(schema.fields)
    return {
        "properties": {**inputs, **outputs},
        "required": [*required, *_required(schema.outputs)],
        "inputProperties": inputs,
        "requiredInputs": required,
    }


def _object(schema: Schema) -> JsonObject:
    return {
        "type": "object",
        "properties": _properties(schema.fields),
        "required": _required(schema.fields),
    }


def _properties(fields: Mapping[str, Field]) -> JsonObject:
    return {name: _property(field) for name, field in fields.items()}


def _required(fields: Mapping[str, Field]) -> list[str]:
    return [name for name, field in fields.items() if field.required]


def _property(field: Field) -> JsonObject:
    result = _type(field)
    if field.default is not None:
        result["default"] = field.default
    if field.secret:
        result["secret"] = True
    if field.replaces:
        result["replaceOnChanges"] = True
    if field.description:
        result["description"] = field.description
    return result


def _type(field: Field) -> JsonObject:
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


def _plain(kind: Kind) -> JsonObject:
    return {"$ref": "pulumi.json#/Any"} if kind == "any" else {"type": kind}
