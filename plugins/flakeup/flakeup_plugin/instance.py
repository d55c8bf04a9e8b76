"""`flakeup:incus:Instance`: a container on a server, up and known before it is deployed to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from plugin_protocol.diff import Diff, Difference
from plugin_protocol.errors import OperationError, PartlyDoneError
from plugin_protocol.inputs import Inputs
from plugin_protocol.resource import Created, Found, Resource
from plugin_protocol.values import Unknown, is_unknown, reveal

from components.pipeline.errors import IncusError
from components.pipeline.incus import boot, instance
from components.pipeline.incus.api import Incus, steadily
from components.pipeline.incus.instance import Seen, Wanted
from components.pipeline.incus.marks import Owner
from flakeup_plugin.servers import Place, Servers, place_of
from flakeup_plugin.shapes import INSTANCE

if TYPE_CHECKING:
    from plugin_protocol.fields import Shape
    from plugin_protocol.resource import Operation, Stored
    from plugin_protocol.values import Properties, Value

_OURS: Final = frozenset({"onImageChange", "bootTimeout", "ssh"})
"""Inputs that say how something is done, and change nothing by themselves."""
_PARTS: Final = 3
"""Of an id: remote, project and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """The inputs of an instance."""

    place: Place
    wanted: Wanted
    policy: str
    ssh: bool
    boot_timeout: float

    @classmethod
    def of(cls, inputs: Inputs) -> Spec:
        """Read what has passed the check."""
        return cls(
            place=place_of(inputs),
            wanted=Wanted(
                name=inputs.text("name", ""),
                image=inputs.text("image", ""),
                profiles=inputs.texts("profiles"),
                config=inputs.mapping("config"),
                devices=_devices(inputs.value("devices")),
                member=inputs.text("member", ""),
                running=inputs.flag("running") is not False,
            ),
            policy=inputs.text("onImageChange", "ignore"),
            ssh=inputs.flag("ssh") is not False,
            boot_timeout=inputs.number("bootTimeout", 120.0),
        )


class InstanceResource(Resource[Spec]):
    """A container whose root is made from an image once, and then belongs to its deployments."""

    shape: ClassVar[Shape] = INSTANCE

    def __init__(self, servers: Servers) -> None:
        """`servers` are what all resources of this process share."""
        self._servers = servers

    def parse(self, inputs: Inputs) -> Spec:
        """The inputs as values."""
        return Spec.of(inputs)

    async def create(self, inputs: Spec, operation: Operation) -> Created:
        """Make it, start it, and wait until it can be deployed to."""
        identity = "/".join((*inputs.place, inputs.wanted.name))
        outputs = await operation.scope.race(self._made(inputs, identity, operation))
        return Created(identity=identity, outputs=outputs)

    async def _made(self, spec: Spec, identity: str, operation: Operation) -> Properties:

        owner, say = Owner.of_urn(operation.urn), operation.journal.status
        async with self._servers.at(spec.place) as incus:
            await steadily(lambda: instance.create(incus, spec.wanted, owner, say))
            return await self._up(incus, spec, identity, operation)

    async def update(self, inputs: Spec, stored: Stored, operation: Operation) -> Properties:
        """Change it in place: name, root, config, whether it runs; in this order."""
        return await operation.scope.race(self._changed(inputs, stored, operation))

    async def _changed(self, spec: Spec, stored: Stored, operation: Operation) -> Properties:

        old, new = Spec.of(Inputs(stored.inputs)).wanted, spec.wanted
        owner, say = Owner.of_urn(operation.urn), operation.journal.status

        async def work(incus: Incus) -> None:
            if old.name != new.name:
                await instance.rename(incus, old, new, say)
            seen = await instance.look(incus, new.name)
            if seen and new.member and seen.member != new.member:
                raise OperationError(_moved(incus, seen, new))
            if seen and spec.policy == "rebuild" and seen.image != new.image:
                await instance.rebuild(incus, new, say)
            await instance.change(incus, old, new, owner)
            await instance.run(incus, new, say)

        async with self._servers.at(spec.place) as incus:
            await steadily(lambda: work(incus))
            return await self._up(incus, spec, stored.identity, operation)

    async def _up(
        self, incus: Incus, spec: Spec, identity: str, operation: Operation
    ) -> Properties:
        """Wait for the end of its boot; what it says then is in the state."""
        outputs = _outputs(await instance.look(incus, spec.wanted.name))
        if not spec.wanted.running:
            return outputs
        try:
            up = await steadily(
                lambda: boot.booted(
                    incus,
                    spec.wanted.name,
                    seconds=spec.boot_timeout,
                    ssh=spec.ssh,
                    say=operation.journal.status,
                )
            )
        except IncusError as error:
            # It is there: the state has to know of it, and the next `up` waits for it again.
            raise PartlyDoneError(str(error), identity=identity, outputs=outputs) from error
        if up.address is None or up.host_key is None:
            return outputs
        line = up.host_key.line
        await steadily(lambda: instance.note_host_key(incus, spec.wanted, line))
        return {**outputs, "address": up.address.text, "hostKey": line}

    async def delete(self, stored: Stored, operation: Operation) -> None:
        """Remove it with its root; volumes of its own stay."""
        spec = Spec.of(Inputs(stored.state))
        operation.journal.status("removing it")
        async with self._servers.at(spec.place) as incus:
            await steadily(lambda: instance.delete(incus, spec.wanted))

    async def read(self, stored: Stored, operation: Operation) -> Found | None:
        """As the server has it: for a refresh, or to take it into a stack."""
        if not stored.inputs:
            return await self._imported(stored, operation)
        spec = Spec.of(Inputs(stored.inputs))
        seen = (await self._servers.instances(spec.place)).get(spec.wanted.name)
        if seen is None:
            return None
        kept = {key: text for key, text in seen.config.items() if key in spec.wanted.config}
        devices = {key: it for key, it in seen.devices.items() if key in spec.wanted.devices}
        there = _inputs(replace(seen, config=kept, devices=devices))
        there.pop("image")  # what it was made from: that there is a newer one is no drift
        return Found(outputs={**_outputs(seen), **await self._told(spec, seen), **there})

    async def _told(self, spec: Spec, seen: Seen) -> Properties:
        """Its address and key, read anew: who refreshes sees what has changed, and may refuse."""
        if not (seen.running and spec.ssh):
            return {}
        async with self._servers.at(spec.place) as incus:
            found = await boot.reach(incus, seen.name)
            if not isinstance(found, boot.Booted) or not (found.address and found.host_key):
                return {}
            await instance.note_host_key(incus, spec.wanted, found.host_key.line)
            return {"address": found.address.text, "hostKey": found.host_key.line}

    async def _imported(self, stored: Stored, operation: Operation) -> Found | None:
        remote, project, name = _parts(stored.identity)
        seen = (await self._servers.instances((remote, project))).get(name)
        if seen is None:
            return None
        inputs: Properties = {
            "remote": remote,
            "project": project,
            **_inputs(seen),
            "onImageChange": "ignore",
            "ssh": True,
            "bootTimeout": 120.0,
        }
        async with self._servers.at((remote, project)) as incus:
            try:
                outputs = await self._up(incus, Spec.of(Inputs(inputs)), stored.identity, operation)
            except PartlyDoneError as error:
                raise OperationError(str(error)) from error
        return Found(outputs={**inputs, **outputs}, imported=inputs)

    async def diff(self, new: Properties, stored: Stored, operation: Operation) -> Diff:
        """What the config changes, and what somebody else has changed."""
        found = (await super().diff(new, stored, operation)).differences
        policy = reveal(new.get("onImageChange"))
        kept = tuple(
            replace(one, replaces=one.replaces or (one.top == "image" and policy == "replace"))
            for one in found
            if one.top not in _OURS and not (one.top == "image" and policy == "ignore")
        )
        try:
            drifted = await self._drifted(new, stored, operation)
        except OperationError as error:
            # A preview may run where no server can be reached: then the state's word counts.
            operation.journal.warning(f"{error}; what the state says is taken for true")
            drifted = ()
        known = {one.path for one in kept}
        more = tuple(one for one in drifted if one.path not in known)
        return Diff(differences=(*kept, *more), delete_before_replace=True)

    async def _drifted(
        self, new: Properties, stored: Stored, operation: Operation
    ) -> tuple[Difference, ...]:
        """What the server has otherwise than it is wanted."""
        old, wanted = Inputs(stored.inputs), Inputs(new)
        there = await self._servers.instances(place_of(old))
        name, owner = old.text("name", ""), Owner.of_urn(operation.urn)
        seen = there.get(name) or _renamed(there.get(wanted.text("name", "")), owner)
        if seen is None:
            return (Difference(path="name", top="name", replaces=True),)
        paths = [
            *(f"config.{key}" for key, text in wanted.mapping("config").items()
              if seen.config.get(key) != text),
            *(f"devices.{key}" for key, it in _devices(wanted.value("devices")).items()
              if seen.devices.get(key) != it),
        ]  # fmt: skip
        if wanted.flag("running") is not None and seen.running != wanted.flag("running"):
            paths.append("running")
        if seen.profiles != wanted.texts("profiles"):
            paths.append("profiles")
        if seen.owner != owner.text:
            paths.append("owner")
        address = reveal(stored.state.get("address"))
        if seen.address and address and seen.address != address:
            paths.append("address")
        return tuple(Difference(path=path, top=path.partition(".")[0]) for path in paths)

    async def planned(
        self, inputs: Properties, stored: Stored | None, operation: Operation
    ) -> Properties:
        """What it will say of itself: all as before, unless its root is made anew."""
        known = await super().planned(inputs, stored, operation)
        if stored is None or reveal(inputs.get("onImageChange")) != "rebuild":
            return known
        image = reveal(inputs.get("image"))
        if is_unknown(image) or image != reveal(stored.state.get("madeFrom")):
            return {name: Unknown() for name in known}
        return known


def _devices(value: Value) -> dict[str, dict[str, str]]:
    devices = value if isinstance(value, dict) else {}
    return {name: Inputs({"it": device}).mapping("it") for name, device in devices.items()}


def _renamed(seen: Seen | None, owner: Owner) -> Seen | None:
    """The instance under its new name, where the `up` that renamed it was cut off."""
    return seen if seen and seen.owner == owner.text else None


def _inputs(seen: Seen) -> Properties:
    return {
        "name": seen.name,
        "image": seen.image,
        "profiles": list[Any](seen.profiles),
        "config": dict[str, Any](seen.config),
        "devices": {name: dict[str, Any](device) for name, device in seen.devices.items()},
        "running": seen.running,
    }


def _outputs(seen: Seen | None) -> Properties:
    if seen is None:
        return {}
    return {"madeFrom": seen.image, "generation": seen.generation}


def _parts(identity: str) -> tuple[str, str, str]:
    parts = identity.split("/")
    if len(parts) != _PARTS or not all(parts):
        msg = (
            f"no such id: {identity[:200]!r}. write REMOTE/PROJECT/NAME, such as local/default/web1"
        )
        raise OperationError(msg)
    return parts[0], parts[1], parts[2]


def _moved(incus: Incus, seen: Seen, new: Wanted) -> str:
    return (
        f"not moved: {new.name} ({incus.where}): it is on {seen.member}, and is to be on "
        f"{new.member}. move it by hand: `incus move {new.name} --target {new.member}`"
    )
