"""`flakeup:incus:Instance`: a container on a server, up and known before it is deployed to."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from components.pipeline.errors import IncusError
from components.pipeline.targets.incus import boot, cluster, instance
from components.pipeline.targets.incus.api import Incus, steadily
from components.pipeline.targets.incus.desired import Wanted
from components.pipeline.targets.incus.observed import Seen, find, look
from components.pipeline.targets.incus.ownership import Owner

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError, PartialFailureError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, ReadResult, Resource
from ..sdk.values import Unknown, reveal
from . import drift
from .schemas import INSTANCE
from .servers import CERTIFICATE, Place, Servers, place_now, place_of, told

if TYPE_CHECKING:
    from ..sdk.resource import Operation, PriorState
    from ..sdk.schema import Schema
    from ..sdk.values import Properties

_OURS: Final = frozenset({"onImageChange", "bootTimeout", "ssh", CERTIFICATE})
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
                name=inputs.string("name", ""),
                image=inputs.string("image", ""),
                profiles=inputs.strings("profiles"),
                config=inputs.string_map("config"),
                devices=drift.devices(inputs.value("devices")),
                member=inputs.string("member", ""),
                running=inputs.boolean("running") is not False,
            ),
            policy=inputs.string("onImageChange", "ignore"),
            ssh=inputs.boolean("ssh") is not False,
            boot_timeout=inputs.number("bootTimeout", 120.0),
        )


class InstanceResource(Resource[Spec]):
    """A container whose root is made from an image once, and then belongs to its deployments."""

    schema: ClassVar[Schema] = INSTANCE

    def __init__(self, servers: Servers) -> None:
        """`servers` are what all resources of this process share."""
        self._servers = servers

    def parse(self, inputs: Inputs) -> Spec:
        """The inputs as values."""
        return Spec.of(inputs)

    async def create(self, inputs: Spec, operation: Operation) -> Created:
        """Make it, start it, and wait until it can be deployed to."""
        identity = inputs.place.identity(inputs.wanted.name)
        outputs = await operation.cancellation.race(self._made(inputs, identity, operation))
        return Created(id=identity, outputs=outputs)

    async def _made(self, spec: Spec, identity: str, operation: Operation) -> Properties:
        owner, say = Owner.of_urn(operation.urn), operation.diagnostics.status
        importing = _import(operation.urn, identity)
        async with self._servers.at(spec.place) as incus:

            async def make() -> None:
                wanted = _written(spec.wanted, operation)
                await instance.create(incus, wanted, owner, say, importing=importing)

            await steadily(incus, make)
            return await self._up(incus, spec, identity, operation)

    async def update(self, inputs: Spec, prior: PriorState, operation: Operation) -> Properties:
        """Change it in place: name, root, config, whether it runs; in this order."""
        return await operation.cancellation.race(self._changed(inputs, prior, operation))

    async def _changed(self, spec: Spec, prior: PriorState, operation: Operation) -> Properties:
        old, new = Spec.of(Inputs(prior.inputs)).wanted, _written(spec.wanted, operation)
        owner, say = Owner.of_urn(operation.urn), operation.diagnostics.status

        async def work(incus: Incus) -> None:
            seen = await find(incus, drift.uuid_of(prior), new.name, old.name)
            if seen is None:
                raise OperationError(_gone(incus, old))
            cluster.refuse_move(seen, old, new, spec.place.remote, spec.place.project)
            if seen.name != new.name:
                await instance.rename(incus, seen, new, say)
            if spec.policy == "rebuild" and seen.image != new.image:
                await instance.rebuild(incus, new, say)
            await instance.change(incus, old, new, owner)
            await instance.run(incus, new, say)

        async with self._servers.at(spec.place) as incus:
            await steadily(incus, lambda: work(incus))
            return await self._up(incus, spec, prior.id, operation)

    async def _up(
        self, incus: Incus, spec: Spec, identity: str, operation: Operation
    ) -> Properties:
        """Wait for the end of its boot; what it says then is in the state."""
        outputs = drift.outputs_of(await look(incus, spec.wanted.name))
        if not spec.wanted.running:
            return outputs
        try:
            up = await steadily(
                incus,
                lambda: boot.booted(
                    incus,
                    spec.wanted.name,
                    seconds=spec.boot_timeout,
                    ssh=spec.ssh,
                    say=operation.diagnostics.status,
                ),
            )
        except IncusError as error:
            # It is there: the state has to know of it, and the next `up` waits for it again.
            raise PartialFailureError(str(error), resource_id=identity, outputs=outputs) from error
        if up.address is None or up.host_key is None:
            return outputs
        line = up.host_key.line
        await steadily(incus, lambda: instance.note_host_key(incus, spec.wanted, line))
        return {**outputs, "address": up.address.text, "hostKey": line}

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Remove it with its root; volumes of its own stay."""
        spec = Spec.of(Inputs(prior.state))
        operation.diagnostics.status("removing it")
        async with self._servers.at(place_of(Inputs(prior.inputs))) as incus:
            uuid = drift.uuid_of(prior)
            await steadily(incus, lambda: instance.delete(incus, spec.wanted, uuid))

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """As the server has it: for a refresh, or to take it into a stack."""
        del operation
        if not prior.inputs:
            return await self._imported(prior)
        spec = Spec.of(Inputs(prior.inputs))
        seen = drift.same(await self._servers.instances(spec.place), prior, spec.place)
        if seen is None:
            return None
        kept = {key: text for key, text in seen.config.items() if key in spec.wanted.config}
        devices = {key: it for key, it in seen.devices.items() if key in spec.wanted.devices}
        there = drift.inputs_of(replace(seen, config=kept, devices=devices))
        there.pop("image")  # what it was made from: that there is a newer one is no drift
        return ReadResult(
            outputs={**drift.outputs_of(seen), **await self._told(spec, seen), **there}
        )

    async def _told(self, spec: Spec, seen: Seen) -> Properties:
        """Its address and key, read anew: who refreshes sees what has changed, and may refuse."""
        async with self._servers.at(spec.place) as incus:
            said = await _said(incus, spec, seen)
            if line := said.get("hostKey"):
                await instance.note_host_key(incus, spec.wanted, str(line))
            return said

    async def _imported(self, prior: PriorState) -> ReadResult | None:
        remote, project, name = _parts(prior.id)
        place = Place(remote=remote, project=project)
        seen = (await self._servers.instances(place)).get(name)
        if seen is None:
            return None
        with told():
            seen.check(remote, project)
        inputs: Properties = {
            "remote": remote,
            "project": project,
            **drift.inputs_of(seen),
            "onImageChange": "ignore",
            "ssh": True,
            "bootTimeout": 120.0,
        }
        async with self._servers.at(place) as incus:
            said = await _said(incus, Spec.of(Inputs(inputs)), seen)
        return ReadResult(outputs={**inputs, **drift.outputs_of(seen), **said}, imported=inputs)

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """What the config changes, and what somebody else has changed."""
        found = (await super().diff(new, prior, operation)).differences
        kept = [one for one in found if one.top not in _OURS and one.top != "image"]
        policy = reveal(new.get("onImageChange"))
        # Not held against the image that was wanted before, which may have meant nothing then.
        if policy != "ignore" and drift.another(new.get("image"), prior.state.get("madeFrom")):
            kept.append(Difference(path="image", top="image", replaces=policy == "replace"))
        known = {one.path for one in kept}
        drifted: tuple[Difference, ...] = ()
        if "*" not in operation.ignore_changes:
            replaced = any(one.replaces for one in kept)
            drifted = await self._drifted(new, prior, operation, replaced=replaced)
        more = (one for one in drifted if one.path not in known)
        return Diff(differences=(*kept, *more), delete_before_replace=True)

    async def _drifted(
        self, new: Properties, prior: PriorState, operation: Operation, *, replaced: bool
    ) -> tuple[Difference, ...]:
        try:
            seen = await self._seen(prior, new)
        except OperationError as error:
            self._servers.excuse(place_now(prior, new), error, operation.diagnostics)
            return ()
        if seen is None:
            return (Difference(path="name", top="name", replaces=True),)
        if not replaced:  # a replacement is created on the new member
            old, spec = (Spec.of(Inputs(one)) for one in (prior.inputs, new))
            wanted, place = _written(spec.wanted, operation), spec.place
            with told():
                cluster.refuse_move(seen, old.wanted, wanted, place.remote, place.project)
        return drift.drifted(new, seen, prior, Owner.of_urn(operation.urn))

    async def _seen(self, prior: PriorState, new: Properties) -> Seen | None:
        """The instance that the state has, as it was when the server was asked first."""
        place = place_now(prior, new)
        return drift.same(await self._servers.instances(place), prior, place)

    async def preview(
        self, inputs: Properties, prior: PriorState | None, operation: Operation
    ) -> Properties:
        """What it will say of itself: all as before, unless its root is made anew."""
        known = await super().preview(inputs, prior, operation)
        if prior is None:
            return known
        policy, state = reveal(inputs.get("onImageChange")), Inputs(prior.state)
        if policy == "rebuild" and drift.another(inputs.get("image"), state.value("madeFrom")):
            return {name: known["uuid"] if name == "uuid" else Unknown() for name in known}
        with suppress(OperationError):  # that no server answers was said in the diff
            if seen := await self._seen(prior, inputs):
                known["root"] = seen.root
                known["address"] = seen.address or state.value("address")
        return known


async def _said(incus: Incus, spec: Spec, seen: Seen) -> Properties:
    """What it says of itself, if it is up."""
    if not (seen.running and spec.ssh):
        return {}
    found = await boot.reach(incus, seen.name)
    if isinstance(found, str) or found.address is None or found.host_key is None:
        return {}
    return {"address": found.address.text, "hostKey": found.host_key.line}


def _parts(identity: str) -> tuple[str, str, str]:
    parts = identity.split("/")
    if len(parts) != _PARTS or not all(parts):
        msg = (
            f"no such id: {identity[:200]!r}. write REMOTE/PROJECT/NAME, such as local/default/web1"
        )
        raise OperationError(msg)
    return parts[0], parts[1], parts[2]


def _written(wanted: Wanted, operation: Operation) -> Wanted:
    """With the place in the config that it comes from, for messages."""
    return replace(wanted, written=f"hosts.{_host(operation.urn)}.incus")


def _host(urn: str) -> str:
    return urn.rpartition("::")[2].removesuffix("-instance")


def _import(urn: str, identity: str) -> str:
    """The command that takes an instance into the stack, as the resource of a URN."""
    head, _, name = urn.rpartition("::")
    parents, _, token = head.rpartition("$")
    host = _host(urn)
    parent = f" --parent {host}='{parents}::{host}'" if parents else ""
    options = "--protect=false --generate-code=false"
    return (
        f"`pulumi import {token or head.rpartition('::')[2]} {name} {identity}{parent} {options}`"
    )


def _gone(incus: Incus, old: Wanted) -> str:
    return (
        f"no such instance: {old.name} ({incus.where}): the one that this stack has made is not "
        "there any more. run `pulumi up` again: it makes another one"
    )
