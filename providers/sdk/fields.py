"""What a resource takes and gives, as tables: checks, secrets and the schema come from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind: TypeAlias = Literal["string", "number", "integer", "boolean", "list", "map", "object", "any"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One property: its kind, and what the provider adds to it."""

    kind: Kind = "string"
    required: bool = False
    secret: bool = False
    replaces: bool = False
    """Whether a change of it, or of anything in it, is a replacement."""
    default: bool | float | str | None = None
    of: Shape | None = None
    """The shape of an `object`, or of each object in a `list`."""
    items: Kind = "string"
    """What a `list` or a `map` holds, unless `of` says it."""
    computed: bool = False
    """The world fills it in where the program does not (bridged resource types only)."""
    unordered: bool = False
    """A list whose order means nothing: one that is only sorted anew has not changed."""
    choices: tuple[str, ...] = ()
    """The values that a string is taken from."""
    choices_token: str = ""
    """The name of the enumeration, where the schema has one."""
    open_choices: bool = False
    """The check lets other values through: the world may know more of them."""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A named set of properties, as a resource or a nested object has them."""

    token: str
    fields: Mapping[str, Field]
    title: str = ""
    """What error texts call it; the token where it is empty."""
    outputs: Mapping[str, Field] = field(default_factory=dict)
    """What a resource's state has besides its inputs."""

    @property
    def name(self) -> str:
        """For an error text."""
        return self.title or self.token
