"""Config keys and properties that flakeup sets on images, instances and volumes."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from ...values import Owner, StorePath

OWNER: Final = "user.flakeup.owner"
"""Config key of an instance or volume: the owner that it belongs to."""
HOST_KEY: Final = "user.flakeup.host-key"
"""Config key of an instance: a preview pins this key without reading it from each instance."""
MAC: Final = "volatile.eth0.hwaddr"
"""Config key of an instance: the MAC address of its eth0."""
UUID: Final = "volatile.uuid"
"""Config key of an instance: stays the same when it is renamed, and is never used again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """A resource's reference to an image, recorded as a property of the image.

    It names the store paths as well: a rebuild can give the same content other paths. Then the
    engine creates the new resource before it deletes the old one, and deleting the old one must
    not remove the reference of the new one.
    """

    PREFIX: ClassVar[str] = "user.flakeup.used-by."

    resource: str
    """Its owner and name."""
    files: str
    """Hashes of the store paths."""

    @property
    def key(self) -> str:
        """The name of the property."""
        return f"{self.PREFIX}{self.resource}"

    @classmethod
    def of(cls, owner: Owner, name: str, *files: StorePath) -> Self:
        """The reference of a stack's resource."""
        digests = " ".join(file.digest for file in files)
        return cls(resource=f"{owner.text}/{name}", files=digests)
