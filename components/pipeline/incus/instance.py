"""An instance: what it is to be, what it is, and the calls that bring one to the other.

Each function looks before it acts, and can be sent again after whatever has cut it off.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeVar

from components.pipeline.errors import IncusError, message, printable
from components.pipeline.incus.api import Incus, asked, segment
from components.pipeline.incus.marks import HOST_KEY, MAC, OWNER, PROTECTED, SERVERS_OWN, Owner

T = TypeVar("T")

STOP: Final = 30
"""Seconds that an instance gets to stop by itself."""
RUNNING: Final = "Running"
_AGAIN: Final = 5
_REFUSED: Final = (
    ("rofile", "profiles"),
    ("torage pool", "pool"),
    ("etwork", "network"),
    ("onfiguration key", "config"),
    ("config", "config"),
    ("evice", "devices"),
    ("roject", "project"),
    ("ember", "member"),
)
"""Words in what Incus says, and the key of ours that they are about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An instance as the config has it."""

    name: str
    image: str = ""
    """Fingerprint of what it is made from."""
    profiles: tuple[str, ...] = ("default",)
    config: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    member: str = ""
    """The cluster's member that it is made on; empty lets the server choose."""
    running: bool = True

    @property
    def path(self) -> str:
        """Where the server keeps it."""
        return f"/1.0/instances/{segment(self.name)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An instance as the server has it."""

    name: str
    running: bool
    image: str
    owner: str
    profiles: tuple[str, ...]
    config: Mapping[str, str]
    """Without what the server, the image and flakeup have written."""
    devices: Mapping[str, Mapping[str, str]]
    member: str
    address: str | None = None
    """Where it can be reached; only a listing with states says so."""
    host_key: str = ""
    """Its sshd's, as it was read when it was made."""
    generation: str = ""
    """Changes when its root is made anew, or goes back to a snapshot."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Seen":
        """What one object of the interface says."""
        config: Mapping[str, str] = row["config"]
        return cls(
            name=str(row["name"]),
            running=row["status"] == RUNNING,
            image=config.get("volatile.base_image", ""),
            owner=config.get(OWNER, ""),
            host_key=config.get(HOST_KEY, ""),
            generation=config.get("volatile.uuid.generation", ""),
            profiles=tuple(row["profiles"] or ()),
            config={key: text for key, text in config.items() if not key.startswith(SERVERS_OWN)},
            devices=row["devices"] or {},
            member="" if row.get("location") in (None, "none") else str(row["location"]),
            address=address(row.get("state") or {}, config.get("user.access_interface", "")),
        )


def address(state: Mapping[str, Any], interface: str = "") -> str | None:
    """The address of an instance in its state: the first global one, IPv4 before IPv6.

    `interface` is its `user.access_interface`; without one, eth0 goes before the others.
    """
    networks: Mapping[str, Any] = state.get("network") or {}
    names = [interface] if interface else sorted(networks, key=lambda name: (name != "eth0", name))
    found = [
        (one["family"] != "inet", str(one["address"]))
        for name in names
        if name != "lo"
        for one in (networks.get(name) or {}).get("addresses") or ()
        if one["scope"] == "global"
    ]
    return min(found, key=lambda one: one[0])[1] if found else None


async def listed(incus: Incus) -> dict[str, Seen]:
    """All instances of the project with their states, by name: one request."""
    rows = await incus.get(asked("/1.0/instances", recursion="2"))
    return {str(row["name"]): Seen.of(row) for row in rows}


async def look(incus: Incus, name: str) -> Seen | None:
    """One instance, without its state; None where there is none."""
    row = await incus.find(f"/1.0/instances/{segment(name)}")
    return None if row is None else Seen.of(row)


async def create(incus: Incus, wanted: Wanted, owner: Owner, say: Callable[[str], None]) -> None:
    """Make it and start it; one that an earlier `up` of the same stack left is gone on with.

    Raises:
        IncusError: refused, and nothing is left behind; or the name is somebody else's.
        IncusAwayError: no server answers.
    """
    found = await look(incus, wanted.name)
    if found is None:
        say("making the instance")
        await _make(incus, wanted, owner)
    elif found.owner != owner.text:
        raise IncusError(_taken(incus, wanted))
    else:
        await change(incus, wanted, wanted, owner)
    try:
        await run(incus, wanted, say)
    except IncusError as error:
        if found is not None or error.code == 0:
            raise
        # It was made a moment ago, by us, and cannot be started: it would only be in the way.
        await delete(incus, wanted)
        raise IncusError(_refused(incus, wanted, error), code=error.code) from error


async def note_host_key(incus: Incus, wanted: Wanted, line: str) -> None:
    """Keep its host key beside it, in a place that it cannot write to itself."""
    found = await look(incus, wanted.name)
    if found is not None and found.host_key != line:
        await incus.change("PATCH", wanted.path, {"config": {HOST_KEY: line}})


async def _make(incus: Incus, wanted: Wanted, owner: Owner) -> None:
    if wanted.image and await incus.find(f"/1.0/images/{segment(wanted.image)}") is None:
        detail = f"its image {wanted.image[:12]} is not there any more"
        remedy = "run `pulumi up` again: it sends the image first"
        raise IncusError(message("no image", f"{wanted.name} ({incus.where})", detail, remedy))
    body = {
        "name": wanted.name,
        "type": "container",
        "source": {"type": "image", "fingerprint": wanted.image},
        "profiles": list(wanted.profiles),
        "config": {**wanted.config, OWNER: owner.text, MAC: _mac(incus, wanted, owner)},
        "devices": wanted.devices,
    }
    path = "/1.0/instances"
    try:
        where = asked(path, target=wanted.member) if wanted.member else path
        await incus.change("POST", where, body)
    except IncusError as error:
        if error.code == 0:
            raise
        raise IncusError(_refused(incus, wanted, error), code=error.code) from error


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
        except IncusError as error:
            if error.code != HTTPStatus.PRECONDITION_FAILED:
                raise IncusError(_refused(incus, new, error), code=error.code) from error
        else:
            return
    raise IncusError(message("instance in flux", new.name, "others keep changing it"))


async def rename(incus: Incus, old: Wanted, new: Wanted, say: Callable[[str], None]) -> None:
    """Give it another name, for which it is stopped; its root, address and MAC stay."""
    if await look(incus, old.name) is None and await look(incus, new.name):
        return  # done, by an `up` that was cut off before it could say so
    say(f"renaming {old.name} to {new.name}")
    await stop(incus, old)
    await incus.change("POST", old.path, {"name": new.name})


async def rebuild(incus: Incus, wanted: Wanted, say: Callable[[str], None]) -> None:
    """Make its root anew from the image; name, config, devices, MAC and volumes stay."""
    say("rebuilding its root from the image")
    await stop(incus, wanted, force=True)
    source = {"type": "image", "fingerprint": wanted.image}
    await incus.change("POST", f"{wanted.path}/rebuild", {"source": source})


async def run(incus: Incus, wanted: Wanted, say: Callable[[str], None]) -> None:
    """Start or stop it, as is wanted."""
    found = await look(incus, wanted.name)
    if found is None or found.running == wanted.running:
        return
    if wanted.running:
        say("starting it")
        await _state(incus, wanted, {"action": "start", "timeout": -1})
    else:
        say("stopping it")
        await stop(incus, wanted)


async def stop(incus: Incus, wanted: Wanted, *, force: bool = False) -> None:
    """Stop it if it runs: by itself if it can, else all the same."""
    found = await look(incus, wanted.name)
    if found is None or not found.running:
        return
    try:
        await _state(incus, wanted, {"action": "stop", "timeout": STOP, "force": force})
    except IncusError as error:
        if force or error.code == 0:
            raise
        await stop(incus, wanted, force=True)


async def _state(incus: Incus, wanted: Wanted, body: Mapping[str, object]) -> None:
    await incus.change("PUT", f"{wanted.path}/state", body)


async def delete(incus: Incus, wanted: Wanted) -> None:
    """Remove it; one that is gone already is no error.

    Raises:
        IncusError: it is protected.
    """
    row = await incus.find(wanted.path)
    if row is None:
        return
    if row["expanded_config"].get(PROTECTED) == "true":
        remedy = "set `protect: false` and run `pulumi up` first, if it is really to go"
        detail = f"{PROTECTED} is set"
        raise IncusError(message("not removed", f"{wanted.name} ({incus.where})", detail, remedy))
    await stop(incus, wanted, force=True)
    try:
        await incus.change("DELETE", wanted.path)
    except IncusError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise


def _without(there: Mapping[str, T], old: Mapping[str, T], new: Mapping[str, T]) -> dict[str, T]:
    return {key: it for key, it in there.items() if key not in old or key in new}


def _refused(incus: Incus, wanted: Wanted, error: IncusError) -> str:
    said = str(error)
    key = next((key for word, key in _REFUSED if word in said), "")
    where = f"{wanted.name} ({incus.where})"
    remedy = f"look at `{key}` of its `incus` in the config" if key else "look at its `incus`"
    return message("Incus refused the instance", where, said, remedy)


def _taken(incus: Incus, wanted: Wanted) -> str:
    identity = f"{incus.remote.name}/{incus.project}/{wanted.name}"
    detail = "an instance that this stack has not made has that name"
    remedy = (
        f"take it into the stack (`pulumi import flakeup:incus:Instance NAME {identity}`), "
        "or write another `name`"
    )
    return message("name taken", f"{printable(wanted.name)} ({incus.where})", detail, remedy)


def _mac(incus: Incus, wanted: Wanted, owner: Owner) -> str:
    """The MAC address of its eth0: the same whenever it is made again, and so its address."""
    digest = hashlib.sha256(f"{owner.text} {incus.project} {wanted.name}".encode()).hexdigest()
    return ":".join(("10", "66", "6a", digest[:2], digest[2:4], digest[4:6]))
