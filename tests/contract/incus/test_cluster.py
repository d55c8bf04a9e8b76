"""Instances in a real Incus cluster: created on a member, moved by hand, a member offline."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from components.pipeline.errors import IncusError
from components.pipeline.targets.incus import boot, image, instance, volume
from components.pipeline.targets.incus.api import Incus
from components.pipeline.targets.incus.observed import DesiredInstance
from components.pipeline.targets.incus.ownership import OWNER
from components.pipeline.targets.incus.remote import Remote
from components.pipeline.targets.incus.volume import StorageVolume
from components.pipeline.values import Owner
from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.incus_cluster import ONE, TWO, Cluster, cluster
from harness.daemons.tiny_image import tiny
from harness.providers.incus_driver import INSTANCE, Changes, ResourceDriver, observed
from harness.providers.plugin_driver import Json, PluginError, failing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["cluster"]
pytestmark = pytest.mark.contract
STACK = Owner.parse("project/dev")
NOTHING = Changes(paths=frozenset(), replaces=frozenset(), deletes_first=True)
PLACE = "a (local, project default)"
AWAY = "cluster member offline: local, project default: "
WAIT = "wait until `incus cluster list local:` shows all as online"


@pytest.fixture(scope="module")
def fingerprint(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image uploaded to the first member."""
    files = tiny(tmp_path_factory.mktemp("image"), "one")
    said = cluster.one.client("image", "import", str(files.metadata), str(files.rootfs))
    return said.split()[-1]


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[DaemonProxy]:
    """A proxy for the first member; afterwards all instances are deleted."""
    with DaemonProxy(cluster.folder / "proxy", cluster.one.socket) as before:
        yield before
    cluster.clear()


@pytest.fixture
async def incus(proxy: DaemonProxy) -> AsyncIterator[Incus]:
    async with Incus(Remote(name="local", socket=proxy.path), "default") as server:
        yield server


@pytest.fixture
def desired(fingerprint: str) -> DesiredInstance:
    return DesiredInstance(name="a", image=fingerprint, member=TWO, config_path="hosts.web1.incus")


@pytest.fixture
def inputs(fingerprint: str) -> dict[str, Json]:
    """The inputs of an instance on the second member, as from the program."""
    return {
        "remote": "local",
        "project": "default",
        "name": "a",
        "image": fingerprint,
        "profiles": ["default"],
        "config": {},
        "devices": {},
        "member": TWO,
        "ssh": False,
        "bootTimeout": 20,
    }


async def create(incus: Incus, desired: DesiredInstance) -> None:
    await instance.create(incus, desired, STACK, print)


async def refusal(incus: Incus, desired: DesiredInstance) -> str:
    with pytest.raises(IncusError) as caught:
        await create(incus, desired)
    return str(caught.value)


def failed_deletion(driver: ResourceDriver) -> str:
    with pytest.raises(PluginError) as caught:
        driver.delete()
    return str(caught.value)


def placement(cluster: Cluster, name: str = "a") -> tuple[str, str, str]:
    row = cluster.one.instance(name)
    return row["location"], row["status"], row["config"]["volatile.uuid"]


async def test_create_on_the_configured_member_with_an_image_from_another(
    incus: Incus, cluster: Cluster, proxy: DaemonProxy, desired: DesiredInstance
) -> None:
    await create(incus, desired)
    assert placement(cluster)[:2] == (TWO, "Running")
    up = await boot.wait_until_booted(incus, "a", seconds=20, ssh=False, say=print)
    assert up is None
    proxy.reset()
    await create(incus, desired)
    assert proxy.changes() == []


async def test_an_unavailable_member_is_refused_before_any_change(
    incus: Incus, cluster: Cluster, desired: DesiredInstance
) -> None:
    assert await refusal(incus, replace(desired, member="rack")) == (
        f"no such cluster member: {PLACE}: rack: the members are node1, node2. "
        "set `hosts.web1.incus.member` to one"
    )
    cluster.one.request("POST", f"/1.0/cluster/members/{TWO}/state", {"action": "evacuate"})
    try:
        assert await refusal(incus, desired) == (
            f"cluster member unavailable: {PLACE}: node2 is evacuated. wait until it is online "
            "(`incus cluster list local:`), or change `hosts.web1.incus.member`"
        )
    finally:
        cluster.one.request("POST", f"/1.0/cluster/members/{TWO}/state", {"action": "restore"})
    assert cluster.one.instances() == []


async def test_a_changed_member_is_refused_and_a_move_by_hand_is_accepted(
    cluster: Cluster, proxy: DaemonProxy, inputs: dict[str, Json]
) -> None:
    driver = ResourceDriver(kind=INSTANCE, socket=proxy.path, name="web1-instance")
    driver.create(inputs)
    before = placement(cluster)
    elsewhere = {**inputs, "member": ONE}
    command = f"incus move local:a --target {ONE} --project default"
    refusal = (
        f"an existing instance is not moved: {PLACE}: it is on node2, and "
        "`hosts.web1.incus.member` is node1. set `hosts.web1.incus.member` back to node2, or stop "
        f"the instance and move it: `{command}`"
    )
    proxy.reset()
    with failing(refusal):
        driver.diff(elsewhere)
    with failing(refusal):  # an `up` without a preview, or after one that could not ask
        driver.update(elsewhere)
    assert placement(cluster) == before
    assert proxy.changes() == []

    cluster.one.state("a", "stop")
    cluster.one.client(*command.split()[1:])
    cluster.one.state("a", "start")
    assert driver.diff() == NOTHING, "moved by hand or evacuated: left where it is"
    assert driver.up(elsewhere).paths == {"member"}
    assert placement(cluster) == (ONE, *before[1:])
    assert driver.diff() == NOTHING


async def test_create_on_the_member_that_has_its_volumes(
    incus: Incus, cluster: Cluster, desired: DesiredInstance
) -> None:
    data = StorageVolume(pool="pool", name="data", member=TWO)
    await volume.ensure(incus, data, STACK)
    await volume.ensure(incus, data, STACK)
    found = await incus.get(data.path)
    assert (found["location"], found["config"][OWNER]) == (TWO, STACK.text)
    device = {"type": "disk", "pool": "pool", "source": "data", "path": "/data"}
    free = replace(desired, member="", devices={"data": device})
    elsewhere = replace(free, member=ONE)
    text = (
        f"volume on another member: {PLACE}: its volume data (pool pool) is on node2, and it would "
        "be created on node1. set `hosts.web1.incus.member` to node2, or remove the volume from it"
    )
    assert await refusal(incus, elsewhere) == text
    await create(incus, free)
    assert placement(cluster)[0] == TWO


async def test_an_offline_member(
    incus: Incus,
    cluster: Cluster,
    proxy: DaemonProxy,
    inputs: dict[str, Json],
    desired: DesiredInstance,
) -> None:
    """Last in this module: what is on that member is not replaced, changed or dropped."""
    driver = ResourceDriver(kind=INSTANCE, socket=proxy.path, name="web1-instance")
    driver.create(inputs)
    state = dict(driver.state)
    cluster.two.kill()
    unknown = f"{AWAY}what is on node2 is unknown. {WAIT}"
    # The cluster's first try takes 10 s: meanwhile the test goes on.
    deleted = asyncio.create_task(asyncio.to_thread(failed_deletion, replace(driver)))
    with failing(unknown):
        driver.read()
    proxy.reset()
    with driver.run() as plugin:
        assert observed(plugin)["a"]["error"] == unknown
        assert driver.diff_in(plugin) == NOTHING
    listings = [one for one in proxy.requests() if "recursion" in one]
    assert listings == ["GET /1.0/instances?recursion=2&project=default"], "one listing for all"
    assert driver.messages == [f"{unknown}; using the state instead"]
    text = await deleted
    assert text.startswith(AWAY), "Incus's text depends on when it last tried"
    assert text.endswith(f". {WAIT}")
    text = await refusal(incus, replace(desired, name="b"))
    assert text.startswith((AWAY, "cluster member unavailable: b (local, project default): node2 "))
    with failing(AWAY):
        driver.update({**inputs, "config": {"limits.cpu": "1"}})
    assert driver.state == state
    assert cluster.one.instances() == ["a"]
    assert await image._instances_created_from(incus, "0" * 64) == ["a"], "it may use it"
