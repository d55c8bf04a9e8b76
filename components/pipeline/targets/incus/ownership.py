"""What flakeup writes on images and instances: whose they are, and how to know a host again."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from ...values import StorePath

OWNER: Final = "user.flakeup.owner"
"""Config key of an instance: the stack that made it."""
HOST_KEY: Final = "user.flakeup.host-key"
"""Config key of an instance: what a preview pins, without asking each instance for it."""
PROTECTED: Final = "security.protection.delete"
MAC: Final = "volatile.eth0.hwaddr"
SERVERS_OWN: Final = ("volatile.", "image.", "user.flakeup.")
"""Config keys that the server, the image or flakeup writes: no part of what is wanted."""


UUID: Final = "volatile.uuid"
"""Config key of an instance: its own, whatever its name is, and never another one's."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A stack, by its project and name: who runs the program is the same owner everywhere."""

    text: str

    @classmethod
    def of_urn(cls, urn: str) -> Self:
        """The stack of a resource: `urn:pulumi:STACK::PROJECT::TYPE::NAME`."""
        stack, project, *_ = urn.removeprefix("urn:pulumi:").split("::")
        return cls(f"{project}/{stack}")

    @property
    def stack(self) -> str:
        """The name of the stack alone."""
        return self.text.partition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A use of an image, as a property of it says: by which resource, and as which files.

    One resource may know the same image by other files than before, where they are built anew
    with the same content: the use of before is given up, and the image is not.
    """

    PREFIX: ClassVar[str] = "user.flakeup.used-by."

    resource: str
    """Its stack and name."""
    files: str

    @property
    def key(self) -> str:
        """The name of the property."""
        return f"{self.PREFIX}{self.resource}"

    @classmethod
    def of_urn(cls, urn: str, *files: StorePath) -> Self:
        """The use of an image by the resource of a URN."""
        name = urn.rpartition("::")[2]
        digests = " ".join(file.digest for file in files)
        return cls(resource=f"{Owner.of_urn(urn).text}/{name}", files=digests)
