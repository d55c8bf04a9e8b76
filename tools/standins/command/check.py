"""Checks inputs; the failures are worded like those of the released plugin, written in Go."""

from typing import Final

from providers.sdk.check import Failure, Problem, problems
from providers.sdk.schema import Field, Schema
from providers.sdk.values import Properties, Value

from standins.command.schema import UNSUPPORTED

_KINDS: Final = {
    "string": "string",
    "number": "float64",
    "integer": "int",
    "boolean": "bool",
    "map": "map[string]string",
}
"""The released plugin's name for a kind."""
_VALUE_TYPES: Final[tuple[tuple[type, str], ...]] = (
    (bool, "bool"),
    (float, "float64"),
    (str, "string"),
    (list, "[]interface {}"),
    (dict, "map[string]interface {}"),
)


def check(inputs: Properties, schema: Schema) -> tuple[Failure, ...]:
    """Check types; commands, hosts and keys are not validated."""
    found = [_failure(problem) for problem in problems(inputs, schema)]
    for name in sorted(UNSUPPORTED & inputs.keys()):
        reason = f"{name!r} needs the released pulumi-command plugin; this stand-in has no files"
        found.append(Failure(field=name, reason=reason))
    return tuple(found)


def _failure(problem: Problem) -> Failure:
    name, title = problem.name, problem.schema.title
    if problem.field is None:
        return Failure(field=name, reason=f"Unrecognized field '{name}' on '{title}'")
    if problem.within:
        return _failure_within(problem)
    if problem.got is None:
        return Failure(field=name, reason=f"Missing required field '{name}' on '{title}'")
    expected = _expected(problem, problem.field)
    reason = (
        f"Field '{name}' on '{title}' must be a '{expected}'; got '{_got(problem.got)}' instead"
    )
    return Failure(field=name, reason=reason)


def _failure_within(problem: Problem) -> Failure:
    """The problems in an object, as one failure of the property that holds it."""
    owner = f"{problem.schema.title.rpartition('.')[2]}.{problem.name}"
    inner = map(_failure, problem.within)
    details = "".join(f"\n\t{failure.field}: {failure.reason}" for failure in inner)
    count = len(problem.within)
    reason = f"An error occurred decoding '{owner}': {count} failures decoding:{details}"
    return Failure(field=problem.name, reason=reason)


def _expected(problem: Problem, field: Field) -> str:
    if problem.kind == "list":
        return "[]interface {}" if field.items == "any" else "[]string"
    if problem.kind == "object" and field.of is not None:
        return field.of.title
    return _KINDS[problem.kind]


def _got(value: Value) -> str:
    return next((name for kind, name in _VALUE_TYPES if isinstance(value, kind)), "<nil>")
