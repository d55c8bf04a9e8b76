"""Compare an instance in the state with the one on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.pipeline.targets.incus.observed import InstanceState, pick_instance

from ..sdk.diff import Difference
from ..sdk.inputs import Inputs
from ..sdk.values import contains_unknown, reveal
from .servers import Location, operation_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from components.pipeline.values import Owner

    from ..sdk.resource import PriorState
    from ..sdk.values import Properties, Value


def uuid_of(prior: PriorState) -> str:
    """The UUID of the instance in the state."""
    return Inputs(prior.state).string("uuid", "")


def find_stored(
    instances: Mapping[str, InstanceState], prior: PriorState, location: Location
) -> InstanceState | None:
    """Find the instance of the state in a listing, even if it was renamed.

    Raises:
        OperationError: it may be on a cluster member that is offline.
    """
    with operation_errors():
        return pick_instance(instances, uuid_of(prior), location.remote, location.project)


def is_another_image(image: Value, made_from: Value) -> bool:
    """Whether the image is, or may be, another one than that of the instance's root."""
    return contains_unknown(image) or reveal(image) != reveal(made_from)


def find_drift(
    new: Properties, current: InstanceState, prior: PriorState, owner: Owner
) -> tuple[Difference, ...]:
    """Where the server differs from the inputs, or from the outputs in the state."""
    paths = _drifted_paths(Inputs(new), current, Inputs(prior.state), owner)
    return tuple(Difference(path=path, top=path.partition(".")[0]) for path in paths)


def _drifted_paths(
    desired: Inputs, current: InstanceState, state: Inputs, owner: Owner
) -> Iterator[str]:
    yield from _mismatched_keys("config", desired.string_map("config"), current.config)
    yield from _mismatched_keys("devices", parse_devices(desired.value("devices")), current.devices)
    pairs = {
        "running": (desired.boolean("running"), current.running),
        "name": (desired.string("name"), current.name),
        "profiles": (desired.strings("profiles"), current.profiles),
        "owner": (owner.text, current.owner),
        "address": (state.string("address"), current.address),
        "root": (state.string("root"), current.root),
    }
    for name, (expected, found) in pairs.items():
        # None if not configured, or not known: a stopped instance has no address.
        if expected is not None and found is not None and expected != found:
            yield name


def _mismatched_keys(
    name: str, desired: Mapping[str, object], current: Mapping[str, object]
) -> Iterator[str]:
    """Keys with another value than desired; keys that others have added do not count."""
    return (f"{name}.{key}" for key, it in desired.items() if current.get(key) != it)


def parse_devices(value: Value) -> dict[str, dict[str, str]]:
    """Parse the input `devices`."""
    given = value if isinstance(value, dict) else {}
    return {name: Inputs({"it": device}).string_map("it") for name, device in given.items()}


def inputs_of(current: InstanceState) -> Properties:
    """The inputs that describe an instance as it is."""
    return {
        "name": current.name,
        "image": current.image,
        "profiles": list[Any](current.profiles),
        "config": dict[str, Any](current.config),
        "devices": {name: dict[str, Any](device) for name, device in current.devices.items()},
        "running": current.running,
    }


def outputs_of(current: InstanceState | None) -> Properties:
    """The outputs that a listing tells."""
    if current is None:
        return {}
    return {"madeFrom": current.image, "root": current.root, "uuid": current.uuid}
