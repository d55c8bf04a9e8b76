"""An instance: what it is to be, what it is, and the calls that bring one to the other.

Each function looks before it acts, and can be sent again after whatever has cut it off.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

from ...errors import IncusConflictError, IncusError, IncusRefusedError, message, printable
from . import cluster, messages
from .api import Incus, asked, segment
from .desired import Wanted
from .observed import FROZEN, STOPPED, Seen, find, look
from .ownership import HOST_KEY, MAC, OWNER, PROTECTED, Owner

T = TypeVar("T")

STOP: Final = 30
"""Seconds that an instance gets to stop by itself."""
_AGAIN: Final = 5


async def create(
    incus: Incus, wanted: Wanted, owner: Owner, say: Callable[[str], None], *, importing: str = ""
) -> None:
    """Make it and start it; one that an earlier `up` of the same stack left is gone on with.

    `importing` is the command that takes one of this name into the stack.

    Raises:
        IncusError: refused, and nothing is left behind; or the name is somebody else's.
        IncusAwayError: no server answers.
    """
    found = await look(incus, wanted.name)
    if found and found.owner != owner.text:
        raise IncusError(messages.taken(incus, wanted, importing))
    if found and not found.started:
        # Its making was cut off, maybe before its root was whole; nobody has used it yet.
        say("removing what an `up` that was cut off has left of it")
        await _delete(incus, wanted)
        found = None
    if found is None:
        say("making the instance")
        await _make(incus, wanted, owner)
    else:
        await change(incus, wanted, wanted, owner)
    try:
        await run(incus, wanted, say)
    except IncusRefusedError:
        if found is None:
            # It was made a moment ago, by us, and cannot be started: it would only be in the way.
            await _delete(incus, wanted)
        raise


async def note_host_key(incus: Incus, wanted: Wanted, line: str) -> None:
    """Keep its host key beside it, in a place that it cannot write to itself."""
    found = await look(incus, wanted.name)
    if found is not None and found.host_key != line:
        await incus.change("PATCH", wanted.path, {"config": {HOST_KEY: line}})


async def _check_image(incus: Incus, wanted: Wanted) -> None:
    """Look at it before anything is done, and again where that went wrong: somebody is faster."""
    if wanted.image and await incus.find(f"/1.0/images/{segment(wanted.image)}") is None:
        detail = f"its image {wanted.image[:12]} is not there any more"
        remedy = "run `pulumi up` again: it sends the image first"
        raise IncusError(message("no image", messages.place(incus, wanted), detail, remedy))


async def _make(incus: Incus, wanted: Wanted, owner: Owner) -> None:
    await _check_image(incus, wanted)
    body = {
        "name": wanted.name,
        "type": "container",
        "source": {"type": "image", "fingerprint": wanted.image},
        "profiles": list(wanted.profiles),
        "config": {**wanted.config, OWNER: owner.text, MAC: _mac(incus, wanted, owner)},
        "devices": wanted.devices,
    }
    path, target = "/1.0/instances", await cluster.choose_member(incus, wanted)
    where = asked(path, target=target) if target else path
    for tries_left in (1, 0):
        try:
            await incus.change("POST", where, body)
        except IncusRefusedError as error:
            # For an `up` that was cut off a moment ago it may come only now.
            there = await look(incus, wanted.name)
            if not tries_left or there is None or there.owner != owner.text:
                await _check_image(incus, wanted)
                raise messages.refused(incus, wanted, error.reason) from error
            await _delete(incus, wanted)
        else:
            return


async def change(incus: Incus, old: Wanted, new: Wanted, owner: Owner) -> None:
    """Bring profiles, config and devices to what is wanted; what others have added stays.

    `old` is what was wanted before: what is only in there is taken away.
    """
    for _ in range(_AGAIN):
        row, tag = await incus.tagged(new.path)
        kept_config = _without(row["config"], old.config, new.config)
        config = {**kept_config, **new.config, OWNER: owner.text}
        devices = {**_without(row["devices"] or {}, old.devices, new.devices), **new.devices}
        body = {**row, "profiles": list(new.profiles), "config": config, "devices": devices}
        if all(body[key] == row[key] for key in ("profiles", "config", "devices")):
            return
        kept = ("architecture", "config", "devices", "ephemeral", "profiles", "description")
        try:
            await incus.change("PUT", new.path, {key: body[key] for key in kept}, tag=tag)
        except IncusConflictError:
            continue
        except IncusRefusedError as error:
            raise messages.refused(incus, new, error.reason) from error
        else:
            return
    raise IncusError(message("instance in flux", new.name, "others keep changing it"))


async def rename(incus: Incus, seen: Seen, new: Wanted, say: Callable[[str], None]) -> None:
    """Give it another name, for which it is stopped; its root, address and MAC stay.

    Raises:
        IncusError: another one has that name.
    """
    if await look(incus, new.name):
        where = f"{printable(new.name)} ({incus.where})"
        detail = f"{seen.name} is to have that name, and another instance has it"
        raise IncusError(message("name taken", where, detail, "write another `name`"))
    say(f"renaming {seen.name} to {new.name}")
    old = replace(new, name=seen.name)
    await stop(incus, old)
    await incus.change("POST", old.path, {"name": new.name})


async def rebuild(incus: Incus, wanted: Wanted, say: Callable[[str], None]) -> None:
    """Make its root anew from the image; name, config, devices, MAC and volumes stay."""
    await _check_image(incus, wanted)
    say("rebuilding its root from the image")
    await stop(incus, wanted, force=True)
    source = {"type": "image", "fingerprint": wanted.image}
    try:
        await incus.change("POST", f"{wanted.path}/rebuild", {"source": source})
    except IncusRefusedError as error:
        await _check_image(incus, wanted)
        raise messages.refused(incus, wanted, error.reason) from error


async def run(incus: Incus, wanted: Wanted, say: Callable[[str], None]) -> None:
    """Start or stop it, as is wanted; one that somebody has paused goes on."""
    try:
        await _run(incus, wanted, say)
    except IncusRefusedError as error:
        reason = await _explained(incus, wanted, error.reason)
        raise messages.refused(incus, wanted, reason) from error


async def _run(incus: Incus, wanted: Wanted, say: Callable[[str], None]) -> None:
    found = await look(incus, wanted.name)
    if found is None or found.running == wanted.running:
        return
    if not wanted.running:
        say("stopping it")
        await stop(incus, wanted)
        return
    say("starting it")
    action = "unfreeze" if found.status == FROZEN else "start"
    try:
        await _state(incus, wanted, {"action": action, "timeout": -1})
    except IncusRefusedError:
        # A server that was restarted starts by itself what ran before.
        now = await look(incus, wanted.name)
        if now is None or not now.running:
            raise


async def _explained(incus: Incus, wanted: Wanted, reason: str) -> str:
    """What Incus says of a start that failed; where it does not know why, what its log says."""
    if "forkstart" in reason:
        with suppress(IncusError):
            log = (await incus.raw(f"{wanted.path}/logs/lxc.log")).decode(errors="replace")
            for line in log.splitlines():
                if " ERROR " in line:
                    return printable(line.rpartition(" - ")[2], 500)
    return reason


async def stop(incus: Incus, wanted: Wanted, *, force: bool = False) -> None:
    """Stop it if it runs: by itself if it can, else all the same."""
    found = await look(incus, wanted.name)
    if found is None or found.status == STOPPED:
        return
    force = force or not found.running
    try:
        await _state(incus, wanted, {"action": "stop", "timeout": STOP, "force": force})
    except IncusRefusedError:
        if force:
            raise
        await stop(incus, wanted, force=True)


async def _state(incus: Incus, wanted: Wanted, body: Mapping[str, object]) -> None:
    await incus.change("PUT", f"{wanted.path}/state", body)


async def delete(incus: Incus, wanted: Wanted, uuid: str) -> None:
    """Remove the one with this uuid; that it is gone already, or is another one, is no error.

    Raises:
        IncusError: it is protected.
    """
    seen = await find(incus, uuid, wanted.name)
    if seen is None:
        return
    row = await incus.find(replace(wanted, name=seen.name).path)
    if row and row["expanded_config"].get(PROTECTED) == "true":
        remedy = "set `protect: false` and run `pulumi up` first, if it is really to go"
        detail = f"{PROTECTED} is set"
        raise IncusError(message("not removed", f"{seen.name} ({incus.where})", detail, remedy))
    await _delete(incus, replace(wanted, name=seen.name))


async def _delete(incus: Incus, wanted: Wanted) -> None:
    """Stop it and remove it; again where it was just being started."""
    for _ in range(_AGAIN):
        await stop(incus, wanted, force=True)
        try:
            await incus.change("DELETE", wanted.path)
        except IncusRefusedError:
            now = await look(incus, wanted.name)
            if now is not None and now.status == STOPPED:
                raise
            if now is None:
                return
        else:
            return
    raise IncusError(message("instance in flux", wanted.name, "others keep starting it"))


def _without(there: Mapping[str, T], old: Mapping[str, T], new: Mapping[str, T]) -> dict[str, T]:
    return {key: it for key, it in there.items() if key not in old or key in new}


def _mac(incus: Incus, wanted: Wanted, owner: Owner) -> str:
    """The MAC address of its eth0: the same whenever it is made again, and so its address."""
    digest = hashlib.sha256(f"{owner.text} {incus.project} {wanted.name}".encode()).hexdigest()
    return ":".join(("10", "66", "6a", digest[:2], digest[2:4], digest[4:6]))
