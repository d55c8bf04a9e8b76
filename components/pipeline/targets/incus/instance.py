"""Create, update, rename, rebuild, start, stop and delete instances.

Each function reads the current state first and is idempotent: it can be repeated after an
interruption at any point.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

from ...config.incus import PROTECTED
from ...errors import IncusConflictError, IncusError, IncusRefusedError, message, printable
from ...process.bounded import FILE_LIMIT
from ...values import Owner
from . import cluster, messages
from .api import Incus, segment, with_query
from .observed import FROZEN, STOPPED, DesiredInstance, InstanceState, find_instance, get_instance
from .ownership import HOST_KEY, MAC, OWNER

T = TypeVar("T")

CONFLICT: Final = "concurrent changes to an instance"

STOP_TIMEOUT: Final = 30
"""Seconds for a clean shutdown."""
_ATTEMPTS: Final = 5


async def create(
    incus: Incus,
    desired: DesiredInstance,
    owner: Owner,
    say: Callable[[str], None],
    *,
    importing: str = "",
) -> None:
    """Create and start it, or continue with one that an interrupted `up` of this stack left.

    `importing` is the command that imports an existing instance of this name into the stack.

    Raises:
        IncusError: refused, and nothing is left behind; or another owner has the name.
        IncusUnavailableError: the server does not respond.
    """
    found = await get_instance(incus, desired.name)
    if found and found.owner != owner.text:
        raise IncusError(messages.name_taken(found, incus.where, owner.name, importing))
    if found and not found.ever_started:
        say("removing an incomplete instance that an interrupted `up` left")  # never used
        await _delete(incus, desired)
        found = None
    if found is None:
        say("creating the instance")
        await _create(incus, desired, owner)
    else:
        await update(incus, desired, desired, owner)
    try:
        await set_running(incus, desired, say)
    except IncusRefusedError:
        if found is None:
            # Just created, and it cannot start: the next `up` must not find it.
            await _delete(incus, desired)
        raise


async def store_host_key(incus: Incus, desired: DesiredInstance, line: str) -> None:
    """Store its host key in its config, which the instance itself cannot write."""
    found = await get_instance(incus, desired.name)
    if found is not None and found.host_key != line:
        await incus.change("PATCH", desired.path, {"config": {HOST_KEY: line}})


async def _check_image_exists(incus: Incus, desired: DesiredInstance) -> None:
    """Check before a change, and again after it failed: the image may be deleted meanwhile."""
    if desired.image and await incus.find(f"/1.0/images/{segment(desired.image)}") is None:
        detail = f"{desired.image[:12]} has been deleted from the server"
        remedy = "run `pulumi up` again: it uploads the image first"
        raise IncusError(
            message("no such image", messages.describe(incus, desired), detail, remedy)
        )


async def _create(incus: Incus, desired: DesiredInstance, owner: Owner) -> None:
    await _check_image_exists(incus, desired)
    body = {
        "name": desired.name,
        "type": "container",
        "source": {"type": "image", "fingerprint": desired.image},
        "profiles": list(desired.profiles),
        "config": {**desired.config, OWNER: owner.text, MAC: _mac_address(incus, desired, owner)},
        "devices": desired.devices,
    }
    path, target = "/1.0/instances", await cluster.choose_member(incus, desired)
    where = with_query(path, target=target) if target else path
    for tries_left in (1, 0):
        try:
            await incus.change("POST", where, body)
        except IncusRefusedError as error:
            # The request of an `up` that was just interrupted may have been carried out only now.
            existing = await get_instance(incus, desired.name)
            if not tries_left or existing is None or existing.owner != owner.text:
                await _check_image_exists(incus, desired)
                raise messages.refused_instance(incus, desired, error.reason) from error
            await _delete(incus, desired)
        else:
            return


async def update(incus: Incus, old: DesiredInstance, new: DesiredInstance, owner: Owner) -> None:
    """Update profiles, config and devices; keys and devices that others have added stay.

    Keys and devices that are in `old`, the last desired state, and not in `new` are removed.
    """
    for _ in range(_ATTEMPTS):
        row, etag = await incus.get_with_etag(new.path)
        kept_config = _without_dropped(row["config"], old.config, new.config)
        config = {**kept_config, **new.config, OWNER: owner.text}
        devices = {
            **_without_dropped(row["devices"] or {}, old.devices, new.devices),
            **new.devices,
        }
        body = {**row, "profiles": list(new.profiles), "config": config, "devices": devices}
        if all(body[key] == row[key] for key in ("profiles", "config", "devices")):
            return
        kept = ("architecture", "config", "devices", "ephemeral", "profiles", "description")
        try:
            await incus.change("PUT", new.path, {key: body[key] for key in kept}, etag=etag)
        except IncusConflictError:
            continue
        except IncusRefusedError as error:
            raise messages.refused_instance(incus, new, error.reason) from error
        else:
            return
    raise IncusError(message(CONFLICT, new.name, "other clients keep changing it"))


async def rename(
    incus: Incus, current: InstanceState, new: DesiredInstance, say: Callable[[str], None]
) -> None:
    """Rename it, which stops it; it keeps its root, address and MAC.

    Raises:
        IncusError: another instance has that name.
    """
    if await get_instance(incus, new.name):
        where = f"{printable(new.name)} ({incus.where})"
        detail = f"cannot rename {current.name}: another instance has that name"
        raise IncusError(message("name taken", where, detail, "choose another `name`"))
    say(f"renaming {current.name} to {new.name}")
    old = replace(new, name=current.name)
    await stop(incus, old)
    await incus.change("POST", old.path, {"name": new.name})


async def rebuild(incus: Incus, desired: DesiredInstance, say: Callable[[str], None]) -> None:
    """Recreate its root from the image; it keeps its name, config, devices, MAC and volumes."""
    await _check_image_exists(incus, desired)
    say("recreating its root from the image")
    await stop(incus, desired, force=True)
    source = {"type": "image", "fingerprint": desired.image}
    try:
        await incus.change("POST", f"{desired.path}/rebuild", {"source": source})
    except IncusRefusedError as error:
        await _check_image_exists(incus, desired)
        raise messages.refused_instance(incus, desired, error.reason) from error


async def set_running(incus: Incus, desired: DesiredInstance, say: Callable[[str], None]) -> None:
    """Start, resume or stop it, so that `running` is as desired."""
    try:
        await _set_running(incus, desired, say)
    except IncusRefusedError as error:
        reason = await _start_failure(incus, desired, error.reason)
        raise messages.refused_instance(incus, desired, reason) from error


async def _set_running(incus: Incus, desired: DesiredInstance, say: Callable[[str], None]) -> None:
    found = await get_instance(incus, desired.name)
    if found is None or found.running == desired.running:
        return
    if not desired.running:
        say("stopping it")
        await stop(incus, desired)
        return
    say("starting it")
    action = "unfreeze" if found.status == FROZEN else "start"
    try:
        await _put_state(incus, desired, {"action": action, "timeout": -1})
    except IncusRefusedError:
        # A restarted server starts the instances that ran before.
        now = await get_instance(incus, desired.name)
        if now is None or not now.running:
            raise


async def _start_failure(incus: Incus, desired: DesiredInstance, reason: str) -> str:
    """Why a start failed: the server's error or, if that names no cause, the instance's log."""
    if "forkstart" in reason:
        with suppress(IncusError):
            path = f"{desired.path}/logs/lxc.log"
            log = await incus.get_beginning(path, limit=FILE_LIMIT)
            for line in log.decode(errors="replace").splitlines():
                if " ERROR " in line:
                    return printable(line.rpartition(" - ")[2], 500)
    return reason


async def stop(incus: Incus, desired: DesiredInstance, *, force: bool = False) -> None:
    """Stop it if it runs: by a clean shutdown, or by force if that fails."""
    found = await get_instance(incus, desired.name)
    if found is None or found.status == STOPPED:
        return
    force = force or not found.running
    try:
        await _put_state(
            incus, desired, {"action": "stop", "timeout": STOP_TIMEOUT, "force": force}
        )
    except IncusRefusedError:
        if force:
            raise
        await stop(incus, desired, force=True)


async def _put_state(incus: Incus, desired: DesiredInstance, body: Mapping[str, object]) -> None:
    await incus.change("PUT", f"{desired.path}/state", body)


async def delete(incus: Incus, desired: DesiredInstance, uuid: str) -> None:
    """Delete the instance with this UUID, if it still exists; no other one of its name.

    Raises:
        IncusError: it is protected.
    """
    current = await find_instance(incus, uuid, desired.name)
    if current is None:
        return
    row = await incus.find(replace(desired, name=current.name).path)
    if row and row["expanded_config"].get(PROTECTED) == "true":
        remedy = "to delete it, first set `protect: false` and run `pulumi up`"
        detail = f"{PROTECTED} is set"
        raise IncusError(message("not deleted", f"{current.name} ({incus.where})", detail, remedy))
    await _delete(incus, replace(desired, name=current.name))


async def _delete(incus: Incus, desired: DesiredInstance) -> None:
    """Stop and delete it; again if it was started meanwhile."""
    for _ in range(_ATTEMPTS):
        await stop(incus, desired, force=True)
        try:
            await incus.change("DELETE", desired.path)
        except IncusRefusedError:
            now = await get_instance(incus, desired.name)
            if now is not None and now.status == STOPPED:
                raise
            if now is None:
                return
        else:
            return
    raise IncusError(message(CONFLICT, desired.name, "other clients keep starting it"))


def _without_dropped(
    current: Mapping[str, T], old: Mapping[str, T], new: Mapping[str, T]
) -> dict[str, T]:
    return {key: it for key, it in current.items() if key not in old or key in new}


def _mac_address(incus: Incus, desired: DesiredInstance, owner: Owner) -> str:
    """The MAC address of its eth0: derived, so that an instance created again keeps its address."""
    digest = hashlib.sha256(f"{owner.text} {incus.project} {desired.name}".encode()).hexdigest()
    return ":".join(("10", "66", "6a", digest[:2], digest[2:4], digest[4:6]))
