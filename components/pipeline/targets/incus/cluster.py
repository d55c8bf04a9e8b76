"""Members of a cluster: which there are, and where an instance has to be.

A server that is no cluster has none, and says of all that it has that it is on member `none`.
"""

from collections.abc import Mapping
from typing import Final

from ...errors import (
    IncusError,
    IncusNotFoundError,
    IncusPermissionError,
    message,
    printable,
)
from . import messages
from .api import Incus, asked, segment
from .desired import Wanted
from .observed import Seen

NONE: Final = ("", "none")
ONLINE: Final = "Online"


async def check(incus: Incus, wanted: Wanted) -> None:
    """Look whether the member can be had, before anything is done for it.

    Raises:
        IncusError: there is no such member, or it does not answer; those that there are are named.
    """
    if not wanted.member:
        return
    members = await _members(incus)
    if members is None:
        return
    found, where = members.get(wanted.member), messages.place(incus, wanted)
    names = ", ".join(sorted(members))
    key = f"`{wanted.written}.member`"
    if not members:
        detail = f"it is to be on {wanted.member}, and the server is no cluster"
        raise IncusError(message("no such member", where, detail, f"remove {key}"))
    if found is None:
        detail = f"it is to be on {wanted.member}, and the members are {names}"
        raise IncusError(message("no such member", where, detail, f"write one of them as {key}"))
    if found != ONLINE:
        detail = f"it is to be on {wanted.member}, which is {printable(found.lower())}"
        remedy = f"wait for it (`incus cluster list {incus.remote.name}:`), or change {key}"
        raise IncusError(message("cluster member unavailable", where, detail, remedy))


async def _members(incus: Incus) -> Mapping[str, str] | None:
    """Their states by name; None where we may not ask, and have to leave it to the server."""
    try:
        server = await incus.get("/1.0")
        if not server["environment"]["server_clustered"]:
            return {}
        rows = await incus.get(asked("/1.0/cluster/members", recursion="1"))
    except (IncusPermissionError, IncusNotFoundError):
        return None
    return {str(row["server_name"]): str(row["status"]) for row in rows}


async def choose_member(incus: Incus, wanted: Wanted) -> str:
    """The member to create it on: the one in the config, else the one that has its volumes.

    Raises:
        IncusError: no such member, or not the one that has all of its volumes.
    """
    await check(incus, wanted)
    member = wanted.member
    for device in wanted.devices.values():
        found = await _location(incus, device)
        if found and member and found != member:
            volume = f"its volume {device['source']} (pool {device['pool']})"
            detail = f"{volume} is on {found}, and it is to be on {member}"
            remedy = f"write {found} as `{wanted.written}.member`, or take the volume out of it"
            where = messages.place(incus, wanted)
            raise IncusError(message("not without its volume", where, detail, remedy))
        member = member or found
    return member


def refuse_move(seen: Seen, old: Wanted, new: Wanted, remote: str, project: str) -> None:
    """Refuse a changed `member`: a move stops the instance and leaves its volumes behind.

    An instance that was moved to the new member by hand, or evacuated while the config stays the
    same, is left where it is.

    Raises:
        IncusError: the config names another member than before, and the instance is not on it.
    """
    if new.member in ("", old.member, seen.member):
        return
    key, where = f"`{new.written}.member`", f"{printable(seen.name)} ({remote}, project {project})"
    if not seen.member:
        detail = f"it is to be on {new.member}, and the server is no cluster"
        raise IncusError(message("no such member", where, detail, f"remove {key}"))
    detail = f"it is on {seen.member}, and {key} is {new.member}"
    command = f"`incus move {remote}:{seen.name} --target {new.member} --project {project}`"
    remedy = f"set {key} back to {seen.member}, or stop the instance and move it: {command}"
    raise IncusError(message("an existing instance is not moved", where, detail, remedy))


async def _location(incus: Incus, device: Mapping[str, str]) -> str:
    """The member that the volume behind a device is on; empty where that binds nobody."""
    pool, source = device.get("pool"), device.get("source", "").partition("/")[0]
    if not pool or not source:
        return ""
    place = f"/1.0/storage-pools/{segment(pool)}/volumes/custom/{segment(source)}"
    row = await incus.find(place) or {}
    return "" if row.get("location") in NONE else str(row.get("location", ""))
