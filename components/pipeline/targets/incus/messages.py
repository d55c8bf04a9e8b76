"""What Incus says no to, and the key of the config that it is about."""

from typing import Final

from ...errors import IncusRefusedError, message, printable
from .api import Incus
from .desired import Wanted

STACK: Final = "incus"
_ABOUT: Final = (
    ("rofile", "profiles"),
    ("torage pool", "pool"),
    ("oot device", "pool"),
    ("etwork", "network"),
    ("onfiguration key", "config"),
    ("config", "config"),
    ("nvalid value", "config"),
    ("evice", "devices"),
    ("roject", "project"),
    ("ember", "member"),
    ("arget", "member"),
)
"""Words in what Incus says, and the key of ours that they are about."""
UNPACKING: Final = "Unpack failed: "
"""What it says of an image whose root it cannot read; that it is what was sent, is sure."""
DAMAGED: Final = (
    "the server has what was sent: repair it here (`nix store repair` of `system.build.squashfs`), "
    "and run `pulumi up` again"
)
_HOSTS_OWN: Final = frozenset({"member"})
"""Keys that only a host has."""


def refused(incus: Incus, wanted: Wanted, reason: str) -> IncusRefusedError:
    """What Incus says of an instance that it refuses, and which key of the config to look at."""
    if UNPACKING in reason:
        detail = f"{wanted.image[:12]}: {reason.partition(UNPACKING)[2].strip()}"
        where = f"{place(incus, wanted)}, image {detail}"
        text = message("the image is damaged", where, "", DAMAGED)
    else:
        key = next((key for word, key in _ABOUT if word in reason), "")
        where, remedy = place(incus, wanted), look_at(wanted, key)
        text = message("Incus refused the instance", where, reason, remedy)
    return IncusRefusedError(text, reason=reason)


def look_at(wanted: Wanted, key: str) -> str:
    """Where in the config the reason is: the host's word, or the stack's where it has none."""
    own = f"`{wanted.written}.{key}`" if key else f"`{wanted.written}`"
    shared = f"`{STACK}.{key}`" if key else f"`{STACK}`"
    both = own if key in _HOSTS_OWN or own == shared else f"{own}, or {shared},"
    return f"look at {both} in the config"


def taken(incus: Incus, wanted: Wanted, importing: str) -> str:
    """What is said where somebody else's has its name."""
    detail = "an instance that this stack has not made has that name"
    remedy = f"write another `name`, or take it into the stack: {importing}"
    return message("name taken", place(incus, wanted), detail, remedy)


def place(incus: Incus, wanted: Wanted) -> str:
    """The instance, as messages name it."""
    return f"{printable(wanted.name)} ({incus.where})"
