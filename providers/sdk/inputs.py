"""Typed access to properties that have passed the check."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from .values import reveal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .values import Value


class Inputs:
    """Properties with their secrets revealed; an absent one is the default, else None or empty.

    Its `repr` shows no values.
    """

    def __init__(self, properties: Mapping[str, Value]) -> None:
        """`properties` as the engine sends them, or an object among them."""
        self._values = {name: reveal(value) for name, value in properties.items()}

    def has(self, name: str) -> bool:
        """Whether it is given."""
        return self._values.get(name) is not None

    def value(self, name: str) -> Value:
        """Its value as it is."""
        return self._values.get(name)

    @overload
    def string(self, name: str) -> str | None: ...
    @overload
    def string(self, name: str, default: str) -> str: ...
    def string(self, name: str, default: str | None = None) -> str | None:
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
    def integer(self, name: str) -> int | None: ...
    @overload
    def integer(self, name: str, default: int) -> int: ...
    def integer(self, name: str, default: int | None = None) -> int | None:
        """A number, truncated to an integer."""
        value = self._values.get(name)
        return int(value) if isinstance(value, float) else default

    def boolean(self, name: str) -> bool | None:
        """A boolean."""
        value = self._values.get(name)
        return value if isinstance(value, bool) else None

    def strings(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._values.get(name)
        items = value if isinstance(value, list) else []
        return tuple(item if isinstance(item, str) else "" for item in items)

    def string_map(self, name: str) -> dict[str, str]:
        """A map of strings."""
        value = self._values.get(name)
        pairs = value.items() if isinstance(value, dict) else ()
        return {key: item if isinstance(item, str) else "" for key, item in pairs}

    def object(self, name: str) -> Inputs | None:
        """An object."""
        value = self._values.get(name)
        return Inputs(value) if isinstance(value, dict) else None

    def objects(self, name: str) -> tuple[Inputs, ...]:
        """A list of objects."""
        value = self._values.get(name)
        items = value if isinstance(value, list) else []
        return tuple(Inputs(item) for item in items if isinstance(item, dict))
