"""Config keys and properties that flakeup sets on images, instances and volumes."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from ...values import StorePath

OWNER: Final = "user.flakeup.owner"
"""Config key of an instance or volume: the stack that it belongs to."""
HOST_KEY: Final = "user.flakeup.host-key"
"""Config key of an instance: a preview pins this key without reading it from each instance."""
MAC: Final = "volatile.eth0.hwaddr"
"""Config key of an instance: the MAC address of its eth0."""
UUID: Final = "volatile.uuid"
"""Config key of an instance: stays the same when it is renamed, and is never used again."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A stack, by its project and name; the same for everybody who runs it."""

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
class ImageReference:
    """A resource's reference to an image, recorded as a property of the image.

    It names the store paths as well: a rebuild can give the same content other paths. Then the
    engine creates the new resource before it deletes the old one, and deleting the old one must
    not remove the reference of the new one.
    """

    PREFIX: ClassVar[str] = "user.flakeup.used-by."

    resource: str
    """Its stack and name."""
    files: str
    """Hashes of the store paths."""

    @property
    def key(self) -> str:
        """The name of the property."""
        return f"{self.PREFIX}{self.resource}"

    @classmethod
    def of_urn(cls, urn: str, *files: StorePath) -> Self:
        """The reference of the resource with this URN."""
        name = urn.rpartition("::")[2]
        digests = " ".join(file.digest for file in files)
        return cls(resource=f"{Owner.of_urn(urn).text}/{name}", files=digests)
