"""Typed reading of properties that have passed the check."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from .values import reveal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .values import Value


class Inputs:
    """Properties without their marks of secrecy; absent ones are the default, else None or empty.

    Its `repr` shows no value.
    """

    def __init__(self, properties: Mapping[str, Value]) -> None:
        """`properties` as they come from the engine, or from inside such."""
        self._values = {name: reveal(value) for name, value in properties.items()}

    def has(self, name: str) -> bool:
        """Whether it was given at all."""
        return self._values.get(name) is not None

    def value(self, name: str) -> Value:
        """As it is."""
        return self._values.get(name)

    @overload
    def text(self, name: str) -> str | None: ...
    @overload
    def text(self, name: str, default: str) -> str: ...
    def text(self, name: str, default: str | None = None) -> str | None:
        """A string."""
        value = self._values.get(name)
        return value if isinstance(value, str) else default

    @overload
    def number(self, name: str) -> float | None: ...
    @overload
    def number(self, name: str, default: float) -> float: ...
    def number(self, name: str, default: float | None = None) -> float | None:
        """A number."""
        value = self._values.get(name)
        return value if isinstance(value, float) else default

    @overload
    def whole(self, name: str) -> int | None: ...
    @overload
    def whole(self, name: str, default: int) -> int: ...
    def whole(self, name: str, default: int | None = None) -> int | None:
        """A whole number."""
        value = self._values.get(name)
        return int(value) if isinstance(value, float) else default

    def flag(self, name: str) -> bool | None:
        """A boolean."""
        value = self._values.get(name)
        return value if isinstance(value, bool) else None

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._values.get(name)
        items = value if isinstance(value, list) else []
        return tuple(item if isinstance(item, str) else "" for item in items)

    def mapping(self, name: str) -> dict[str, str]:
        """A map of strings."""
        value = self._values.get(name)
        pairs = value.items() if isinstance(value, dict) else ()
        return {key: item if isinstance(item, str) else "" for key, item in pairs}

    def inside(self, name: str) -> Inputs | None:
        """An object."""
        value = self._values.get(name)
        return Inputs(value) if isinstance(value, dict) else None

    def each(self, name: str) -> tuple[Inputs, ...]:
        """A list of objects."""
        value = self._values.get(name)
        items = value if isinstance(value, list) else []
        return tuple(Inputs(item) for item in items if isinstance(item, dict))
