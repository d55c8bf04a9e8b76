"""An instance as the state has it, held against what the server says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.pipeline.targets.incus.observed import Seen, pick

from ..sdk.diff import Difference
from ..sdk.inputs import Inputs
from ..sdk.values import contains_unknown, reveal
from .servers import Place, told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from components.pipeline.targets.incus.ownership import Owner

    from ..sdk.resource import PriorState
    from ..sdk.values import Properties, Value


def uuid_of(prior: PriorState) -> str:
    """The instance that the state is about."""
    return Inputs(prior.state).string("uuid", "")


def same(there: Mapping[str, Seen], prior: PriorState, place: Place) -> Seen | None:
    """The instance that the state is about, whatever its name is now; no other of that name.

    Raises:
        OperationError: a member of the cluster does not answer, and may have it.
    """
    with told():
        return pick(there, uuid_of(prior), place.remote, place.project)


def another(image: Value, made_from: Value) -> bool:
    """Whether an image is another one than an instance was made from, as far as is known."""
    return contains_unknown(image) or reveal(image) != reveal(made_from)


def drifted(new: Properties, seen: Seen, prior: PriorState, owner: Owner) -> tuple[Difference, ...]:
    """What the server has otherwise than it is wanted, or than the state has it."""
    paths = _drifted(Inputs(new), seen, Inputs(prior.state), owner)
    return tuple(Difference(path=path, top=path.partition(".")[0]) for path in paths)


def _drifted(wanted: Inputs, seen: Seen, state: Inputs, owner: Owner) -> Iterator[str]:
    yield from _unlike("config", wanted.string_map("config"), seen.config)
    yield from _unlike("devices", devices(wanted.value("devices")), seen.devices)
    pairs = {
        "running": (wanted.boolean("running"), seen.running),
        "name": (wanted.string("name"), seen.name),
        "profiles": (wanted.strings("profiles"), seen.profiles),
        "owner": (owner.text, seen.owner),
        "address": (state.string("address"), seen.address),
        "root": (state.string("root"), seen.root),
    }
    for name, (known, found) in pairs.items():
        # Not asked for, or not to be had: a stopped one has no address.
        if known is not None and found is not None and known != found:
            yield name


def _unlike(name: str, wanted: Mapping[str, object], there: Mapping[str, object]) -> Iterator[str]:
    """What is wanted and not there; what others have added is theirs."""
    return (f"{name}.{key}" for key, it in wanted.items() if there.get(key) != it)


def devices(value: Value) -> dict[str, dict[str, str]]:
    """The input `devices`."""
    given = value if isinstance(value, dict) else {}
    return {name: Inputs({"it": device}).string_map("it") for name, device in given.items()}


def inputs_of(seen: Seen) -> Properties:
    """What is there, as inputs."""
    return {
        "name": seen.name,
        "image": seen.image,
        "profiles": list[Any](seen.profiles),
        "config": dict[str, Any](seen.config),
        "devices": {name: dict[str, Any](device) for name, device in seen.devices.items()},
        "running": seen.running,
    }


def outputs_of(seen: Seen | None) -> Properties:
    """What is there, as outputs."""
    if seen is None:
        return {}
    return {"madeFrom": seen.image, "root": seen.root, "uuid": seen.uuid}
