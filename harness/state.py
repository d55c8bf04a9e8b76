"""Reads hosts from a stack's state."""

from collections.abc import Iterable
from typing import Any


def recorded(resources: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The system that was last deployed to each host, from the text of its `switch`.

    `resources` are those of `pulumi stack export`, or of a checkpoint.
    """
    creates = {
        resource["urn"].rsplit("::", 1)[1]: resource["inputs"].get("create", "")
        for resource in resources
        if resource["type"] == "command:remote:Command"
    }
    return {name.removesuffix("-switch"): text.rsplit(" ", 1)[-1] for name, text in creates.items()}
