"""What is wrong with inputs, in the words of the released plugin, which is written in Go."""

from typing import Final

from providers.sdk.check import Failure, Problem, problems
from providers.sdk.fields import Field, Shape
from providers.sdk.values import Properties, Value

from standins.command.schema import NOT_OFFERED

_GO: Final = {
    "string": "string",
    "number": "float64",
    "integer": "int",
    "boolean": "bool",
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


def check(inputs: Properties, shape: Shape) -> tuple[Failure, ...]:
    """Everything that is wrong; no text, host or key is looked at."""
    found = [_failure(problem) for problem in problems(inputs, shape)]
    for name in sorted(NOT_OFFERED & inputs.keys()):
        reason = f"{name!r} needs the released pulumi-command plugin; this stand-in has no files"
        found.append(Failure(field=name, reason=reason))
    return tuple(found)


def _failure(problem: Problem) -> Failure:
    name, title = problem.name, problem.shape.title
    if problem.field is None:
        return Failure(field=name, reason=f"Unrecognized field '{name}' on '{title}'")
    if problem.within:
        return _failure_within(problem)
    if problem.got is None:
        return Failure(field=name, reason=f"Missing required field '{name}' on '{title}'")
    wanted = _wanted(problem, problem.field)
    reason = f"Field '{name}' on '{title}' must be a '{wanted}'; got '{_got(problem.got)}' instead"
    return Failure(field=name, reason=reason)


def _failure_within(problem: Problem) -> Failure:
    """All that is wrong in an object, as one failure of the property that holds it."""
    place = f"{problem.shape.title.rpartition('.')[2]}.{problem.name}"
    inner = map(_failure, problem.within)
    told = "".join(f"\n\t{failure.field}: {failure.reason}" for failure in inner)
    count = len(problem.within)
    reason = f"An error occurred decoding '{place}': {count} failures decoding:{told}"
    return Failure(field=problem.name, reason=reason)


def _wanted(problem: Problem, field: Field) -> str:
    if problem.kind == "list":
        return "[]interface {}" if field.items == "any" else "[]string"
    if problem.kind == "object" and field.of is not None:
        return field.of.title
    return _GO[problem.kind]


def _got(value: Value) -> str:
    return next((name for kind, name in _GOT if isinstance(value, kind)), "<nil>")
