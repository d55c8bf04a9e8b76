"""An instance as the server has it: one of a listing, or one that is looked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...errors import IncusError, message, printable
from .api import Incus, asked, member_offline, segment
from .ownership import HOST_KEY, OWNER, SERVERS_OWN, UUID

RUNNING: Final = frozenset({"Running", "Ready"})
"""`Ready` is one that has said so itself."""
STOPPED: Final = "Stopped"
FROZEN: Final = "Frozen"
CONTAINER: Final = "container"
_EVER_STARTED: Final = "volatile.last_state.power"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An instance as the server has it."""

    name: str
    uuid: str
    """Its own, whatever its name is: another one of this name has another."""
    status: str
    started: bool
    """Whether it has ever been: one that was not may be half made."""
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
    """Changes when its root goes back to a snapshot."""
    kind: str = CONTAINER
    """Or `virtual-machine`: a name that is taken, and nothing of ours."""
    silent: bool = False
    """Its member of the cluster does not answer: only its name, and where it is, is known."""

    @property
    def running(self) -> bool:
        """Whether it runs; one that was paused does not."""
        return self.status in RUNNING

    @property
    def root(self) -> str:
        """Another one when its root is made anew, or goes back to a snapshot."""
        return f"{self.image[:12]} {self.generation}"

    def check(self, remote: str, project: str) -> None:
        """Look whether a stack can have it.

        Raises:
            IncusError: nothing is known of it, or it is a virtual machine.
        """
        if self.silent:
            raise IncusError(unheard(self.member, remote, project))
        if self.kind != CONTAINER:
            detail = f"it is a {printable(self.kind)}, and flakeup keeps containers alone"
            where = f"{self.name} ({remote}, project {project})"
            raise IncusError(message("not a container", where, detail))

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Seen":
        """What one object of the interface says."""
        config: Mapping[str, str] = row["config"] or {}
        return cls(
            name=str(row["name"]),
            uuid=config.get(UUID, ""),
            status=str(row["status"]),
            started=_EVER_STARTED in config,
            image=config.get("volatile.base_image", ""),
            owner=config.get(OWNER, ""),
            host_key=config.get(HOST_KEY, ""),
            generation=config.get("volatile.uuid.generation", ""),
            kind=str(row.get("type", CONTAINER)),
            silent=row["config"] is None,
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


async def find(incus: Incus, uuid: str, *names: str) -> Seen | None:
    """The instance of a uuid, which probably has one of these names; somebody may have renamed it.

    None where there is none any more, whoever has its name now.

    Raises:
        IncusError: a member of the cluster does not answer, and may have it.
    """
    for name in names:
        seen = await look(incus, name)
        if seen and seen.uuid == uuid:
            return seen
    return pick(await listed(incus), uuid, incus.remote.name, incus.project)


def pick(there: Mapping[str, Seen], uuid: str, remote: str, project: str) -> Seen | None:
    """The instance of a uuid in a listing, as `find`."""
    for one in there.values():
        if one.uuid == uuid:
            return one
    if silent := [one for one in there.values() if one.silent]:
        raise IncusError(unheard(silent[0].member, remote, project))
    return None


def unheard(member: str, remote: str, project: str) -> str:
    """What is said of a member of a cluster that does not answer."""
    return member_offline(remote, project, f"what is on {printable(member)} is unknown")
