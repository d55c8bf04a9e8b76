"""Check: types, defaults and secrets; what a value means is not looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .values import Secret, Unknown, secret, unwrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .schema import Field, Kind, Schema
    from .values import Properties, Value

_PYTHON: Final[dict[Kind, type]] = {
    "string": str,
    "number": float,
    "integer": float,
    "boolean": bool,
    "list": list,
    "map": dict,
    "object": dict,
    "any": object,
}
_ARTICLES: Final[dict[Kind, str]] = {
    "string": "a string",
    "number": "a number",
    "integer": "an integer",
    "boolean": "a boolean",
    "list": "a list",
    "map": "a map",
    "object": "an object",
    "any": "a value",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An invalid property, and why it is invalid."""

    field: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One property that does not match the schema."""

    name: str
    """Such as `port`, `args[0]` or `environment[LANG] value`."""
    schema: Schema
    """The schema that it is checked against."""
    field: Field | None
    """None for a property that is not in the schema."""
    kind: Kind
    """The expected kind."""
    got: Value
    """None for a required property that is absent."""
    within: tuple[Problem, ...] = ()
    """The problems inside an object, which itself is of the right kind."""


def problems(inputs: Properties, schema: Schema) -> tuple[Problem, ...]:
    """Everything that does not match; an unknown value matches until it is known."""
    return tuple(_problems(inputs, schema))


def _problems(inputs: Properties, schema: Schema) -> Iterator[Problem]:
    for name, field in schema.fields.items():
        if field.required and inputs.get(name) is None:
            yield Problem(name=name, schema=schema, field=field, kind=field.kind, got=None)
    for name, value in sorted(inputs.items()):
        if name in schema.fields:
            yield from _check_value(name, value, schema.fields[name], schema)
        else:
            yield Problem(name=name, schema=schema, field=None, kind="any", got=value)


def _check_value(name: str, value: Value, field: Field, schema: Schema) -> Iterator[Problem]:
    plain = unwrap(value)
    if plain is None or isinstance(plain, Unknown):
        return
    matches = isinstance(plain, _PYTHON[field.kind])
    if matches and field.choices and not field.open_choices:
        matches = plain in field.choices
    if not matches:
        yield Problem(name=name, schema=schema, field=field, kind=field.kind, got=plain)
    elif field.kind == "object" and field.of is not None and isinstance(plain, dict):
        yield from _check_object(name, plain, field, schema)
    else:
        items: dict[str, Value] = {}
        if field.kind == "list" and isinstance(plain, list):
            items = {f"{name}[{index}]": item for index, item in enumerate(plain)}
        elif field.kind == "map" and isinstance(plain, dict):
            items = {f"{name}[{key}] value": item for key, item in plain.items()}
        for path, item in items.items():
            yield from _check_item(path, unwrap(item), field, schema)


def _check_item(path: str, item: Value, field: Field, schema: Schema) -> Iterator[Problem]:
    if field.of is not None and isinstance(item, dict):
        yield from _check_object(path, item, field, schema)
        return
    kind: Kind = "object" if field.of is not None else field.items
    if not isinstance(item, (_PYTHON[kind], Unknown)):
        yield Problem(name=path, schema=schema, field=field, kind=kind, got=item)


def _check_object(name: str, value: Properties, field: Field, outer: Schema) -> Iterator[Problem]:
    if field.of is None:
        return
    inner = problems(without_nulls(value), field.of)
    if inner:
        kind = field.kind
        yield Problem(name=name, schema=outer, field=field, kind=kind, got=value, within=inner)


def failures(found: Sequence[Problem], *, prefix: str = "") -> Iterator[Failure]:
    """The problems as failures, one for each property."""
    for problem in found:
        path = f"{prefix}{problem.name}"
        if problem.within:
            yield from failures(problem.within, prefix=f"{path}.")
        else:
            yield Failure(field=path, reason=_reason(path, problem))


def _reason(path: str, problem: Problem) -> str:
    field = problem.field
    if field is None:
        known = ", ".join(sorted(problem.schema.fields))
        return f"{path} is not a property of {problem.schema.name}: it has {known}"
    if problem.got is None:
        return f"{path} is missing: {problem.schema.name} requires it"
    if field.choices and isinstance(problem.got, str):
        return f"{path} must be one of {', '.join(field.choices)}, not {problem.got!r}"
    return f"{path} must be {_ARTICLES[problem.kind]}, not {_kind_of(problem.got)}"


def _kind_of(value: Value) -> str:
    names = {
        bool: "a boolean",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "null")


def without_nulls(value: Properties) -> Properties:
    """The properties that are not null."""
    return {key: item for key, item in value.items() if item is not None}


def with_defaults(inputs: Properties, schema: Schema) -> Properties:
    """The inputs, with defaults for absent ones, at any depth."""
    filled = dict(inputs)
    for name, field in schema.fields.items():
        given = filled.get(name)
        if given is None and field.default is not None:
            filled[name] = field.default
        elif field.kind == "integer" and isinstance(given, float):
            filled[name] = float(int(given))
        elif given is not None:
            filled[name] = _map_objects(given, field, _filled)
    return filled


def _filled(value: Properties, schema: Schema) -> Properties:
    return with_defaults(without_nulls(value), schema)


def with_secrets(inputs: Properties, schema: Schema) -> Properties:
    """The inputs, with those that the schema declares secret marked so, at any depth."""
    marked: Properties = {}
    for name, value in inputs.items():
        field = schema.fields.get(name) or schema.outputs.get(name)
        marked[name] = value if field is None else _map_objects(value, field, with_secrets)
        if field is not None and field.secret:
            marked[name] = secret(marked[name])
    return marked


def _map_objects(
    value: Value, field: Field, change: Callable[[Properties, Schema], Properties]
) -> Value:
    """The value, with `change` applied to each object in it that the field has a schema for."""
    if field.of is None:
        return value
    if isinstance(value, Secret):
        return Secret(_map_objects(value.value, field, change))
    if isinstance(value, list):
        return [_map_objects(item, field, change) for item in value]
    return change(value, field.of) if isinstance(value, dict) else value
