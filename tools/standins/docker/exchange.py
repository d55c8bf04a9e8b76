"""Pairs of names: one table for what is asked of the daemon and for what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from standins.docker.look import labels
from standins.docker.units import nanoseconds, short

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from providers.sdk.inputs import Inputs
    from providers.sdk.values import Properties, Value

Form = Literal[
    "text", "texts", "whole", "flag", "map", "duration", "labels", "variables", "ratio", "object"
]


@dataclass(frozen=True, slots=True)
class Pair:
    """A property by its name in the program, its name in the API, and the form of its value."""

    ours: str
    theirs: str
    form: Form = "text"
    inner: Sequence[Pair] = ()
    """What an `object` holds."""
    zero: str | float | None = None
    """What it is when the daemon does not tell; None where that is nothing."""


def asked(inputs: Inputs | None, pairs: Sequence[Pair]) -> dict[str, Any] | None:
    """The object for the daemon; what the program does not say is left out."""
    if inputs is None:
        return None
    told = {pair.theirs: _asked(inputs, pair) for pair in pairs if inputs.has(pair.ours)}
    return {name: value for name, value in told.items() if value is not None}


def _asked(inputs: Inputs, pair: Pair) -> Any:
    if pair.form == "object":
        return asked(inputs.inside(pair.ours), pair.inner)
    return _ASKED[pair.form](inputs, pair.ours)


def _labels_asked(inputs: Inputs, name: str) -> dict[str, str]:
    return {label.text("label", ""): label.text("value", "") for label in inputs.each(name)}


def _variables_asked(inputs: Inputs, name: str) -> list[str]:
    return [f"{variable}={value}" for variable, value in inputs.mapping(name).items()]


_ASKED: Final[dict[Form, Callable[[Inputs, str], Any]]] = {
    "text": lambda inputs, name: inputs.text(name) or None,
    "texts": lambda inputs, name: list(inputs.texts(name)),
    "whole": lambda inputs, name: inputs.whole(name),
    "flag": lambda inputs, name: inputs.flag(name),
    "map": lambda inputs, name: inputs.mapping(name),
    "duration": lambda inputs, name: nanoseconds(inputs.text(name, "0s")),
    "labels": _labels_asked,
    "variables": _variables_asked,
    "ratio": lambda inputs, name: float(inputs.text(name, "0")),
}


def seen(told: dict[str, Any] | None, pairs: Sequence[Pair]) -> Properties | None:
    """What the daemon tells, in our names; what it does not say is left out."""
    if told is None:
        return None
    found = {pair.ours: _seen(told.get(pair.theirs), pair) for pair in pairs}
    return {name: value for name, value in found.items() if value is not None}


def _seen(value: Any, pair: Pair) -> Value:
    if pair.form == "object":
        return seen(value, pair.inner)
    return pair.zero if value is None else _SEEN[pair.form](value)


def _variables_seen(told: list[str]) -> Value:
    return {name: value for name, _, value in (text.partition("=") for text in told)}


_SEEN: Final[dict[Form, Callable[[Any], Value]]] = {
    "text": str,
    "texts": lambda told: [*told],
    "whole": float,
    "flag": bool,
    "map": dict,
    "duration": short,
    "labels": labels,
    "variables": _variables_seen,
    "ratio": lambda told: f"{told:.1f}",
}
