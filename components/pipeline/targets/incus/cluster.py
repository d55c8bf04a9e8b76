"""Cluster members: which exist, and on which one an instance is created.

A server that is not clustered has none, and gives `none` as the location of everything on it.
"""

from collections.abc import Mapping
from typing import Final

from ...errors import IncusError, IncusForbiddenError, IncusNotFoundError, message, printable
from . import messages
from .api import Incus, segment, with_query
from .observed import DesiredInstance, InstanceState

NO_MEMBER: Final = ("", "none")
ONLINE: Final = "Online"


async def check_member(incus: Incus, desired: DesiredInstance) -> None:
    """Check that the member exists and is online, before anything is changed.

    Raises:
        IncusError: it does not exist, and which members do; or it is not online.
    """
    if not desired.member:
        return
    members = await _member_statuses(incus)
    if members is None:
        return
    found, where = members.get(desired.member), messages.describe(incus, desired)
    names = ", ".join(sorted(members))
    key = f"`{desired.config_path}.member`"
    if not members:
        detail = f"{desired.member}: the server is not clustered"
        raise IncusError(message("no such cluster member", where, detail, f"remove {key}"))
    if found is None:
        detail = f"{desired.member}: the members are {names}"
        raise IncusError(message("no such cluster member", where, detail, f"set {key} to one"))
    if found != ONLINE:
        detail = f"{desired.member} is {printable(found.lower())}"
        remedy = (
            f"wait until it is online (`incus cluster list {incus.remote.name}:`), or change {key}"
        )
        raise IncusError(message("cluster member unavailable", where, detail, remedy))


async def _member_statuses(incus: Incus) -> Mapping[str, str] | None:
    """Statuses by member name; None if this client may not list them: then the server decides."""
    try:
        server = await incus.get("/1.0")
        if not server["environment"]["server_clustered"]:
            return {}
        rows = await incus.get(with_query("/1.0/cluster/members", recursion="1"))
    except (IncusForbiddenError, IncusNotFoundError):
        return None
    return {str(row["server_name"]): str(row["status"]) for row in rows}


async def choose_member(incus: Incus, desired: DesiredInstance) -> str:
    """Choose the member to create it on: the one in the config, else the one with its volumes.

    Raises:
        IncusError: the member does not exist, is not online, or lacks one of its volumes.
    """
    await check_member(incus, desired)
    member = desired.member
    for device in desired.devices.values():
        found = await _volume_member(incus, device)
        if found and member and found != member:
            volume = f"its volume {device['source']} (pool {device['pool']})"
            detail = f"{volume} is on {found}, and it would be created on {member}"
            remedy = f"set `{desired.config_path}.member` to {found}, or remove the volume from it"
            where = messages.describe(incus, desired)
            raise IncusError(message("volume on another member", where, detail, remedy))
        member = member or found
    return member


def refuse_move(
    current: InstanceState, old: DesiredInstance, new: DesiredInstance, remote: str, project: str
) -> None:
    """Refuse a changed `member`: a move stops the instance and leaves its volumes behind.

    An instance that was moved to the new member by hand, or evacuated while the config stays the
    same, is left where it is.

    Raises:
        IncusError: the config names another member than before, and the instance is not on it.
    """
    if new.member in ("", old.member, current.member):
        return
    key = f"`{new.config_path}.member`"
    where = f"{printable(current.name)} ({remote}, project {project})"
    if not current.member:
        detail = f"{new.member}: the server is not clustered"
        raise IncusError(message("no such cluster member", where, detail, f"remove {key}"))
    detail = f"it is on {current.member}, and {key} is {new.member}"
    command = f"`incus move {remote}:{current.name} --target {new.member} --project {project}`"
    remedy = f"set {key} back to {current.member}, or stop the instance and move it: {command}"
    raise IncusError(message("an existing instance is not moved", where, detail, remedy))


async def _volume_member(incus: Incus, device: Mapping[str, str]) -> str:
    """The member with the volume of a device; empty if the device has none, or all can use it."""
    pool, source = device.get("pool"), device.get("source", "").partition("/")[0]
    if not pool or not source:
        return ""
    path = f"/1.0/storage-pools/{segment(pool)}/volumes/custom/{segment(source)}"
    row = await incus.find(path) or {}
    return "" if row.get("location") in NO_MEMBER else str(row.get("location", ""))
