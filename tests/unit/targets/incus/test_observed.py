"""An instance as in Incus's API: its address, state and MAC address."""

from pathlib import Path
from typing import Any

import pytest

from components.pipeline.errors import IncusError
from components.pipeline.targets.incus.api import Incus
from components.pipeline.targets.incus.instance import _mac_address
from components.pipeline.targets.incus.observed import DesiredInstance, InstanceState, address
from components.pipeline.targets.incus.remote import Remote
from components.pipeline.values import Owner


def state(**interfaces: list[tuple[str, str]]) -> dict[str, Any]:
    """An instance state with these addresses, each with its scope."""
    return {
        "network": {
            name: {
                "addresses": [
                    {
                        "family": "inet6" if ":" in one else "inet",
                        "address": one,
                        "scope": scope,
                    }
                    for scope, one in addresses
                ]
            }
            for name, addresses in interfaces.items()
        }
    }


@pytest.mark.parametrize(
    ("found", "interface", "expected"),
    [
        (state(eth0=[("global", "10.0.0.2")]), "", "10.0.0.2"),
        (state(eth0=[("global", "fd00::2"), ("global", "10.0.0.2")]), "", "10.0.0.2"),
        (state(eth0=[("link", "fe80::1"), ("global", "fd00::2")]), "", "fd00::2"),
        (state(eth0=[("link", "fe80::1")]), "", None),
        (state(lo=[("local", "127.0.0.1"), ("global", "10.9.9.9")]), "", None),
        (state(eth1=[("global", "10.0.1.2")], eth0=[("global", "10.0.0.2")]), "", "10.0.0.2"),
        (state(eth1=[("global", "10.0.1.2")], eth0=[]), "", "10.0.1.2"),
        (state(eth1=[("global", "10.0.1.2")], eth0=[("global", "fd00::2")]), "", "10.0.1.2"),
        (state(wg0=[("global", "10.8.0.2")], eth0=[("global", "10.0.0.2")]), "wg0", "10.8.0.2"),
        (state(eth0=[("global", "10.0.0.2")]), "eth1", None),
        (state(docker0=[("global", "172.17.0.1")], eth0=[("global", "10.0.0.2")]), "", "10.0.0.2"),
        ({"network": None}, "", None),
        ({}, "", None),
        ({"network": {"eth0": {"addresses": None}}}, "", None),
    ],
)
def test_the_address(found: dict[str, Any], interface: str, expected: str | None) -> None:
    assert address(found, interface) == expected


def row(**changes: Any) -> dict[str, Any]:
    config = {
        "security.nesting": "true",
        "image.os": "nixos",
        "user.flakeup.owner": "shop/prod",
        "user.flakeup.host-key": "ssh-ed25519 AAAA",
        "volatile.base_image": "f" * 64,
        "volatile.uuid": "one",
        "volatile.uuid.generation": "two",
        "volatile.last_state.power": "RUNNING",
    }
    whole = {
        "name": "web1",
        "status": "Running",
        "profiles": ["default"],
        "devices": {"gpu": {"type": "gpu"}},
        "location": "none",
        "config": config,
    }
    return {**whole, **changes}


def test_parsing_an_instance() -> None:
    seen = InstanceState.of(row())
    assert (seen.name, seen.uuid, seen.owner) == ("web1", "one", "shop/prod")
    assert seen.config == {"security.nesting": "true"}, "only configured keys"
    assert seen.devices == {"gpu": {"type": "gpu"}}
    assert (seen.profiles, seen.member, seen.address) == (("default",), "", None)
    assert seen.root == "ffffffffffff two"
    assert seen.ever_started
    assert InstanceState.of(row(location="node1")).member == "node1"
    assert not InstanceState.of(row(config={})).ever_started
    assert InstanceState.of(row(devices=None, profiles=None)).profiles == ()


def refused(found: InstanceState) -> str:
    with pytest.raises(IncusError) as caught:
        found.check_importable("local", "shop")
    return str(caught.value)


def test_a_virtual_machine_or_an_instance_on_an_offline_member_cannot_be_imported() -> None:
    InstanceState.of(row(type="container")).check_importable("local", "shop")
    assert refused(InstanceState.of(row(type="virtual-machine"))) == (
        "not a container: web1 (local, project shop): it is a virtual-machine, and flakeup only "
        "manages containers"
    )
    offline = InstanceState.of(row(config=None, status="Error", location="node2"))
    assert (offline.offline, offline.uuid, offline.running) == (True, "", False)
    assert refused(offline) == (
        "cluster member offline: local, project shop: what is on node2 is unknown. "
        "wait until `incus cluster list local:` shows all as online"
    )


@pytest.mark.parametrize(
    ("status", "running"),
    [("Running", True), ("Ready", True), ("Stopped", False), ("Frozen", False), ("Error", False)],
)
def test_whether_it_runs(status: str, running: bool) -> None:  # noqa: FBT001 a case
    assert InstanceState.of(row(status=status)).running is running


def test_the_mac_address_depends_on_name_project_and_owner() -> None:
    here = Remote(name="local", socket=Path("/nowhere"))
    shop, default = (Incus(here, project) for project in ("shop", "default"))
    macs = [
        _mac_address(incus, DesiredInstance(name=name), Owner.parse(owner))
        for incus in (default, shop)
        for name in ("web1", "web2")
        for owner in ("shop/prod", "shop/staging")
    ]
    assert len(set(macs)) == 8
    assert all(mac.startswith("10:66:6a:") and len(mac) == 17 for mac in macs)
    assert macs[0] == "10:66:6a:ee:55:41"
