"""Inputs of the released plugin that the stand-in does not support."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from providers.sdk.check import Failure

from standins.docker.container_schema import CONTAINER
from standins.docker.schemas import CONFIG, VOLUME

if TYPE_CHECKING:
    from providers.sdk.schema import Schema
    from providers.sdk.values import Properties

_UNSUPPORTED: Final = {
    CONTAINER.token: ("attach", "logs", "gpus", "deviceRequests"),
    VOLUME.token: ("cluster",),
    CONFIG.token: ("caMaterial", "certMaterial", "certPath", "context", "keyMaterial"),
}


def unsupported(schema: Schema, inputs: Properties) -> list[Failure]:
    """A failure for each unsupported input that is given."""
    names = _UNSUPPORTED.get(schema.token, ())
    return [
        Failure(field=name, reason=f"{name} needs the released pulumi-docker plugin: leave it out")
        for name in names
        if inputs.get(name) not in (None, False)
    ]
