"""Incus: a project, a network, a pool and an image of our own, and their removal."""

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
_MARK: Final = {"user.flakeup": "made by tools/bootstrap"}
_RULES: Final = tuple(
    (way, NETWORK, "-m", "comment", "--comment", "flakeup", "-j", "ACCEPT") for way in ("-i", "-o")
)
_SUBNETS: Final = tuple(ipaddress.IPv4Network(f"10.77.{n}.0/24") for n in range(256))


def _find() -> Found | None:
    if shutil.which("incus") is None or not API.is_running():
        return None
    if not all(API.find(path) for path in (_PROJECT_PATH, _NETWORK_PATH, _POOL_PATH)):
        return None
    if not _has_devices() or _is_held_back():
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
        _create("storage-pools", {"name": POOL, "driver": "dir", "config": _MARK})
    if API.find(_NETWORK_PATH) is None:
        subnet = free_subnet()
        address = f"{subnet[1]}/{subnet.prefixlen}"
        config = {**_MARK, "ipv4.address": address, "ipv4.nat": "true", "ipv6.address": "none"}
        _create("networks", {"name": NETWORK, "type": "bridge", "config": config})
    if API.find(_PROJECT_PATH) is None:
        features = {"features.images": "true", "features.profiles": "true"}
        _create("projects", {"name": PROJECT, "config": {**_MARK, **features}})
    # Only where it has to be: while instances start with the daemon, a change is refused.
    if not _has_devices():
        API.request("PATCH", _PROFILE_PATH, {"devices": _DEVICES})
    let_through(work)


def _has_devices() -> bool:
    profile = API.find(_PROFILE_PATH)
    return profile is not None and set(_DEVICES) <= set(profile["devices"])


def _create(kind: str, body: dict[str, Any]) -> None:
    API.request("POST", f"/1.0/{kind}", body)


def free_subnet() -> ipaddress.IPv4Network:
    """The first of ours that no route of this machine touches.

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
    """The machine's routes but the default one, from the kernel's table."""
    routes = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        words = line.split()
        numbers = (struct.pack("<L", int(words[column], 16)) for column in (1, 7))
        address, mask = map(socket.inet_ntoa, numbers)
        if mask != "0.0.0.0":  # noqa: S104 - the default route's mask
            routes.append(ipaddress.IPv4Network(f"{address}/{mask}"))
    return routes


def let_through(work: Work) -> None:
    """Rules for our bridge, where what is forwarded is dropped: a docker daemon does that.

    Both parts end with it: whichever is made last finds the other's work done.
    """
    if _is_held_back() and API.is_running() and API.find(_NETWORK_PATH):
        for rule in _RULES:
            _drop_rule(work, rule)
            work.run("iptables", "-w", "-I", "FORWARD", *rule)


def _is_held_back() -> bool:
    said = machine.said("iptables", "-w", "-S", "FORWARD").splitlines()
    held = "-P FORWARD DROP" in said
    return held and any(f"-A FORWARD {' '.join(rule)}" not in said for rule in _RULES)


def _drop_rule(work: Work, rule: tuple[str, ...]) -> bool:
    try:
        work.run("iptables", "-w", "-D", "FORWARD", *rule)
    except Missing:
        return False
    return True


def alias() -> str:
    """The name of the hosts' image, which changes with its recipe."""
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
    """Delete what carries our mark; what was done, for a reader."""
    said = []
    if API.is_running():
        kinds = (("project", f"{_PROJECT_PATH}?force=1"), ("network", _NETWORK_PATH))
        for kind, path in (*kinds, ("storage pool", _POOL_PATH)):
            found = API.find(path.partition("?")[0])
            if found and _MARK.items() <= found["config"].items():
                API.request("DELETE", path)
                said.append(f"{kind} {found['name']} removed")
        said.extend(_close(work))
    return said


def _close(work: Work) -> list[str]:
    if shutil.which("iptables") is None:
        return []
    gone = [rule for rule in _RULES if _drop_rule(work, rule)]
    return [f"FORWARD rule {' '.join(rule[:2])} removed" for rule in gone]


PARTS: Final = (
    Part(
        name="incus",
        plan=f"a daemon, and in it a project, network and pool of our own ({PROJECT}, {NETWORK})",
        find=_find,
        make=_make,
    ),
    Part(
        name="image",
        plan="the demo's and the tests' hosts start from it",
        find=_find_image,
        make=_make_image,
        needs=("rootfs", "incus"),
    ),
)
