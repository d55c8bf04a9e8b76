"""Incus: our own project, network, pool and image, and their removal."""

import ipaddress
import shutil
import socket
import struct
from pathlib import Path
from typing import Any, Final

from harness.unix_http import ApiError

from toolchain import incusd, machine, rootfs
from toolchain.incusd import API
from toolchain.part import Found, Part
from toolchain.work import Missing, Work

PROJECT: Final = "flakeup"
NETWORK: Final = "flakeupbr0"
POOL: Final = "flakeup"
_OWNER: Final = {"user.flakeup": "made by tools/bootstrap"}
_RULES: Final = tuple(
    (way, NETWORK, "-m", "comment", "--comment", "flakeup", "-j", "ACCEPT") for way in ("-i", "-o")
)
_SUBNETS: Final = tuple(ipaddress.IPv4Network(f"10.77.{n}.0/24") for n in range(256))


def _find() -> Found | None:
    if shutil.which("incus") is None or not API.is_running():
        return None
    if not all(API.find(path) for path in (_PROJECT_PATH, _NETWORK_PATH, _POOL_PATH)):
        return None
    if not _has_devices() or _blocks_forwarding():
        return None
    version = API.request("GET", "/1.0")["environment"]["server_version"]
    facts = {"project": PROJECT, "network": NETWORK, "pool": POOL}
    return Found(source="machine", detail=f"incus {version}", facts=facts)


_PROJECT_PATH: Final = f"/1.0/projects/{PROJECT}"
_NETWORK_PATH: Final = f"/1.0/networks/{NETWORK}"
_POOL_PATH: Final = f"/1.0/storage-pools/{POOL}"
_PROFILE_PATH: Final = f"/1.0/profiles/default?project={PROJECT}"
_DEVICES: Final = {
    "root": {"type": "disk", "path": "/", "pool": POOL},
    "eth0": {"type": "nic", "network": NETWORK, "name": "eth0"},
}


def _make(work: Work) -> None:
    incusd.ensure(work)
    if shutil.which("incus") is None:
        reason = "an Incus daemon answers, but its client `incus` is not on PATH"
        raise Missing(reason, remedy="install incus-client")
    if API.find(_POOL_PATH) is None:
        _create("storage-pools", {"name": POOL, "driver": "dir", "config": _OWNER})
    if API.find(_NETWORK_PATH) is None:
        subnet = free_subnet()
        address = f"{subnet[1]}/{subnet.prefixlen}"
        config = {**_OWNER, "ipv4.address": address, "ipv4.nat": "true", "ipv6.address": "none"}
        _create("networks", {"name": NETWORK, "type": "bridge", "config": config})
    if API.find(_PROJECT_PATH) is None:
        features = {"features.images": "true", "features.profiles": "true"}
        _create("projects", {"name": PROJECT, "config": {**_OWNER, **features}})
    # Only if needed: Incus refuses a change while it starts instances.
    if not _has_devices():
        API.request("PATCH", _PROFILE_PATH, {"devices": _DEVICES})
    allow_forwarding(work)


def _has_devices() -> bool:
    profile = API.find(_PROFILE_PATH)
    return profile is not None and set(_DEVICES) <= set(profile["devices"])


def _create(kind: str, body: dict[str, Any]) -> None:
    API.request("POST", f"/1.0/{kind}", body)


def free_subnet() -> ipaddress.IPv4Network:
    """The first of `_SUBNETS` that overlaps no route of this machine.

    Raises:
        Missing: all of them are in use.
    """
    taken = _routes()
    for subnet in _SUBNETS:
        if not any(subnet.overlaps(route) for route in taken):
            return subnet
    reason = "no free subnet in 10.77.0.0/16"
    raise Missing(reason, remedy=f"create the Incus network {NETWORK} with a subnet of your choice")


def _routes() -> list[ipaddress.IPv4Network]:
    """The machine's routes except the default one, from the kernel."""
    routes = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        words = line.split()
        numbers = (struct.pack("<L", int(words[column], 16)) for column in (1, 7))
        address, mask = map(socket.inet_ntoa, numbers)
        if mask != "0.0.0.0":  # noqa: S104 - the default route's mask
            routes.append(ipaddress.IPv4Network(f"{address}/{mask}"))
    return routes


def allow_forwarding(work: Work) -> None:
    """Accept packets of our bridge where Docker has set the policy of FORWARD to DROP.

    Both parts end with this, so that it works in either order.
    """
    if _blocks_forwarding() and API.is_running() and API.find(_NETWORK_PATH):
        for rule in _RULES:
            _delete_rule(work, rule)
            work.run("iptables", "-w", "-I", "FORWARD", *rule)


def _blocks_forwarding() -> bool:
    rules = machine.output("iptables", "-w", "-S", "FORWARD").splitlines()
    drops = "-P FORWARD DROP" in rules
    return drops and any(f"-A FORWARD {' '.join(rule)}" not in rules for rule in _RULES)


def _delete_rule(work: Work, rule: tuple[str, ...]) -> bool:
    try:
        work.run("iptables", "-w", "-D", "FORWARD", *rule)
    except Missing:
        return False
    return True


def alias() -> str:
    """The alias of the hosts' image, which changes with its recipe."""
    return f"flakeup-host-{rootfs.recipe()}"


def _find_image() -> Found | None:
    if not API.is_running():
        return None
    try:
        found = API.find(f"/1.0/images/aliases/{alias()}?project={PROJECT}")
    except ApiError:
        return None
    facts = {"alias": alias(), "root": str(rootfs.image())}
    return Found(source="cache", detail=alias(), facts=facts) if found else None


def _make_image(work: Work) -> None:
    files = (str(rootfs.metadata()), str(rootfs.image()))
    place = ("--project", PROJECT, "--alias", alias())
    try:
        work.run("incus", "image", "import", *place, *files, "local:", step="importing the image")
    except Missing as failed:
        if "same fingerprint" not in failed.reason:
            raise
        fingerprint = rootfs.fingerprint()
        body = {"name": alias(), "target": fingerprint}
        API.request("POST", f"/1.0/images/aliases?project={PROJECT}", body)


def remove(work: Work) -> list[str]:
    """Delete what tools/bootstrap has created; returns lines to print."""
    lines = []
    if API.is_running():
        kinds = (("project", f"{_PROJECT_PATH}?force=1"), ("network", _NETWORK_PATH))
        for kind, path in (*kinds, ("storage pool", _POOL_PATH)):
            found = API.find(path.partition("?")[0])
            if found and _OWNER.items() <= found["config"].items():
                API.request("DELETE", path)
                lines.append(f"{kind} {found['name']} removed")
        lines.extend(_delete_rules(work))
    return lines


def _delete_rules(work: Work) -> list[str]:
    if shutil.which("iptables") is None:
        return []
    deleted = [rule for rule in _RULES if _delete_rule(work, rule)]
    return [f"FORWARD rule {' '.join(rule[:2])} removed" for rule in deleted]


PARTS: Final = (
    Part(
        name="incus",
        plan=f"a daemon with a project, network and pool of our own ({PROJECT}, {NETWORK})",
        find=_find,
        make=_make,
    ),
    Part(
        name="image",
        plan="the image of the demo's and the tests' hosts",
        find=_find_image,
        make=_make_image,
        needs=("rootfs", "incus"),
    ),
)
