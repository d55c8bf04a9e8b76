"""The provider's images and instances over gRPC on a real Incus: what the engine receives."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.incusd import Incusd, incusd
from harness.daemons.tiny_image import tiny
from harness.providers.incus_driver import IMAGE, INSTANCE, Changes, ResourceDriver, observed
from harness.providers.plugin_driver import UNKNOWN, Json, PluginError, failing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["incusd"]
pytestmark = pytest.mark.contract
NOTHING = Changes(paths=frozenset(), replaces=frozenset(), deletes_first=True)
OWNER = "project/dev"
LISTING = "GET /1.0/instances?recursion=2&project=default"
Images = dict[str, str]


@pytest.fixture(scope="module")
def images(incusd: Incusd, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Fingerprints of images that the server already has."""
    folder = tmp_path_factory.mktemp("images")
    found = {}
    for name, state in (("one", "running"), ("two", "running"), ("never", "starting")):
        files = tiny(folder, name, state=state)
        said = incusd.client("image", "import", str(files.metadata), str(files.rootfs))
        found[name] = said.split()[-1]
    return found


@pytest.fixture
def proxy(incusd: Incusd) -> Iterator[DaemonProxy]:
    with DaemonProxy(incusd.folder / "proxy", incusd.socket) as before:
        yield before
    incusd.clear(images=False)


@pytest.fixture
def inputs(images: Images) -> dict[str, Json]:
    """The inputs of an instance, as from the program."""
    return {
        "remote": "local",
        "project": "default",
        "name": "a",
        "image": images["one"],
        "onImageChange": "ignore",
        "profiles": ["default"],
        "config": {"security.nesting": "true"},
        "devices": {},
        "running": True,
        "ssh": True,
        "bootTimeout": 20,
    }


@pytest.fixture
def driver(proxy: DaemonProxy) -> ResourceDriver:
    return ResourceDriver(kind=INSTANCE, socket=proxy.path, name="web1-instance")


@pytest.fixture
def existing(driver: ResourceDriver, inputs: dict[str, Json]) -> ResourceDriver:
    driver.create(inputs)
    return driver


def unavailable(socket: Path) -> str:
    return (
        f"cannot reach Incus: local ({socket}): [Errno 2] No such file or directory. "
        "check that incusd is running, and that `incus list` works for you"
    )


def changed(*paths: str, replaces: bool = False) -> Changes:
    tops = frozenset(path.partition(".")[0] for path in paths)
    return Changes(
        paths=frozenset(paths), replaces=tops if replaces else frozenset(), deletes_first=True
    )


# --- an image --------------------------------------------------------------------------------


def add_to_store(path: object) -> str:
    """Add a file to the store."""
    done = subprocess.run(
        ("nix-store", "--add", str(path)), check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


def test_an_image_is_uploaded_once_restored_and_deleted(
    incusd: Incusd,
    proxy: DaemonProxy,
    parts: dict[str, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if parts["nix"]["state"] != "ready":
        pytest.skip(f"no nix: {parts['nix']['reason']}; {parts['nix']['remedy']}")
    files = tiny(tmp_path_factory.mktemp("sent"), "sent")
    inputs = {
        "remote": "local",
        "project": "default",
        "metadata": add_to_store(files.metadata),
        "rootfs": add_to_store(files.rootfs),
        "system": "base",
    }
    before = incusd.images()
    image = ResourceDriver(kind=IMAGE, socket=proxy.path, name="base-image")
    assert image.preview_create(inputs)["fingerprint"] == UNKNOWN
    assert proxy.requests() == []
    image.create(inputs)
    (digest,) = incusd.images().keys() - before.keys()
    assert image.identity == f"local/default/{digest}"
    assert image.state["fingerprint"] == digest
    properties = incusd.images()[digest]
    assert re.fullmatch(r"base \([0-9a-z]{32}\), uploaded by flakeup", properties["description"])
    assert f"user.flakeup.used-by.{OWNER}/base-image" in properties
    assert image.diff().paths == set()

    incusd.request("DELETE", f"/1.0/images/{digest}")
    assert not image.read()
    gone = image.diff()
    assert gone.paths == {"fingerprint"}
    assert not gone.replaces, "the fingerprint stays the same"
    assert image.update(preview=True)["fingerprint"] == digest
    image.update()
    assert digest in incusd.images()
    assert image.read()

    other_root = image.diff({**inputs, "rootfs": inputs["metadata"]})
    assert other_root.replaces == {"rootfs"}
    with proxy.down():
        assert image.diff().paths == set()
    assert image.messages == [f"{unavailable(proxy.path)}; using the state instead"]
    image.delete()
    assert incusd.images() == before


def test_an_image_cannot_be_imported(proxy: DaemonProxy) -> None:
    image = ResourceDriver(kind=IMAGE, socket=proxy.path, identity="local/default/abc")
    with failing("an image cannot be imported: `pulumi up` uses one that the server already has"):
        image.read()


# --- an instance -----------------------------------------------------------------------------


def test_a_preview_creates_nothing_and_a_second_run_changes_nothing(
    incusd: Incusd,
    proxy: DaemonProxy,
    driver: ResourceDriver,
    inputs: dict[str, Json],
    images: Images,
) -> None:
    told = ("address", "hostKey", "madeFrom", "root", "uuid")
    assert {name: driver.preview_create(inputs)[name] for name in told} == dict.fromkeys(
        told, UNKNOWN
    )
    assert set(proxy.requests()) == {LISTING}, "whether its name is free"
    driver.create(inputs)
    found = incusd.instance("a")
    assert driver.identity == "local/default/a"
    assert driver.state["address"] == incusd.address("a")
    assert driver.state["hostKey"] == found["config"]["user.flakeup.host-key"]
    assert driver.state["madeFrom"] == images["one"]
    assert driver.state["uuid"] == found["config"]["volatile.uuid"]
    assert driver.diff(inputs) == NOTHING
    proxy.reset()
    with driver.run() as plugin:
        for _ in range(3):
            assert observed(plugin) == {
                "a": {
                    "address": driver.state["address"],
                    "hostKey": driver.state["hostKey"],
                    "owner": OWNER,
                    "running": True,
                }
            }
            assert driver.diff_in(plugin) == NOTHING
    assert proxy.requests() == [LISTING], "one listing for all"
    state = dict(driver.state)
    assert driver.read()
    assert driver.state == state
    assert driver.diff() == NOTHING
    assert driver.update(preview=True) == state
    assert proxy.changes() == []
    driver.delete()
    assert incusd.instances() == []
    driver.delete()


def test_drift_is_detected_and_corrected(incusd: Incusd, existing: ResourceDriver) -> None:
    """All on one instance: each manual change is corrected before the next."""
    uuid = existing.state["uuid"]
    for change, paths in MANUAL_CHANGES:
        change(incusd)
        before, root = existing.state["root"], existing.update(preview=True)["root"]
        assert existing.up() == changed(*paths)
        assert root == existing.state["root"], "known in the preview"
        assert (root != before) == ("root" in paths)
        found = incusd.instance("a")
        assert (found["status"], found["profiles"]) == ("Running", ["default"])
        assert found["config"]["security.nesting"] == "true"
        assert found["config"]["user.flakeup.owner"] == OWNER
        assert found["config"]["volatile.uuid"] == uuid
    incusd.set("a", user_note="somebody's", limits_cpu="1")
    assert existing.diff() == NOTHING, "keys that others have added stay"


def set_keys(incusd: Incusd) -> None:
    incusd.set("a", security_nesting="false", user_flakeup_owner="project/other")
    incusd.request("POST", "/1.0/profiles", {"name": "more", "config": {}, "devices": {}})
    incusd.request("PATCH", "/1.0/instances/a", {"profiles": ["default", "more"]})


def stop(incusd: Incusd) -> None:
    incusd.set("a", security_nesting="")
    incusd.state("a", "stop")


def rename(incusd: Incusd) -> None:
    incusd.state("a", "stop")
    incusd.request("POST", "/1.0/instances/a", {"name": "moved"})


def restore(incusd: Incusd) -> None:
    incusd.request("POST", "/1.0/instances/a/snapshots", {"name": "s"})
    incusd.state("a", "stop")
    incusd.request("PUT", "/1.0/instances/a", {"restore": "s"})


MANUAL_CHANGES: tuple[tuple[Callable[[Incusd], None], set[str]], ...] = (
    (set_keys, {"config.security.nesting", "owner", "profiles"}),
    (stop, {"config.security.nesting", "running"}),
    (lambda incusd: incusd.state("a", "freeze"), {"running"}),
    (rename, {"name", "running"}),
    (restore, {"root", "running"}),
)


def test_a_deleted_instance_is_replaced(
    incusd: Incusd, existing: ResourceDriver, inputs: dict[str, Json]
) -> None:
    incusd.clear(images=False)
    gone = changed("name", replaces=True)
    assert existing.diff() == gone
    assert gone.deletes_first
    with failing("no such instance: a (local, project default): the instance of this stack has "):
        existing.update()
    existing.delete()
    address = existing.state["address"]
    existing.create(inputs)
    assert existing.state["address"] == address, "it has the same MAC address"


def test_another_instance_of_the_same_name_is_left_alone(
    incusd: Incusd, existing: ResourceDriver, inputs: dict[str, Json]
) -> None:
    incusd.clear(images=False)
    other = ResourceDriver(kind=INSTANCE, socket=existing.socket, name="web1-instance")
    other.create(inputs)
    incusd.set("a", user_flakeup_owner="")
    stranger = incusd.instance("a")
    assert existing.diff() == changed("name", replaces=True)
    with failing("no such instance: a"):
        existing.update({**inputs, "config": {"security.nesting": "false"}})
    existing.delete()
    parent = "urn:pulumi:dev::project::flakeup:index:Host::web1"
    with failing(
        "name taken: a (local, project default): an instance that is not part of this stack has "
        "that name. choose another `name`, or import the instance: "
        "`pulumi import flakeup:incus:Instance web1-instance local/default/a "
        f"--parent web1='{parent}' --protect=false --generate-code=false`"
    ):
        existing.create(inputs)
    assert incusd.instance("a") == stranger


def test_the_policy_decides_what_a_new_image_does(
    incusd: Incusd, existing: ResourceDriver, inputs: dict[str, Json], images: Images
) -> None:
    new = {**inputs, "image": images["two"]}
    kept = (existing.state["uuid"], existing.state["address"])
    assert existing.diff(new) == NOTHING
    assert existing.diff({**new, "image": UNKNOWN}) == NOTHING
    existing.update(new)
    assert existing.state["madeFrom"] == images["one"], "`ignore` keeps the root"

    rebuild = {**new, "onImageChange": "rebuild"}
    assert existing.diff({**rebuild, "image": UNKNOWN}) == changed("image")
    planned = existing.update(rebuild, preview=True)
    assert planned["uuid"] == kept[0]
    assert {planned[name] for name in ("address", "hostKey", "root")} == {UNKNOWN}
    before = dict(existing.state)
    assert existing.up(rebuild) == changed("image"), "although the input was the same before"
    assert incusd.client("file", "pull", "a/flavour", "-") == "two"
    assert (existing.state["uuid"], existing.state["address"]) == kept
    assert existing.state["madeFrom"] == images["two"]
    assert existing.state["hostKey"] != before["hostKey"]
    assert existing.state["root"] != before["root"]
    assert existing.diff(rebuild) == NOTHING

    replace = {**inputs, "onImageChange": "replace"}
    assert existing.diff(replace) == changed("image", replaces=True)
    assert existing.diff({**replace, "image": images["two"]}) == NOTHING


def test_a_new_name_is_an_update_and_another_project_a_replacement(
    incusd: Incusd, existing: ResourceDriver, inputs: dict[str, Json]
) -> None:
    renamed = {**inputs, "name": "b"}
    assert existing.diff({**inputs, "bootTimeout": 600}) == NOTHING, (
        "a longer timeout is no change on the server"
    )
    kept = {name: existing.state[name] for name in ("uuid", "address", "hostKey", "root")}
    assert existing.up(renamed) == changed("name")
    assert incusd.instances() == ["b"]
    assert {name: existing.state[name] for name in kept} == kept
    assert existing.diff() == NOTHING
    assert existing.diff({**renamed, "project": "p"}) == changed("project", replaces=True)


def test_a_disabled_instance_is_left_alone(
    incusd: Incusd, existing: ResourceDriver, inputs: dict[str, Json]
) -> None:
    incusd.state("a", "stop")
    assert existing.diff(ignored=["*"]) == NOTHING
    assert existing.diff(inputs) == changed("running")


def test_a_refresh_reads_the_current_state(incusd: Incusd, existing: ResourceDriver) -> None:
    key, key_file = existing.state["hostKey"], "a/etc/ssh/ssh_host_ed25519_key.pub"
    incusd.client("exec", "a", "--", "/bin/sh", "-c", "rm /etc/ssh/*.pub")
    incusd.state("a", "stop")
    incusd.set("a", security_nesting="false")
    assert existing.read()
    assert existing.inputs["running"] is False
    assert existing.inputs["config"] == {"security.nesting": "false"}
    assert existing.state["hostKey"] == key, "not readable while it is stopped"
    incusd.state("a", "start")
    incusd.address("a")
    assert existing.read()
    assert existing.inputs["running"] is True
    assert existing.state["hostKey"] != key
    assert incusd.client("file", "pull", key_file, "-") == f"{existing.state['hostKey']} tiny"
    assert incusd.instance("a")["config"]["user.flakeup.host-key"] == existing.state["hostKey"]
    incusd.clear(images=False)
    assert not existing.read()


# --- import ----------------------------------------------------------------------------------


def test_an_import_changes_nothing_and_the_next_up_takes_ownership(
    incusd: Incusd,
    proxy: DaemonProxy,
    driver: ResourceDriver,
    inputs: dict[str, Json],
    images: Images,
) -> None:
    incusd.client("init", images["one"], "a", "--config", "limits.cpu=1")
    incusd.state("a", "start")
    address = incusd.address("a")
    proxy.reset()
    driver.identity = "local/default/a"
    assert driver.read()
    assert proxy.changes() == [], "an import changes nothing on the server"
    assert driver.inputs == {
        "remote": "local",
        "project": "default",
        "name": "a",
        "image": images["one"],
        "profiles": ["default"],
        "config": {"limits.cpu": "1"},
        "devices": {},
        "running": True,
        "onImageChange": "ignore",
        "ssh": True,
        "bootTimeout": 120.0,
        "owner": "",
    }
    assert driver.state["address"] == address
    paths = {"config.security.nesting", 'config["limits.cpu"]', 'config["security.nesting"]'}
    assert driver.diff(inputs).paths <= {*paths, "owner"}
    assert "owner" in driver.diff(inputs).paths
    uuid = driver.state["uuid"]
    driver.update(inputs)
    assert driver.diff() == NOTHING
    config = incusd.instance("a")["config"]
    assert (config["user.flakeup.owner"], config["volatile.uuid"]) == (OWNER, uuid)


def test_an_invalid_id_is_refused(driver: ResourceDriver) -> None:
    for identity in ("local/default", "//a", "a/b/c/d"):
        driver.identity = identity
        with failing(
            f"invalid id: {identity!r}. write REMOTE/PROJECT/NAME, such as local/default/web1"
        ):
            driver.read()


def test_a_missing_instance_is_not_imported(driver: ResourceDriver) -> None:
    driver.identity = "local/default/nobody"
    assert not driver.read()


# --- failures --------------------------------------------------------------------------------


def test_an_unavailable_server_is_one_warning_and_the_state_is_used(
    proxy: DaemonProxy, existing: ResourceDriver
) -> None:
    with proxy.down():
        with existing.run() as plugin:
            assert [existing.diff_in(plugin) for _ in range(3)] == [NOTHING] * 3
            with failing(unavailable(proxy.path)):
                observed(plugin)
        assert existing.messages == [f"{unavailable(proxy.path)}; using the state instead"]
        assert existing.update(preview=True) == existing.state


def test_an_instance_that_did_not_boot_is_in_the_state_and_waited_for_again(
    incusd: Incusd, driver: ResourceDriver, inputs: dict[str, Json], images: Images
) -> None:
    desired = {**inputs, "image": images["never"], "bootTimeout": 5}
    began = time.monotonic()
    with failing(
        "the instance is not up: a (local, project default): systemd says 'starting' after 5 s. "
        "inspect it with `incus exec local:a --project default -- sh`"
    ):
        driver.create(desired)
    assert time.monotonic() - began < 40
    assert driver.identity == "local/default/a"
    assert driver.state["uuid"] == incusd.instance("a")["config"]["volatile.uuid"]
    with failing("systemd says 'starting' after 5 s"):
        driver.update(desired)
    incusd.client("exec", "a", "--", "/bin/sh", "-c", "echo running >/state")
    driver.update(desired)
    assert driver.state["address"] == incusd.address("a")
    assert driver.diff() == NOTHING


def test_a_cancelled_creation_is_continued(
    incusd: Incusd, proxy: DaemonProxy, driver: ResourceDriver, inputs: dict[str, Json]
) -> None:
    with driver.run() as plugin, proxy.hold("PUT /1.0/instances/a/state") as start:

        def cancel() -> None:
            start.wait()
            plugin.cancel()

        threading.Thread(target=cancel).start()
        with failing("context canceled"):
            plugin.create(INSTANCE, inputs, name=driver.name)
    driver.create(inputs)
    assert incusd.instances() == ["a"]
    assert driver.diff() == NOTHING


def test_a_refused_instance_is_not_in_the_state(
    incusd: Incusd, driver: ResourceDriver, inputs: dict[str, Json]
) -> None:
    with failing('Requested profile "nope" doesn\'t exist. check `hosts.web1.incus.profiles`'):
        driver.create({**inputs, "profiles": ["nope"]})
    assert driver.identity == ""
    assert incusd.instances() == []


def test_inputs_are_checked(driver: ResourceDriver, inputs: dict[str, Json]) -> None:
    with driver.run() as plugin:
        _, failures = plugin.check(INSTANCE, {**inputs, "onImageChange": "later", "cpus": 2})
        assert len(failures) == 2
        assert all("onImageChange" in one or "cpus" in one for one in failures)
        missing = {key: value for key, value in inputs.items() if key not in {"name", "image"}}
        assert len(plugin.check(INSTANCE, missing)[1]) == 2


def test_an_update_without_a_server_fails_after_the_time_of_a_restart(
    without_server: Future[tuple[str, float]],
) -> None:
    text, seconds = without_server.result(60)
    assert re.fullmatch(re.escape(unavailable(Path("X"))).replace("X", r"/\S+/socket"), text)
    assert 15 < seconds < 40


@pytest.fixture(scope="module", autouse=True)
def without_server(
    incusd: Incusd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[tuple[str, float]]]:
    """An update without a server, which runs in the background while other tests run."""
    assert incusd.socket.exists()
    inputs = {"remote": "local", "project": "default", "name": "a", "image": "0" * 64}
    nobody = ResourceDriver(
        kind=INSTANCE,
        socket=tmp_path_factory.mktemp("nobody") / "socket",
        inputs=inputs,
        state={**inputs, "uuid": "one"},
        identity="local/default/a",
    )

    def update() -> tuple[str, float]:
        began = time.monotonic()
        with pytest.raises(PluginError) as caught:
            nobody.update({**inputs, "name": "b"})
        return str(caught.value), time.monotonic() - began

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(update)
