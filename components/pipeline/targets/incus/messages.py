"""Messages about instances, with the config key that the server's text points at."""

from typing import Final

from ...errors import IncusRefusedError, message, printable
from ...values.owner import is_named, take_over
from .api import Incus
from .observed import DesiredInstance, InstanceState

_STACK_SECTION: Final = "incus"
_KEY_OF_TEXT: Final = (
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
"""Parts of the server's errors, and the config key that each is about; the first match counts."""
UNPACKING: Final = "Unpack failed: "
"""The server's error about a root file system that it cannot read."""
DAMAGED: Final = (
    "the server has exactly what was uploaded: repair the local build (`nix store repair` of "
    "`system.build.squashfs`), then run `pulumi up` again"
)
_HOST_ONLY: Final = frozenset({"member"})
"""Keys that only a host's section has, not the stack's."""


def refused_instance(incus: Incus, desired: DesiredInstance, reason: str) -> IncusRefusedError:
    """The error about an instance that the server refuses, with the config key to check."""
    if UNPACKING in reason:
        detail = f"{desired.image[:12]}: {reason.partition(UNPACKING)[2].strip()}"
        where = f"{describe(incus, desired)}, image {detail}"
        text = message("damaged image", where, "", DAMAGED)
    else:
        key = next((key for part, key in _KEY_OF_TEXT if part in reason), "")
        where, remedy = describe(incus, desired), config_hint(desired, key)
        text = message("Incus refused the instance", where, reason, remedy)
    return IncusRefusedError(text, reason=reason)


def config_hint(desired: DesiredInstance, key: str) -> str:
    """The remedy that names a config key: the host's own, or the stack's default for it."""
    own = f"`{desired.config_path}.{key}`" if key else f"`{desired.config_path}`"
    shared = f"`{_STACK_SECTION}.{key}`" if key else f"`{_STACK_SECTION}`"
    both = own if key in _HOST_ONLY or own == shared else f"{own}, or {shared},"
    return f"check {both} in the config"


def name_taken(found: InstanceState, where: str, stack: str, importing: str) -> str:
    """The message about a name that an instance of another owner has.

    `where` is its server and project, `stack` is PROJECT/STACK of the stack that wants the name.
    """
    whose = f"of {printable(found.owner)}" if found.owner else "that is not part of this stack"
    detail = f"an instance {whose} has that name"
    remedy = f"choose another `name`, or import the instance: {importing}"
    if is_named(found.owner, stack):
        remedy += f"; if the state was lost, {take_over(found.owner)}"
    return message("name taken", f"{printable(found.name)} ({where})", detail, remedy)


def describe(incus: Incus, desired: DesiredInstance) -> str:
    """The instance as messages name it: with its server and project."""
    return f"{printable(desired.name)} ({incus.where})"
