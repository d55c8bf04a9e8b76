"""The schema of a resource type: checks, defaults, secrets and replacements follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind: TypeAlias = Literal["string", "number", "integer", "boolean", "list", "map", "object", "any"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One property."""

    kind: Kind = "string"
    required: bool = False
    secret: bool = False
    replaces: bool = False
    """Whether a change to it, or to anything in it, replaces the resource."""
    default: bool | float | str | None = None
    of: Schema | None = None
    """The schema of an `object`, or of each object in a `list`."""
    items: Kind = "string"
    """The kind of the elements of a `list` or `map`, unless `of` is given."""
    computed: bool = False
    """Filled in by the provider where the program gives none (bridged resource types only)."""
    unordered: bool = False
    """A list used as a set: another order is no change."""
    choices: tuple[str, ...] = ()
    """The values of an enumeration; any string if empty."""
    choices_token: str = ""
    """The type token of the enumeration, if the package schema has one."""
    open_choices: bool = False
    """Whether the check accepts values outside `choices`."""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The properties of a resource or of a nested object."""

    token: str
    fields: Mapping[str, Field]
    title: str = ""
    """Its name in error messages; the token if empty."""
    outputs: Mapping[str, Field] = field(default_factory=dict)
    """The properties that a resource's state has in addition to its inputs."""

    @property
    def name(self) -> str:
        """Its name in error messages."""
        return self.title or self.token
