"""What an instance is to be."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .api import segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An instance as the config has it."""

    name: str
    image: str = ""
    """Fingerprint of what it is made from."""
    profiles: tuple[str, ...] = ("default",)
    config: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    member: str = ""
    """The cluster's member that it is made on; empty lets the server choose."""
    running: bool = True
    written: str = "incus"
    """Where the config has it, for messages: `hosts.web1.incus`."""

    @property
    def path(self) -> str:
        """Where the server keeps it."""
        return f"/1.0/instances/{segment(self.name)}"
