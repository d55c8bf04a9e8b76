"""What flakeup writes on images and instances: whose they are, and how to know a host again."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

OWNER: Final = "user.flakeup.owner"
"""Config key of an instance: the stack that made it."""
HOST_KEY: Final = "user.flakeup.host-key"
"""Config key of an instance: what a preview pins, without asking each instance for it."""
PROTECTED: Final = "security.protection.delete"
MAC: Final = "volatile.eth0.hwaddr"
SERVERS_OWN: Final = ("volatile.", "image.", "user.flakeup.")
"""Config keys that the server, the image or flakeup writes: no part of what is wanted."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A stack, by its project and name: who runs the program is the same owner everywhere."""

    PREFIX: ClassVar[str] = "user.flakeup.used-by."

    text: str

    @property
    def mark(self) -> str:
        """Property of an image that this owner uses."""
        return f"{self.PREFIX}{self.text}"

    @classmethod
    def of_urn(cls, urn: str) -> Self:
        """The stack of a resource: `urn:pulumi:STACK::PROJECT::TYPE::NAME`."""
        stack, project, *_ = urn.removeprefix("urn:pulumi:").split("::")
        return cls(f"{project}/{stack}")
