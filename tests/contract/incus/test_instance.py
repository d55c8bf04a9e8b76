"""Instances on a real Incus: create, interrupt, update, rename, rebuild, delete, boot."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from components.pipeline.errors import IncusError
from components.pipeline.targets.incus import boot, image, instance
from components.pipeline.targets.incus.api import Incus, retry_through_restart
from components.pipeline.targets.incus.observed import (
    DesiredInstance,
    find_instance,
    get_instance,
    list_instances,
)
from components.pipeline.targets.incus.ownership import ImageReference
from components.pipeline.targets.incus.remote import Remote
from components.pipeline.values import Owner
from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.incusd import Incusd, incusd
from harness.daemons.tiny_image import tiny

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator
    from pathlib import Path

    from components.pipeline.config.stack import Endpoint

__all__ = ["incusd"]
pytestmark = pytest.mark.contract
OWNER = Owner.parse("shop/prod")
STRANGER = Owner.parse("shop/other")
NESTING = {"security.nesting": "true"}
PLACE = "a (local, project default)"
Images = dict[str, str]


@pytest.fixture(scope="module")
def images(incusd: Incusd, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Fingerprints of images: two that boot, and three that boot in a special way."""
    folder = tmp_path_factory.mktemp("images")
    made = {
        "one": tiny(folder, "one"),
        "two": tiny(folder, "two"),
        "never": tiny(folder, "never", state="starting"),
        "degraded": tiny(folder, "degraded", state="degraded"),
        "keyless": tiny(folder, "keyless", **{"no-key": ""}),
    }
    for name, files in made.items():
        incusd.client(
            "image", "import", str(files.metadata), str(files.rootfs), "--alias", name
        )  # fmt: skip
    return {name: incusd.request("GET", f"/1.0/images/aliases/{name}")["target"] for name in made}


@pytest.fixture
def proxy(incusd: Incusd) -> Iterator[DaemonProxy]:
    """A proxy for the daemon; afterwards all instances are deleted."""
    with DaemonProxy(incusd.folder / "proxy", incusd.socket) as before:
        yield before
    incusd.clear(images=False)


@pytest.fixture
async def incus(proxy: DaemonProxy) -> AsyncIterator[Incus]:
    async with Incus(Remote(name="local", socket=proxy.path), "default") as server:
        yield server


@pytest.fixture
def desired(images: Images) -> DesiredInstance:
    return DesiredInstance(
        name="a", image=images["one"], config=NESTING, config_path="hosts.web1.incus"
    )


async def create(incus: Incus, desired: DesiredInstance, owner: Owner = OWNER) -> None:
    await instance.create(incus, desired, owner, print, importing="`import`")


def uuid(incusd: Incusd, name: str = "a") -> str:
    return str(incusd.instance(name)["config"]["volatile.uuid"])


def mac(incusd: Incusd, name: str = "a") -> str:
    return str(incusd.instance(name)["config"]["volatile.eth0.hwaddr"])


# --- create ----------------------------------------------------------------------------------


async def test_create_and_start_is_idempotent(
    incus: Incus, incusd: Incusd, proxy: DaemonProxy, desired: DesiredInstance
) -> None:
    source = str(incusd.folder)
    devices = {"shared": {"type": "disk", "source": source, "path": "/mnt", "readonly": "true"}}
    whole = replace(desired, config={**NESTING, "limits.memory": "200MiB"}, devices=devices)
    await create(incus, whole)
    found = incusd.instance("a")
    assert (found["status"], found["profiles"]) == ("Running", ["default"])
    assert found["devices"] == devices
    assert found["config"]["limits.memory"] == "200MiB"
    assert found["config"]["user.flakeup.owner"] == "shop/prod"
    proxy.reset()
    await create(incus, whole)
    assert proxy.changes() == []
    assert incusd.instance("a")["config"] == found["config"]


async def test_the_mac_address_is_unique_and_kept_when_recreated(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    await asyncio.gather(create(incus, desired), create(incus, replace(desired, name="b")))
    first, address = mac(incusd), incusd.address("a")
    assert first.startswith("10:66:6a:")
    assert first != mac(incusd, "b")
    await instance.delete(incus, desired, uuid(incusd))
    await create(incus, desired)
    assert (mac(incusd), incusd.address("a")) == (first, address)


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "profile", {"profiles": ("nope",)},
        'Requested profile "nope" doesn\'t exist', "profiles",
    ),
    (
        "pool", {"devices": {"root": {"type": "disk", "path": "/", "pool": "nope"}}},
        "Storage pool not found", "pool",
    ),
    (
        "network", {"devices": {"eth0": {"type": "nic", "name": "eth0", "network": "nope"}}},
        "Network not found", "network",
    ),
    (
        "key", {"config": {"nope.key": "1"}},
        "Unknown configuration key: nope.key", "config",
    ),
    (
        "value", {"config": {"limits.memory": "lots"}},
        "Invalid value: lots", "config",
    ),
    (
        "type of a device", {"devices": {"x": {"type": "nope"}}},
        'Invalid device type "nope"', "devices",
    ),
    (
        "option of a device", {"devices": {"x": {"type": "disk", "nope": "1"}}},
        'Invalid device option "nope"', "devices",
    ),
    (
        "folder of a device", {"devices": {"x": {"type": "disk", "source": "/no", "path": "/x"}}},
        'Missing source path "/no" for disk "x"', "devices",
    ),
    (
        "instance without a root", {"profiles": ()},
        "Failed getting root disk: No root device could be found", "pool",
    ),
    (
        "device that stops the start", {"devices": {"x": {"type": "gpu"}}},
        "Failed to detect requested GPU device", "devices",
    ),
]  # fmt: skip


@pytest.mark.parametrize("refused", REFUSED, ids=lambda one: one[0])
async def test_a_refusal_is_one_message_and_leaves_nothing(
    incus: Incus,
    incusd: Incusd,
    desired: DesiredInstance,
    refused: tuple[str, dict[str, Any], str, str],
) -> None:
    _, changes, said, key = refused
    with pytest.raises(IncusError) as caught:
        await create(incus, replace(desired, **changes))
    text = str(caught.value)
    assert text.startswith(f"Incus refused the instance: {PLACE}: ")
    where = f"`hosts.web1.incus.{key}`, or `incus.{key}`, in the config"
    assert text.endswith(f"{said}. check {where}")
    assert "\n" not in text
    assert incusd.instances() == []


async def test_a_member_on_a_server_that_is_not_clustered(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    with pytest.raises(IncusError) as caught:
        await create(incus, replace(desired, member="node1"))
    assert str(caught.value) == (
        f"no such cluster member: {PLACE}: node1: the server is not clustered. "
        "remove `hosts.web1.incus.member`"
    )
    assert incusd.instances() == []


async def test_a_proxy_port_in_use(incus: Incus, incusd: Incusd, desired: DesiredInstance) -> None:
    """Incus retries for 5 s."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = f"tcp:127.0.0.1:{server.getsockname()[1]}"
        proxy = {"type": "proxy", "listen": listen, "connect": "tcp:127.0.0.1:80"}
        text = await failure(create(incus, replace(desired, devices={"web": proxy})))
    about = "Error occurred when starting proxy device: Error: "
    assert text.startswith(f"Incus refused the instance: {PLACE}: {about}")
    assert text.endswith(". check `hosts.web1.incus.devices`, or `incus.devices`, in the config")
    assert incusd.instances() == []


async def test_an_existing_instance_that_cannot_start(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    stopped = replace(desired, devices={"x": {"type": "gpu"}}, running=False)
    await create(incus, stopped)
    text = await failure(instance.set_running(incus, replace(stopped, running=True), print))
    assert text.startswith(f"Incus refused the instance: {PLACE}: Failed to start device ")
    assert text.endswith(". check `hosts.web1.incus.devices`, or `incus.devices`, in the config")
    assert incusd.instance("a")["status"] == "Stopped"


async def failure(work: Awaitable[None]) -> str:
    with pytest.raises(IncusError) as caught:
        await work
    return str(caught.value)


def no_such_image(digest: str) -> str:
    return (
        f"no such image: {PLACE}: {digest[:12]} has been deleted from the server. "
        "run `pulumi up` again: it uploads the image first"
    )


async def test_a_deleted_image(incus: Incus, incusd: Incusd, desired: DesiredInstance) -> None:
    none = replace(desired, image="0" * 64)
    assert await failure(create(incus, none)) == no_such_image(none.image)
    assert incusd.instances() == []
    await create(incus, desired)
    assert await failure(instance.rebuild(incus, none, print)) == no_such_image(none.image)
    assert incusd.instance("a")["status"] == "Running", "it keeps its root, and runs"


async def test_an_image_deleted_during_the_creation(
    incus: Incus, incusd: Incusd, proxy: DaemonProxy, desired: DesiredInstance, tmp_path: Path
) -> None:
    files = tiny(tmp_path, "short")
    said = incusd.client("image", "import", str(files.metadata), str(files.rootfs))
    digest = said.split()[-1]
    with proxy.hold(r"POST /1.0/instances\?") as creation:
        making = asyncio.create_task(failure(create(incus, replace(desired, image=digest))))
        await asyncio.to_thread(creation.wait)
        await asyncio.to_thread(incusd.request, "DELETE", f"/1.0/images/{digest}")
    assert await making == no_such_image(digest)
    assert incusd.instances() == []


async def test_a_damaged_image(
    incus: Incus, incusd: Incusd, desired: DesiredInstance, tmp_path: Path
) -> None:
    """Its size is right, so it is uploaded."""
    files = tiny(tmp_path, "damaged")
    root = bytearray(files.rootfs.read_bytes())
    root[200:-3000] = bytes(len(root) - 3200)
    files.rootfs.write_bytes(root)
    use, split = ImageReference(resource="shop/prod/x", files="a b"), image.ImageFiles
    made_of = split(metadata=files.metadata, rootfs=files.rootfs)
    digest = await image.ensure(incus, made_of, use, "a text", print)
    text = await failure(create(incus, replace(desired, image=digest)))
    assert text.startswith(f"damaged image: {PLACE}, image {digest[:12]}: Failed to run: un")
    assert text.endswith(
        ". the server has exactly what was uploaded: repair the local build (`nix store repair` of "
        "`system.build.squashfs`), then run `pulumi up` again"
    )
    assert "\n" not in text
    assert incusd.instances() == []
    await image.remove_reference(incus, digest, use)
    assert digest not in incusd.images()


async def test_a_taken_name_is_refused_with_the_import_command(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    await create(incus, desired, STRANGER)
    before = incusd.instance("a")
    with pytest.raises(IncusError) as caught:
        await create(incus, desired)
    assert str(caught.value) == (
        f"name taken: {PLACE}: an instance of shop/other has that name. "
        "choose another `name`, or import the instance: `import`"
    )
    assert incusd.instance("a") == before


# --- interruptions ---------------------------------------------------------------------------


async def test_an_instance_left_by_a_killed_up_is_kept(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    await create(incus, desired)
    kept = uuid(incusd)
    await create(incus, replace(desired, config={**NESTING, "limits.memory": "100MiB"}))
    assert uuid(incusd) == kept
    assert incusd.instance("a")["config"]["limits.memory"] == "100MiB"


async def test_an_incomplete_instance_is_recreated(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    """As after a kill of incusd while it unpacked the image: each later start failed."""
    await create(incus, replace(desired, running=False))
    half = uuid(incusd)
    (incusd.folder / "d" / "containers" / "a").unlink()
    await create(incus, desired)
    assert incusd.instance("a")["status"] == "Running"
    assert uuid(incusd) != half


@pytest.mark.parametrize("when", [0.05, 0.12])
async def test_an_up_repeated_right_after_it_was_killed(
    incus: Incus, incusd: Incusd, desired: DesiredInstance, when: float
) -> None:
    task = asyncio.create_task(create(incus, desired))
    await asyncio.sleep(when)
    task.cancel()
    await asyncio.wait({task})
    await create(incus, desired)
    assert incusd.instance("a")["status"] == "Running"
    assert incusd.instances() == ["a"]


@pytest.fixture
def slow_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon may be started several times until it has its network."""
    monkeypatch.setattr("components.pipeline.process.retry.RESTART", 120)


@pytest.mark.usefixtures("slow_restart")
@pytest.mark.parametrize("when", [0.03, 0.15])
async def test_a_server_crash_at_any_moment(
    incus: Incus,
    incusd: Incusd,
    proxy: DaemonProxy,
    desired: DesiredInstance,
    when: float,
) -> None:
    task = asyncio.create_task(retry_through_restart(incus, lambda: create(incus, desired)))
    await asyncio.sleep(when)
    with proxy.down():
        await asyncio.to_thread(incusd.restart)
    await task
    assert incusd.instance("a")["status"] == "Running"
    assert incusd.instances() == ["a"]


@pytest.mark.parametrize(
    ("when", "what"),
    [
        ("before", r"POST /1.0/instances\?"),
        ("after", r"POST /1.0/instances\?"),
        ("after", "GET /1.0/operations"),
        ("after", "PUT /1.0/instances/a/state"),
    ],
)
async def test_a_broken_connection(
    incus: Incus, proxy: DaemonProxy, desired: DesiredInstance, when: str, what: str
) -> None:
    fault = proxy.disconnect(what, when=when, seconds=0.1)
    await retry_through_restart(incus, lambda: create(incus, desired))
    assert fault.triggered.is_set()
    found = await list_instances(incus)
    assert [one.running for one in found.values()] == [True]


# --- update ----------------------------------------------------------------------------------


async def test_an_update_restores_our_keys_and_keeps_those_of_others(
    incus: Incus, incusd: Incusd, proxy: DaemonProxy, desired: DesiredInstance
) -> None:
    old = replace(desired, config={**NESTING, "limits.memory": "100MiB", "limits.cpu": "1"})
    await create(incus, old)
    incusd.set("a", limits_memory="300MiB", user_note="somebody's")
    new = replace(desired, config={**NESTING, "limits.memory": "100MiB"}, devices={"x": NONE})
    await instance.update(incus, old, new, OWNER)
    found = incusd.instance("a")
    assert found["config"]["limits.memory"] == "100MiB"
    assert found["config"]["user.note"] == "somebody's"
    assert "limits.cpu" not in found["config"]
    assert found["devices"] == {"x": NONE}
    proxy.reset()
    await instance.update(incus, new, new, OWNER)
    assert proxy.changes() == []


NONE = {"type": "none"}
"""A device that masks one of a profile."""


async def test_a_concurrent_change_is_kept(
    incus: Incus, incusd: Incusd, proxy: DaemonProxy, desired: DesiredInstance
) -> None:
    await create(incus, desired)
    new = replace(desired, config={**NESTING, "limits.memory": "100MiB"})
    with proxy.hold(r"PUT /1.0/instances/a\?") as change:
        changing = asyncio.create_task(instance.update(incus, desired, new, OWNER))
        await asyncio.to_thread(change.wait)
        await asyncio.to_thread(incusd.set, "a", user_note="at the same time")
    await changing
    config = incusd.instance("a")["config"]
    assert (config["limits.memory"], config["user.note"]) == ("100MiB", "at the same time")


async def test_a_refused_update_changes_nothing(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    await create(incus, desired)
    before = incusd.instance("a")
    with pytest.raises(IncusError) as caught:
        await instance.update(incus, desired, replace(desired, profiles=("nope",)), OWNER)
    assert str(caught.value) == (
        f"Incus refused the instance: {PLACE}: Profile not found. "
        "check `hosts.web1.incus.profiles`, or `incus.profiles`, in the config"
    )
    assert incusd.instance("a") == before


@pytest.mark.parametrize("action", ["stop", "freeze"])
async def test_a_stopped_or_frozen_instance_is_started_and_can_be_deleted(
    incus: Incus, incusd: Incusd, desired: DesiredInstance, action: str
) -> None:
    await create(incus, desired)
    incusd.state("a", action)
    await instance.set_running(incus, desired, print)
    assert incusd.instance("a")["status"] == "Running"
    if action == "stop":
        await instance.set_running(incus, replace(desired, running=False), print)
        assert incusd.instance("a")["status"] == "Stopped"
    else:
        incusd.state("a", "freeze")
        await instance.delete(incus, desired, uuid(incusd))
        assert incusd.instances() == []


async def test_starting_an_instance_that_runs_by_then(
    incus: Incus, incusd: Incusd, proxy: DaemonProxy, desired: DesiredInstance
) -> None:
    """A restarted server starts the instances that ran before."""
    await create(incus, replace(desired, running=False))
    with proxy.hold("PUT /1.0/instances/a/state") as start:
        starting = asyncio.create_task(instance.set_running(incus, desired, print))
        await asyncio.to_thread(start.wait)
        await asyncio.to_thread(incusd.state, "a", "start")
    await starting
    assert incusd.instance("a")["status"] == "Running"


async def test_a_rename_keeps_root_mac_and_address(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    await create(incus, desired)
    before = (uuid(incusd), mac(incusd), incusd.address("a"))
    seen, new = await get_instance(incus, "a"), replace(desired, name="b")
    assert seen
    await instance.rename(incus, seen, new, print)
    await instance.set_running(incus, new, print)
    assert incusd.instances() == ["b"]
    assert (uuid(incusd, "b"), mac(incusd, "b"), incusd.address("b")) == before


async def test_a_rename_to_a_taken_name_is_refused(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    await asyncio.gather(
        create(incus, desired), create(incus, replace(desired, name="b"), STRANGER)
    )
    seen = await get_instance(incus, "a")
    assert seen
    with pytest.raises(IncusError) as caught:
        await instance.rename(incus, seen, replace(desired, name="b"), print)
    assert str(caught.value) == (
        "name taken: b (local, project default): cannot rename a: another instance has that name. "
        "choose another `name`"
    )
    assert incusd.instance("a")["status"] == incusd.instance("b")["status"] == "Running"


async def test_a_rebuild_keeps_mac_address_and_keys_of_others(
    incus: Incus, incusd: Incusd, images: Images, desired: DesiredInstance
) -> None:
    await create(incus, desired)
    before, address = await get_instance(incus, "a"), incusd.address("a")
    incusd.set("a", user_note="somebody's")
    kept = (uuid(incusd), mac(incusd))
    await instance.rebuild(incus, replace(desired, image=images["two"]), print)
    await instance.set_running(incus, desired, print)
    assert (uuid(incusd), mac(incusd), incusd.address("a")) == (*kept, address)
    assert incusd.client("file", "pull", "a/flavour", "-") == "two"
    assert incusd.instance("a")["config"]["user.note"] == "somebody's"
    after = await get_instance(incus, "a")
    assert before
    assert after
    assert before.root != after.root


# --- delete ----------------------------------------------------------------------------------


async def test_a_protected_instance_is_not_deleted(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    key = "security.protection.delete"
    await create(incus, replace(desired, config={**NESTING, key: "true"}))
    with pytest.raises(IncusError) as caught:
        await instance.delete(incus, desired, uuid(incusd))
    assert str(caught.value) == (
        f"not deleted: {PLACE}: {key} is set. "
        "to delete it, first set `protect: false` and run `pulumi up`"
    )
    assert incusd.instance("a")["status"] == "Running"
    await instance.update(incus, replace(desired, config={**NESTING, key: "true"}), desired, OWNER)
    await instance.delete(incus, desired, uuid(incusd))
    assert incusd.instances() == []


async def test_deleting_a_missing_instance_spares_another_of_its_name(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    await create(incus, desired)
    ours = uuid(incusd)
    incusd.clear(images=False)
    await instance.delete(incus, desired, ours)
    await create(incus, desired, STRANGER)
    await instance.delete(incus, desired, ours)
    assert incusd.instance("a")["status"] == "Running"


async def test_a_renamed_instance_is_found_by_uuid(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    await create(incus, desired)
    ours = uuid(incusd)
    incusd.state("a", "stop")
    incusd.request("POST", "/1.0/instances/a", {"name": "c"})
    seen = await find_instance(incus, ours, "a", "b")
    assert seen
    assert seen.name == "c"
    await instance.delete(incus, desired, ours)
    assert incusd.instances() == []


# --- boot ------------------------------------------------------------------------------------


async def wait_until_booted(
    incus: Incus, seconds: float = 20, *, ssh: bool = True
) -> Endpoint | None:
    return await boot.wait_until_booted(incus, "a", seconds=seconds, ssh=ssh, say=print)


async def test_a_booted_instance_has_an_endpoint_and_no_probe_output_is_left(
    incus: Incus, incusd: Incusd, images: Images, desired: DesiredInstance
) -> None:
    """A failed unit is no reason to wait: the deployment may fix it."""
    await create(incus, replace(desired, image=images["degraded"]))
    found = await wait_until_booted(incus)
    assert found
    assert found.address.text == incusd.address("a")
    key = incusd.client("file", "pull", "a/etc/ssh/ssh_host_ed25519_key.pub", "-")
    assert f"{found.host_key.line} tiny" == key
    await instance.store_host_key(incus, desired, found.host_key.line)
    (seen,) = (await list_instances(incus)).values()
    assert (seen.address, seen.host_key) == (found.address.text, found.host_key.line)
    assert incusd.request("GET", "/1.0/instances/a/logs/exec-output") in (None, [])


async def test_a_boot_timeout_is_one_message(
    incus: Incus, images: Images, desired: DesiredInstance
) -> None:
    await create(incus, replace(desired, image=images["never"]))
    began = time.monotonic()
    with pytest.raises(IncusError) as caught:
        await wait_until_booted(incus, 5)
    assert time.monotonic() - began < 40
    assert str(caught.value) == (
        f"the instance is not up: {PLACE}: systemd says 'starting' after 5 s. "
        "inspect it with `incus exec local:a --project default -- sh`"
    )


async def test_an_instance_without_a_host_key_is_up_only_without_ssh(
    incus: Incus, incusd: Incusd, images: Images, desired: DesiredInstance
) -> None:
    await create(incus, replace(desired, image=images["keyless"]))
    assert await wait_until_booted(incus, ssh=False) is None
    assert incusd.address("a"), "it has a lease"
    with pytest.raises(IncusError) as caught:
        await wait_until_booted(incus, 1)
    assert str(caught.value) == (
        f"the instance is not up: {PLACE}: /etc/ssh/ssh_host_ed25519_key.pub: Not Found after 1 s. "
        "inspect it with `incus exec local:a --project default -- sh`"
    )


async def test_a_stopped_instance_does_not_boot(incus: Incus, desired: DesiredInstance) -> None:
    await create(incus, replace(desired, running=False))
    with pytest.raises(IncusError) as caught:
        await wait_until_booted(incus, 1)
    assert str(caught.value) == (
        f"the instance is not up: {PLACE}: Instance is not running after 1 s. "
        "inspect it with `incus exec local:a --project default -- sh`"
    )


async def test_instances_of_other_projects_keep_an_image(
    incus: Incus, incusd: Incusd, desired: DesiredInstance
) -> None:
    """Projects may share images: one without the feature uses those of the default project."""
    incusd.request("POST", "/1.0/projects", {"name": "p", "config": {"features.images": "false",
               "features.profiles": "false"}})  # fmt: skip
    remote = incus.remote
    try:
        async with Incus(remote, "p") as other:
            await create(other, desired)
            use = ImageReference(resource="shop/prod/x", files="a b")
            digest = desired.image
            properties = {**incusd.images()[digest], "user.flakeup": "image"}
            incusd.request("PATCH", f"/1.0/images/{digest}", {"properties": properties})
            await image.remove_reference(incus, digest, use)
            assert await image.prune(incus) == []
            assert digest in incusd.images()
            seen = await get_instance(other, "a")
            assert seen
            await instance.delete(other, desired, seen.uuid)
    finally:
        incusd.request("DELETE", "/1.0/projects/p")
