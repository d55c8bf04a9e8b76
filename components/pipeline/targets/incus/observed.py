"""Instances: the desired state in the config, and the state on the server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ...config.incus import RESERVED
from ...errors import IncusError, message, printable
from .api import Incus, member_offline, segment, with_query
from .ownership import HOST_KEY, OWNER, UUID

RUNNING: Final = frozenset({"Running", "Ready"})
"""An instance sets `Ready` itself."""
STOPPED: Final = "Stopped"
FROZEN: Final = "Frozen"
CONTAINER: Final = "container"
_EVER_STARTED: Final = "volatile.last_state.power"


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredInstance:
    """An instance as configured."""

    name: str
    image: str = ""
    """Fingerprint of the image for its root."""
    profiles: tuple[str, ...] = ("default",)
    config: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    member: str = ""
    """The cluster member to create it on; empty lets the server choose."""
    running: bool = True
    config_path: str = "incus"
    """The section that configures it, for messages: `hosts.web1.incus`."""

    @property
    def path(self) -> str:
        """Its path in the API."""
        return f"/1.0/instances/{segment(self.name)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceState:
    """An instance as it is on the server."""

    name: str
    uuid: str
    """Identifies it: it is kept on a rename, and another instance of this name has another."""
    status: str
    ever_started: bool
    """Whether it was ever started: one that was not may be incomplete."""
    image: str
    owner: str
    profiles: tuple[str, ...]
    config: Mapping[str, str]
    """Without the keys that the server, the image and flakeup set."""
    devices: Mapping[str, Mapping[str, str]]
    member: str
    address: str | None = None
    """Only known in a listing with states."""
    host_key: str = ""
    """Its sshd's, as stored after its first boot."""
    generation: str = ""
    """Changes when a snapshot is restored."""
    kind: str = CONTAINER
    """Or `virtual-machine`, which flakeup does not manage."""
    offline: bool = False
    """Its cluster member does not respond: only its name and member are known."""

    @property
    def running(self) -> bool:
        """Whether it runs; a frozen one does not."""
        return self.status in RUNNING

    @property
    def root(self) -> str:
        """Changes when its root is recreated, or a snapshot is restored."""
        return f"{self.image[:12]} {self.generation}"

    def check_importable(self, remote: str, project: str) -> None:
        """Check that it can be imported into a stack.

        Raises:
            IncusError: its member is offline, or it is a virtual machine.
        """
        if self.offline:
            raise IncusError(self.offline_message(remote, project))
        if self.kind != CONTAINER:
            detail = f"it is a {printable(self.kind)}, and flakeup only manages containers"
            where = f"{self.name} ({remote}, project {project})"
            raise IncusError(message("not a container", where, detail))

    def offline_message(self, remote: str, project: str) -> str:
        """The message about its cluster member, which does not respond."""
        return member_offline(remote, project, f"what is on {printable(self.member)} is unknown")

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "InstanceState":
        """Parse an object of the API."""
        config: Mapping[str, str] = row["config"] or {}
        return cls(
            name=str(row["name"]),
            uuid=config.get(UUID, ""),
            status=str(row["status"]),
            ever_started=_EVER_STARTED in config,
            image=config.get("volatile.base_image", ""),
            owner=config.get(OWNER, ""),
            host_key=config.get(HOST_KEY, ""),
            generation=config.get("volatile.uuid.generation", ""),
            kind=str(row.get("type", CONTAINER)),
            offline=row["config"] is None,
            profiles=tuple(row["profiles"] or ()),
            config={key: text for key, text in config.items() if not key.startswith(RESERVED)},
            devices=row["devices"] or {},
            member="" if row.get("location") in (None, "none") else str(row["location"]),
            address=address(row.get("state") or {}, config.get("user.access_interface", "")),
        )


def address(state: Mapping[str, Any], interface: str = "") -> str | None:
    """The address of an instance from its state: the first global one, IPv4 before IPv6.

    `interface` is its `user.access_interface`; without that, eth0 comes before other interfaces.
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


async def list_instances(incus: Incus) -> dict[str, InstanceState]:
    """All instances of the project with their states, by name, in one request."""
    rows = await incus.get(with_query("/1.0/instances", recursion="2"))
    return {str(row["name"]): InstanceState.of(row) for row in rows}


async def get_instance(incus: Incus, name: str) -> InstanceState | None:
    """One instance, without its state; None if there is none."""
    row = await incus.find(f"/1.0/instances/{segment(name)}")
    return None if row is None else InstanceState.of(row)


async def find_instance(incus: Incus, uuid: str, *names: str) -> InstanceState | None:
    """Find an instance by UUID; `names` are tried first, but somebody may have renamed it.

    None if it no longer exists, even if another instance has its name now.

    Raises:
        IncusError: it may be on a cluster member that is offline.
    """
    for name in names:
        current = await get_instance(incus, name)
        if current and current.uuid == uuid:
            return current
    return pick_instance(await list_instances(incus), uuid, incus.remote.name, incus.project)


def pick_instance(
    instances: Mapping[str, InstanceState], uuid: str, remote: str, project: str
) -> InstanceState | None:
    """Find an instance by UUID in a listing, as `find_instance` does on the server."""
    for one in instances.values():
        if one.uuid == uuid:
            return one
    for one in instances.values():
        if one.offline:
            raise IncusError(one.offline_message(remote, project))
    return None
