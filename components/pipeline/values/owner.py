"""Whose the things are that a stack finds on a daemon by a label."""

import re
import secrets
from dataclasses import dataclass
from typing import Final, Self

from .names import InvalidValue

_ID_BYTES: Final = 8
_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
_TEXT: Final = re.compile(rf"({_NAME}/{_NAME})(?:/([a-z0-9-]{{1,40}}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A stack: an id that no other has, and the name that it had when the id was made.

    A label has both as one text, for programs and for people. It stays as it is when the stack is
    renamed: Docker's labels cannot be changed, only the container be replaced.
    """

    name: str
    """PROJECT/STACK: everybody's `flakeup/prod`."""
    id: str = ""
    """Random. Labels of stacks from before there was one have none."""

    @property
    def text(self) -> str:
        """Its label: `PROJECT/STACK/ID`."""
        return f"{self.name}/{self.id}" if self.id else self.name

    @property
    def stack(self) -> str:
        """The name of the stack alone."""
        return self.name.partition("/")[2]

    @classmethod
    def new(cls, name: str) -> Self:
        """Make the owner of a stack that has none."""
        return cls(name=name, id=secrets.token_hex(_ID_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a label, or raise InvalidValue."""
        if found := _TEXT.fullmatch(text):
            return cls(name=found[1], id=found[2] or "")
        msg = "is not PROJECT/STACK/ID"
        raise InvalidValue(msg)

    @classmethod
    def of_urn(cls, urn: str) -> Self:
        """The stack of a resource, by its name alone: `urn:pulumi:STACK::PROJECT::TYPE::NAME`."""
        stack, project, *_ = urn.removeprefix("urn:pulumi:").split("::")
        return cls(name=f"{project}/{stack}")


def is_named(label: str, name: str) -> bool:
    """Whether a label is that of a stack with this name, whatever its id."""
    return label == name or label.startswith(f"{name}/")


def take_over(label: str) -> str:
    """The remedy for a stack whose state was lost: it goes on as the owner in a label.

    The label is a daemon's: what is no owner is not put into a command.
    """
    try:
        owner = Owner.parse(label)
    except InvalidValue:
        return "change its label"
    return f"`pulumi config set owner {owner.text}` takes over all that has this label"
