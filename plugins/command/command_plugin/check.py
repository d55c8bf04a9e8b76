"""Check: types, defaults and secrets. No text, host or key is looked at."""

from dataclasses import dataclass
from typing import Final

from command_plugin.schema import NOT_OFFERED, Field, Kind, Shape
from command_plugin.values import Properties, Secret, Unknown, Value, secret

_PYTHON: Final[dict[Kind, type]] = {
    "string": str,
    "number": float,
    "integer": float,
    "boolean": bool,
    "strings": list,
    "any": list,
    "map": dict,
    "object": dict,
}
_GO: Final[dict[Kind, str]] = {
    "string": "string",
    "number": "float64",
    "integer": "int",
    "boolean": "bool",
    "strings": "[]string",
    "any": "[]interface {}",
    "map": "map[string]string",
}
"""What the release calls a kind in its error texts."""
_GOT: Final[tuple[tuple[type, str], ...]] = (
    (bool, "bool"),
    (float, "float64"),
    (str, "string"),
    (list, "[]interface {}"),
    (dict, "map[string]interface {}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A property that cannot be taken, and why."""

    field: str
    reason: str


def check(inputs: Properties, shape: Shape) -> tuple[Properties, tuple[Failure, ...]]:
    """The inputs with defaults filled in and secrets marked, and what is wrong with them.

    With a failure nothing is filled in; secrets are marked all the same, so that the inputs can be
    shown.
    """
    failures = _failures(inputs, shape)
    for name in sorted(NOT_OFFERED & inputs.keys()):
        reason = f"{name!r} needs the released pulumi-command plugin; this stand-in has no files"
        failures.append(Failure(field=name, reason=reason))
    filled = inputs if failures else _with_defaults(inputs, shape)
    return _with_secrets(filled, shape), tuple(failures)


def _failures(inputs: Properties, shape: Shape) -> list[Failure]:
    found = [
        Failure(field=name, reason=f"Missing required field '{name}' on '{shape.title}'")
        for name, field in shape.fields.items()
        if field.required and inputs.get(name) is None
    ]
    for name, value in sorted(inputs.items()):
        field = shape.fields.get(name)
        if field is None:
            reason = f"Unrecognized field '{name}' on '{shape.title}'"
            found.append(Failure(field=name, reason=reason))
        else:
            found.extend(_unfit(name, value, field, shape))
    return found


def _unfit(name: str, value: Value, field: Field, shape: Shape) -> list[Failure]:
    """What is wrong with one value; an unknown one is right until it is known."""
    plain = _public(value)
    if plain is None or isinstance(plain, Unknown):
        return []
    if field.of is not None and isinstance(plain, dict):
        return _unfit_within(name, plain, field.of, shape)
    if field.kind == "strings" and isinstance(plain, list):
        places = {f"{name}[{index}]": item for index, item in enumerate(plain)}
    elif field.kind == "map" and isinstance(plain, dict):
        places = {f"{name}[{key}] value": item for key, item in plain.items()}
    elif isinstance(plain, _PYTHON[field.kind]):
        return []
    else:
        wanted = field.of.title if field.of else _GO[field.kind]
        return [_wrong(name, wanted, plain, shape)]
    return [
        _wrong(place, "string", _public(item), shape)
        for place, item in places.items()
        if not isinstance(_public(item), str | Unknown)
    ]


def _unfit_within(name: str, value: Properties, inner: Shape, outer: Shape) -> list[Failure]:
    """All that is wrong in an object, as one failure of the property that holds it."""
    within = _failures(_without_nulls(value), inner)
    if not within:
        return []
    place = f"{outer.title.rpartition('.')[2]}.{name}"
    told = "".join(f"\n\t{failure.field}: {failure.reason}" for failure in within)
    reason = f"An error occurred decoding '{place}': {len(within)} failures decoding:{told}"
    return [Failure(field=name, reason=reason)]


def _wrong(place: str, wanted: str, value: Value, shape: Shape) -> Failure:
    got = next((name for kind, name in _GOT if isinstance(value, kind)), "<nil>")
    reason = f"Field '{place}' on '{shape.title}' must be a '{wanted}'; got '{got}' instead"
    return Failure(field=place, reason=reason)


def _public(value: Value) -> Value:
    return _public(value.value) if isinstance(value, Secret) else value


def _without_nulls(value: Properties) -> Properties:
    return {key: item for key, item in value.items() if item is not None}


def _with_defaults(inputs: Properties, shape: Shape) -> Properties:
    filled = dict(inputs)
    for name, field in shape.fields.items():
        given = filled.get(name)
        if given is None and field.default is not None:
            filled[name] = field.default
        elif field.of is not None and given is not None:
            filled[name] = _nested(given, field.of)
        elif field.kind == "integer" and isinstance(given, float):
            filled[name] = float(int(given))
    return filled


def _nested(value: Value, shape: Shape) -> Value:
    if isinstance(value, Secret):
        return Secret(_nested(value.value, shape))
    return _with_defaults(_without_nulls(value), shape) if isinstance(value, dict) else value


def _with_secrets(inputs: Properties, shape: Shape) -> Properties:
    marked: Properties = {}
    for name, value in inputs.items():
        field = shape.fields.get(name)
        marked[name] = value
        if field is not None and field.of is not None:
            marked[name] = _secrets_within(value, field.of)
        if field is not None and field.secret:
            marked[name] = secret(marked[name])
    return marked


def _secrets_within(value: Value, shape: Shape) -> Value:
    if isinstance(value, Secret):
        return Secret(_secrets_within(value.value, shape))
    return _with_secrets(value, shape) if isinstance(value, dict) else value
