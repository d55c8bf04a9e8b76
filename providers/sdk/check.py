"""Check: types, defaults and secrets. No meaning of any value is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .values import Secret, Unknown, bare, secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .fields import Field, Kind, Shape
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
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "list": "a list",
    "map": "a map",
    "object": "an object",
    "any": "a value",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A property that cannot be taken, and why."""

    field: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One property that does not fit its table."""

    name: str
    """As `port`, `args[0]` or `environment[LANG] value`."""
    shape: Shape
    """The set of properties that it is in."""
    field: Field | None
    """None for a property that the shape does not have."""
    kind: Kind
    """What was wanted."""
    got: Value
    """None for a property that is required and absent."""
    within: tuple[Problem, ...] = ()
    """What is wrong inside an object; then nothing is wrong with the object itself."""


def problems(inputs: Properties, shape: Shape) -> tuple[Problem, ...]:
    """Everything that does not fit; an unknown value is right until it is known."""
    return tuple(_problems(inputs, shape))


def _problems(inputs: Properties, shape: Shape) -> Iterator[Problem]:
    for name, field in shape.fields.items():
        if field.required and inputs.get(name) is None:
            yield Problem(name=name, shape=shape, field=field, kind=field.kind, got=None)
    for name, value in sorted(inputs.items()):
        if name in shape.fields:
            yield from _unfit(name, value, shape.fields[name], shape)
        else:
            yield Problem(name=name, shape=shape, field=None, kind="any", got=value)


def _unfit(name: str, value: Value, field: Field, shape: Shape) -> Iterator[Problem]:
    plain = bare(value)
    if plain is None or isinstance(plain, Unknown):
        return
    fits = isinstance(plain, _PYTHON[field.kind])
    if fits and field.choices and not field.open_choices:
        fits = plain in field.choices
    if not fits:
        yield Problem(name=name, shape=shape, field=field, kind=field.kind, got=plain)
    elif field.kind == "object" and field.of is not None and isinstance(plain, dict):
        yield from _within(name, plain, field, shape)
    else:
        places: dict[str, Value] = {}
        if field.kind == "list" and isinstance(plain, list):
            places = {f"{name}[{index}]": item for index, item in enumerate(plain)}
        elif field.kind == "map" and isinstance(plain, dict):
            places = {f"{name}[{key}] value": item for key, item in plain.items()}
        for place, item in places.items():
            yield from _unfit_item(place, bare(item), field, shape)


def _unfit_item(place: str, item: Value, field: Field, shape: Shape) -> Iterator[Problem]:
    if field.of is not None and isinstance(item, dict):
        yield from _within(place, item, field, shape)
        return
    kind: Kind = "object" if field.of is not None else field.items
    if not isinstance(item, (_PYTHON[kind], Unknown)):
        yield Problem(name=place, shape=shape, field=field, kind=kind, got=item)


def _within(name: str, value: Properties, field: Field, outer: Shape) -> Iterator[Problem]:
    if field.of is None:
        return
    inner = problems(without_nulls(value), field.of)
    if inner:
        kind = field.kind
        yield Problem(name=name, shape=outer, field=field, kind=kind, got=value, within=inner)


def failures(found: Sequence[Problem], *, prefix: str = "") -> Iterator[Failure]:
    """The problems in words, one for each place."""
    for problem in found:
        place = f"{prefix}{problem.name}"
        if problem.within:
            yield from failures(problem.within, prefix=f"{place}.")
        else:
            yield Failure(field=place, reason=_reason(place, problem))


def _reason(place: str, problem: Problem) -> str:
    field = problem.field
    if field is None:
        known = ", ".join(sorted(problem.shape.fields))
        return f"{place} is no property of {problem.shape.name}: it has {known}"
    if problem.got is None:
        return f"{place} is missing: {problem.shape.name} needs it"
    if field.choices and isinstance(problem.got, str):
        return f"{place} must be one of {', '.join(field.choices)}, not {problem.got!r}"
    got = "true or false" if isinstance(problem.got, bool) else _called(problem.got)
    return f"{place} must be {_ARTICLES[problem.kind]}, not {got}"


def _called(value: Value) -> str:
    names = {float: "a number", str: "a text", list: "a list", dict: "an object"}
    return names.get(type(value), "nothing")


def without_nulls(value: Properties) -> Properties:
    """The properties that say something."""
    return {key: item for key, item in value.items() if item is not None}


def with_defaults(inputs: Properties, shape: Shape) -> Properties:
    """The inputs with the defaults of those that are absent, at any depth."""
    filled = dict(inputs)
    for name, field in shape.fields.items():
        given = filled.get(name)
        if given is None and field.default is not None:
            filled[name] = field.default
        elif field.kind == "integer" and isinstance(given, float):
            filled[name] = float(int(given))
        elif given is not None:
            filled[name] = _each(given, field, _filled)
    return filled


def _filled(value: Properties, shape: Shape) -> Properties:
    return with_defaults(without_nulls(value), shape)


def with_secrets(inputs: Properties, shape: Shape) -> Properties:
    """The inputs with those marked that are secret by their table, at any depth."""
    marked: Properties = {}
    for name, value in inputs.items():
        field = shape.fields.get(name) or shape.outputs.get(name)
        marked[name] = value if field is None else _each(value, field, with_secrets)
        if field is not None and field.secret:
            marked[name] = secret(marked[name])
    return marked


def _each(value: Value, field: Field, change: Callable[[Properties, Shape], Properties]) -> Value:
    """The value with every object in it changed that the field knows the shape of."""
    if field.of is None:
        return value
    if isinstance(value, Secret):
        return Secret(_each(value.value, field, change))
    if isinstance(value, list):
        return [_each(item, field, change) for item in value]
    return change(value, field.of) if isinstance(value, dict) else value
