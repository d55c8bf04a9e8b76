"""What of the release is not here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from providers.sdk.check import Failure
from providers.sdk.inputs import Inputs

from standins.docker.container_table import CONTAINER
from standins.docker.tables import SETTINGS, VOLUME

if TYPE_CHECKING:
    from providers.sdk.fields import Shape
    from providers.sdk.values import Properties

_MISSING: Final = {
    CONTAINER.token: ("attach", "logs", "gpus", "deviceRequests"),
    VOLUME.token: ("cluster",),
    SETTINGS.token: ("caMaterial", "certMaterial", "certPath", "context", "keyMaterial"),
}


def refused(shape: Shape, inputs: Properties) -> list[Failure]:
    """Failures for inputs that only the release can do something with."""
    given = (
        name for name in _MISSING.get(shape.token, ()) if inputs.get(name) not in (None, False)
    )
    return [_failure(name) for name in given]


def refused_in_service(inputs: Inputs) -> list[Failure]:
    """The same for a service, whose inputs are deep."""
    task = inputs.inside("taskSpec") or Inputs({})
    places = (
        ("", inputs, ("auth",)),
        ("taskSpec.placement.", task.inside("placement"), ("platforms", "prefs")),
        (
            "taskSpec.containerSpec.",
            task.inside("containerSpec"),
            ("configs", "privileges"),
        ),
    )
    return [
        _failure(f"{prefix}{name}")
        for prefix, place, names in places
        for name in names
        if place is not None and place.has(name)
    ]


def _failure(name: str) -> Failure:
    return Failure(
        field=name, reason=f"{name} needs the released pulumi-docker plugin: leave it out"
    )
