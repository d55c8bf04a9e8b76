"""`flakeup:incus:Instance`: a container on a server, created and booted before a deployment."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from components.pipeline.config.incus import OnImageChange
from components.pipeline.errors import IncusError
from components.pipeline.targets.incus import boot, cluster, instance, messages
from components.pipeline.targets.incus.api import Incus, retry_through_restart
from components.pipeline.targets.incus.observed import (
    DesiredInstance,
    InstanceState,
    find_instance,
    get_instance,
)
from components.pipeline.values import Owner

from ..sdk.diff import Diff, Difference
from ..sdk.errors import OperationError, PartialFailureError
from ..sdk.inputs import Inputs
from ..sdk.resource import Created, ReadResult, Resource
from ..sdk.values import Unknown, reveal
from . import drift
from .owner import OWNER, known_owner, owner_of, settle_owner
from .schemas import BOOT_TIMEOUT, INSTANCE
from .servers import CERTIFICATE, Location, Servers, current_location, location_of, operation_errors

if TYPE_CHECKING:
    from ..sdk.resource import Operation, PriorState
    from ..sdk.schema import Schema
    from ..sdk.values import Properties

_NOT_ON_SERVER: Final = frozenset({"onImageChange", "bootTimeout", "ssh", CERTIFICATE})
"""Inputs about how an operation is done: a change of them changes nothing on the server."""
_ID_PARTS: Final = 3
"""An id is REMOTE/PROJECT/NAME."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceInputs:
    """The inputs of an instance."""

    location: Location
    desired: DesiredInstance
    policy: str
    ssh: bool
    boot_timeout: float
    owner: str
    """Empty in a state from before there was one."""

    @classmethod
    def of(cls, inputs: Inputs) -> InstanceInputs:
        """Parse inputs that have passed the check."""
        return cls(
            location=location_of(inputs),
            desired=DesiredInstance(
                name=inputs.string("name", ""),
                image=inputs.string("image", ""),
                profiles=inputs.strings("profiles"),
                config=inputs.string_map("config"),
                devices=drift.parse_devices(inputs.value("devices")),
                member=inputs.string("member", ""),
                running=inputs.boolean("running") is not False,
            ),
            policy=inputs.string("onImageChange", OnImageChange.IGNORE),
            ssh=inputs.boolean("ssh") is not False,
            boot_timeout=inputs.number("bootTimeout", BOOT_TIMEOUT),
            owner=inputs.string(OWNER, ""),
        )


class InstanceResource(Resource[InstanceInputs]):
    """A container whose root comes from an image once, and then belongs to its deployments."""

    schema: ClassVar[Schema] = INSTANCE

    def __init__(self, servers: Servers) -> None:
        """`servers` is shared by all resources of this process."""
        self._servers = servers

    def parse(self, inputs: Inputs) -> InstanceInputs:
        """Parse the inputs."""
        return InstanceInputs.of(inputs)

    async def create(self, inputs: InstanceInputs, operation: Operation) -> Created:
        """Create and start it, and wait until it can be deployed to."""
        identity = inputs.location.identity(inputs.desired.name)
        outputs = await operation.cancellation.race(self._create(inputs, identity, operation))
        return Created(id=identity, outputs=outputs)

    async def _create(
        self, inputs: InstanceInputs, identity: str, operation: Operation
    ) -> Properties:
        owner, say = owner_of(inputs.owner, operation.urn), operation.diagnostics.status
        desired = _with_config_path(inputs.desired, operation)
        importing = _import_command(operation.urn, identity)
        async with self._servers.connect(inputs.location) as incus:
            await retry_through_restart(
                incus, lambda: instance.create(incus, desired, owner, say, importing=importing)
            )
            return await self._wait_until_up(incus, inputs, identity, operation)

    async def update(
        self, inputs: InstanceInputs, prior: PriorState, operation: Operation
    ) -> Properties:
        """Update it in place: name, root, config, and whether it runs, in this order."""
        return await operation.cancellation.race(self._update(inputs, prior, operation))

    async def _update(
        self, inputs: InstanceInputs, prior: PriorState, operation: Operation
    ) -> Properties:
        old = InstanceInputs.of(Inputs(prior.inputs)).desired
        new = _with_config_path(inputs.desired, operation)
        owner, say = owner_of(inputs.owner, operation.urn), operation.diagnostics.status
        remote, project = inputs.location.remote, inputs.location.project

        async def work(incus: Incus) -> None:
            current = await find_instance(incus, drift.uuid_of(prior), new.name, old.name)
            if current is None:
                raise OperationError(_gone_message(incus, old))
            cluster.refuse_move(current, old, new, remote, project)
            if current.name != new.name:
                await instance.rename(incus, current, new, say)
            if inputs.policy == "rebuild" and current.image != new.image:
                await instance.rebuild(incus, new, say)
            await instance.update(incus, old, new, owner)
            await instance.set_running(incus, new, say)

        async with self._servers.connect(inputs.location) as incus:
            await retry_through_restart(incus, lambda: work(incus))
            return await self._wait_until_up(incus, inputs, prior.id, operation)

    async def _wait_until_up(
        self, incus: Incus, inputs: InstanceInputs, identity: str, operation: Operation
    ) -> Properties:
        """Wait until it has booted; returns the outputs."""
        name, say = inputs.desired.name, operation.diagnostics.status
        outputs = drift.outputs_of(await get_instance(incus, name))
        if not inputs.desired.running:
            return outputs
        seconds, ssh = inputs.boot_timeout, inputs.ssh
        try:
            endpoint = await retry_through_restart(
                incus,
                lambda: boot.wait_until_booted(incus, name, seconds=seconds, ssh=ssh, say=say),
            )
        except IncusError as error:
            # It exists, so the state has to record it; the next `up` waits for it again.
            raise PartialFailureError(str(error), resource_id=identity, outputs=outputs) from error
        if endpoint is None:
            return outputs
        line = endpoint.host_key.line
        await retry_through_restart(
            incus, lambda: instance.store_host_key(incus, inputs.desired, line)
        )
        return {**outputs, "address": endpoint.address.text, "hostKey": line}

    async def delete(self, prior: PriorState, operation: Operation) -> None:
        """Delete it with its root; its volumes stay."""
        desired, uuid = InstanceInputs.of(Inputs(prior.state)).desired, drift.uuid_of(prior)
        operation.diagnostics.status("deleting it")
        async with self._servers.connect(location_of(Inputs(prior.inputs))) as incus:
            await retry_through_restart(incus, lambda: instance.delete(incus, desired, uuid))

    async def read(self, prior: PriorState, operation: Operation) -> ReadResult | None:
        """Read it from the server, for a refresh or an import."""
        del operation
        if not prior.inputs:
            return await self._read_for_import(prior)
        inputs = InstanceInputs.of(Inputs(prior.inputs))
        location, desired = inputs.location, inputs.desired
        current = drift.find_stored(await self._servers.instances(location), prior, location)
        if current is None:
            return None
        config = {key: text for key, text in current.config.items() if key in desired.config}
        devices = {key: it for key, it in current.devices.items() if key in desired.devices}
        found = drift.inputs_of(replace(current, config=config, devices=devices))
        found.pop("image")  # the image of its root: that there is a newer one is not drift
        endpoint = await self._read_endpoint(inputs, current)
        return ReadResult(outputs={**drift.outputs_of(current), **endpoint, **found})

    async def _read_endpoint(self, inputs: InstanceInputs, current: InstanceState) -> Properties:
        """Read its address and host key: a refresh shows a change, and the user may reject it."""
        async with self._servers.connect(inputs.location) as incus:
            outputs = await _endpoint_outputs(incus, inputs, current)
            if line := outputs.get("hostKey"):
                await instance.store_host_key(incus, inputs.desired, str(line))
            return outputs

    async def _read_for_import(self, prior: PriorState) -> ReadResult | None:
        remote, project, name = _parse_identity(prior.id)
        location = Location(remote=remote, project=project)
        current = (await self._servers.instances(location)).get(name)
        if current is None:
            return None
        with operation_errors():
            current.check_importable(remote, project)
        inputs: Properties = {
            "remote": remote,
            "project": project,
            **drift.inputs_of(current),
            "onImageChange": OnImageChange.IGNORE.value,
            "ssh": True,
            "bootTimeout": BOOT_TIMEOUT,
            OWNER: current.owner,
        }
        async with self._servers.connect(location) as incus:
            parsed = InstanceInputs.of(Inputs(inputs))
            endpoint = await _endpoint_outputs(incus, parsed, current)
        outputs = {**inputs, **drift.outputs_of(current), **endpoint}
        return ReadResult(outputs=outputs, imported=inputs)

    async def diff(self, new: Properties, prior: PriorState, operation: Operation) -> Diff:
        """Changes in the config, and drift on the server."""
        found = settle_owner(await super().diff(new, prior, operation), new, prior, operation)
        changes = found.differences
        kept = [one for one in changes if one.top not in _NOT_ON_SERVER and one.top != "image"]
        policy = reveal(new.get("onImageChange"))
        # Compared with the image of its root: with `ignore`, the last input had no effect.
        made_from = prior.state.get("madeFrom")
        if policy != "ignore" and drift.is_another_image(new.get("image"), made_from):
            kept.append(Difference(path="image", top="image", replaces=policy == "replace"))
        known = {one.path for one in kept}
        drifted: tuple[Difference, ...] = ()
        if "*" not in operation.ignore_changes:
            replaced = any(one.replaces for one in kept)
            drifted = await self._drift(new, prior, operation, replaced=replaced)
        more = (one for one in drifted if one.path not in known)
        return Diff(differences=(*kept, *more), delete_before_replace=True)

    async def _drift(
        self, new: Properties, prior: PriorState, operation: Operation, *, replaced: bool
    ) -> tuple[Difference, ...]:
        try:
            current = await self._current(prior, new)
        except OperationError as error:
            self._servers.warn_unavailable(
                current_location(prior, new), error, operation.diagnostics
            )
            return ()
        if current is None:
            return (Difference(path="name", top="name", replaces=True),)
        if not replaced:  # a replacement is created on the new member
            old, inputs = (InstanceInputs.of(Inputs(one)) for one in (prior.inputs, new))
            desired, location = _with_config_path(inputs.desired, operation), inputs.location
            with operation_errors():
                cluster.refuse_move(
                    current, old.desired, desired, location.remote, location.project
                )
        owner = owner_of(Inputs(new).string(OWNER, ""), operation.urn)
        return drift.find_drift(new, current, prior, owner)

    async def _current(self, prior: PriorState, new: Properties) -> InstanceState | None:
        """The instance of the state, as in this process's only listing."""
        location = current_location(prior, new)
        return drift.find_stored(await self._servers.instances(location), prior, location)

    async def preview(
        self, inputs: Properties, prior: PriorState | None, operation: Operation
    ) -> Properties:
        """Its outputs: all stay the same, unless its root is recreated."""
        known = await super().preview(inputs, prior, operation)
        if prior is None:
            await self._refuse_taken_name(inputs, operation)
            return known
        policy, state = reveal(inputs.get("onImageChange")), Inputs(prior.state)
        rebuild = policy == "rebuild"
        if rebuild and drift.is_another_image(inputs.get("image"), state.value("madeFrom")):
            return {name: known["uuid"] if name == "uuid" else Unknown() for name in known}
        with suppress(OperationError):  # the diff has already warned of a server that is down
            if current := await self._current(prior, inputs):
                known["root"] = current.root
                known["address"] = current.address or state.value("address")
        return known

    async def _refuse_taken_name(self, inputs: Properties, operation: Operation) -> None:
        """Refuse what its creation would refuse; an unavailable server is asked nothing."""
        given, owner = Inputs(inputs), known_owner(inputs, operation.urn)
        name, location = given.string("name", ""), location_of(given)
        try:
            found = (await self._servers.instances(location)).get(name)
        except OperationError:
            return
        if found and not found.offline and (owner is None or found.owner != owner.text):
            stack = Owner.of_urn(operation.urn).name
            where = f"{location.remote}, project {location.project}"
            importing = _import_command(operation.urn, location.identity(name))
            text = messages.name_taken(found, where, stack, importing)
            raise OperationError(text)


async def _endpoint_outputs(
    incus: Incus, inputs: InstanceInputs, current: InstanceState
) -> Properties:
    """Its address and host key, if it is up and used over ssh."""
    if not (current.running and inputs.ssh):
        return {}
    endpoint = await boot.find_endpoint(incus, current.name)
    if isinstance(endpoint, str):
        return {}
    return {"address": endpoint.address.text, "hostKey": endpoint.host_key.line}


def _parse_identity(identity: str) -> tuple[str, str, str]:
    parts = identity.split("/")
    if len(parts) != _ID_PARTS or not all(parts):
        msg = (
            f"invalid id: {identity[:200]!r}. write REMOTE/PROJECT/NAME, such as local/default/web1"
        )
        raise OperationError(msg)
    return parts[0], parts[1], parts[2]


def _with_config_path(desired: DesiredInstance, operation: Operation) -> DesiredInstance:
    """Add the config section that it comes from, for messages."""
    return replace(desired, config_path=f"hosts.{_host(operation.urn)}.incus")


def _host(urn: str) -> str:
    return urn.rpartition("::")[2].removesuffix("-instance")


def _import_command(urn: str, identity: str) -> str:
    """The command that imports an instance into the stack, as the resource of a URN."""
    head, _, name = urn.rpartition("::")
    parents, _, token = head.rpartition("$")
    host = _host(urn)
    parent = f" --parent {host}='{parents}::{host}'" if parents else ""
    options = "--protect=false --generate-code=false"
    return (
        f"`pulumi import {token or head.rpartition('::')[2]} {name} {identity}{parent} {options}`"
    )


def _gone_message(incus: Incus, old: DesiredInstance) -> str:
    return (
        f"no such instance: {old.name} ({incus.where}): the instance of this stack has been "
        "deleted. run `pulumi up` again: it creates another one"
    )
