"""The plugin's image and instance over gRPC, on a real Incus: what the engine is told."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.daemons.incus_proxy import IncusProxy
from harness.daemons.incusd import Incusd, incusd
from harness.daemons.tiny_image import tiny
from harness.providers.incus_driver import IMAGE, INSTANCE, Changes, Driven, observed
from harness.providers.plugin_driver import UNKNOWN, Json, PluginError, failing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["incusd"]
pytestmark = pytest.mark.contract
NOTHING = Changes(paths=frozenset(), replaces=frozenset(), deletes_first=True)
OWNER = "project/dev"
Images = dict[str, str]


@pytest.fixture(scope="module")
def images(incusd: Incusd, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Fingerprints of images that are there already."""
    folder = tmp_path_factory.mktemp("images")
    found = {}
    for name, state in (("one", "running"), ("two", "running"), ("never", "starting")):
        files = tiny(folder, name, state=state)
        said = incusd.client("image", "import", str(files.metadata), str(files.rootfs))
        found[name] = said.split()[-1]
    return found


@pytest.fixture
def proxy(incusd: Incusd) -> Iterator[IncusProxy]:
    with IncusProxy(incusd.folder / "proxy", incusd.socket) as before:
        yield before
    incusd.clear(images=False)


@pytest.fixture
def given(images: Images) -> dict[str, Json]:
    """The inputs of an instance, as the program gives them."""
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
def driven(proxy: IncusProxy) -> Driven:
    return Driven(kind=INSTANCE, socket=proxy.place, name="web1-instance")


@pytest.fixture
def made(driven: Driven, given: dict[str, Json]) -> Driven:
    driven.create(given)
    return driven


def away(socket: Path) -> str:
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


def stored(path: object) -> str:
    """A file of its own in the store."""
    done = subprocess.run(
        ("nix-store", "--add", str(path)), check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


def test_an_image_is_sent_kept_sent_again_and_given_up(
    incusd: Incusd,
    proxy: IncusProxy,
    parts: dict[str, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if parts["nix"]["state"] != "ready":
        pytest.skip(f"no nix: {parts['nix']['reason']}; {parts['nix']['remedy']}")
    files = tiny(tmp_path_factory.mktemp("sent"), "sent")
    inputs = {
        "remote": "local",
        "project": "default",
        "metadata": stored(files.metadata),
        "rootfs": stored(files.rootfs),
        "system": "base",
    }
    before = incusd.images()
    image = Driven(kind=IMAGE, socket=proxy.place, name="base-image")
    assert image.planned(inputs)["fingerprint"] == UNKNOWN
    assert proxy.seen() == []
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
    assert not gone.replaces, "it will be the same one"
    assert image.update(preview=True)["fingerprint"] == digest
    image.update()
    assert digest in incusd.images()
    assert image.read()

    moved = image.diff({**inputs, "rootfs": inputs["metadata"]})
    assert moved.replaces == {"rootfs"}
    with proxy.gone():
        assert image.diff().paths == set()
    assert image.said == [f"{away(proxy.place)}; using the state instead"]
    image.delete()
    assert incusd.images() == before


def test_an_image_is_not_imported(proxy: IncusProxy) -> None:
    image = Driven(kind=IMAGE, socket=proxy.place, identity="local/default/abc")
    with failing("an image cannot be imported: `pulumi up` uses one that the server already has"):
        image.read()


# --- an instance -----------------------------------------------------------------------------


def test_a_preview_makes_nothing_and_what_is_made_is_no_change(
    incusd: Incusd, proxy: IncusProxy, driven: Driven, given: dict[str, Json], images: Images
) -> None:
    told = ("address", "hostKey", "madeFrom", "root", "uuid")
    assert {name: driven.planned(given)[name] for name in told} == dict.fromkeys(told, UNKNOWN)
    assert proxy.seen() == []
    driven.create(given)
    found = incusd.instance("a")
    assert driven.identity == "local/default/a"
    assert driven.state["address"] == incusd.address("a")
    assert driven.state["hostKey"] == found["config"]["user.flakeup.host-key"]
    assert driven.state["madeFrom"] == images["one"]
    assert driven.state["uuid"] == found["config"]["volatile.uuid"]
    assert driven.diff(given) == NOTHING
    proxy.forget()
    with driven.run() as plugin:
        for _ in range(3):
            assert observed(plugin) == {
                "a": {
                    "address": driven.state["address"],
                    "hostKey": driven.state["hostKey"],
                    "owner": OWNER,
                    "running": True,
                }
            }
            assert driven.diff_in(plugin) == NOTHING
    assert proxy.seen() == ["GET /1.0/instances?recursion=2&project=default"], "once for all"
    state = dict(driven.state)
    assert driven.read()
    assert driven.state == state
    assert driven.diff() == NOTHING
    assert driven.update(preview=True) == state
    assert proxy.changes() == []
    driven.delete()
    assert incusd.instances() == []
    driven.delete()


def test_what_was_changed_by_hand_is_seen_and_put_back(incusd: Incusd, made: Driven) -> None:
    """One instance for all of it; what one hand has done is put back before the next."""
    uuid = made.state["uuid"]
    for hand, paths in HANDS:
        hand(incusd)
        before, root = made.state["root"], made.update(preview=True)["root"]
        assert made.up() == changed(*paths)
        assert root == made.state["root"], "known in the preview"
        assert (root != before) == ("root" in paths)
        found = incusd.instance("a")
        assert (found["status"], found["profiles"]) == ("Running", ["default"])
        assert found["config"]["security.nesting"] == "true"
        assert found["config"]["user.flakeup.owner"] == OWNER
        assert found["config"]["volatile.uuid"] == uuid
    incusd.set("a", user_note="somebody's", limits_cpu="1")
    assert made.diff() == NOTHING, "what others have added is theirs"


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


HANDS: tuple[tuple[Callable[[Incusd], None], set[str]], ...] = (
    (set_keys, {"config.security.nesting", "owner", "profiles"}),
    (stop, {"config.security.nesting", "running"}),
    (lambda incusd: incusd.state("a", "freeze"), {"running"}),
    (rename, {"name", "running"}),
    (restore, {"root", "running"}),
)


def test_one_that_is_gone_is_replaced(incusd: Incusd, made: Driven, given: dict[str, Json]) -> None:
    incusd.clear(images=False)
    gone = changed("name", replaces=True)
    assert made.diff() == gone
    assert gone.deletes_first
    with failing("no such instance: a (local, project default): the instance of this stack has "):
        made.update()
    made.delete()
    address = made.state["address"]
    made.create(given)
    assert made.state["address"] == address, "its MAC is the same"


def test_a_stranger_of_the_same_name_is_neither_changed_nor_removed(
    incusd: Incusd, made: Driven, given: dict[str, Json]
) -> None:
    incusd.clear(images=False)
    other = Driven(kind=INSTANCE, socket=made.socket, name="web1-instance")
    other.create(given)
    incusd.set("a", user_flakeup_owner="")
    stranger = incusd.instance("a")
    assert made.diff() == changed("name", replaces=True)
    with failing("no such instance: a"):
        made.update({**given, "config": {"security.nesting": "false"}})
    made.delete()
    parent = "urn:pulumi:dev::project::flakeup:index:Host::web1"
    with failing(
        "name taken: a (local, project default): an instance that is not part of this stack has "
        "that name. choose another `name`, or import the instance: "
        "`pulumi import flakeup:incus:Instance web1-instance local/default/a "
        f"--parent web1='{parent}' --protect=false --generate-code=false`"
    ):
        made.create(given)
    assert incusd.instance("a") == stranger


def test_what_a_new_image_means_is_what_the_policy_says(
    incusd: Incusd, made: Driven, given: dict[str, Json], images: Images
) -> None:
    new = {**given, "image": images["two"]}
    kept = (made.state["uuid"], made.state["address"])
    assert made.diff(new) == NOTHING
    assert made.diff({**new, "image": UNKNOWN}) == NOTHING
    made.update(new)
    assert made.state["madeFrom"] == images["one"], "with ignore nothing has happened to it"

    rebuild = {**new, "onImageChange": "rebuild"}
    assert made.diff({**rebuild, "image": UNKNOWN}) == changed("image")
    planned = made.update(rebuild, preview=True)
    assert planned["uuid"] == kept[0]
    assert {planned[name] for name in ("address", "hostKey", "root")} == {UNKNOWN}
    before = dict(made.state)
    assert made.up(rebuild) == changed("image"), "though it was wanted before already"
    assert incusd.client("file", "pull", "a/flavour", "-") == "two"
    assert (made.state["uuid"], made.state["address"]) == kept
    assert made.state["madeFrom"] == images["two"]
    assert made.state["hostKey"] != before["hostKey"]
    assert made.state["root"] != before["root"]
    assert made.diff(rebuild) == NOTHING

    replace = {**given, "onImageChange": "replace"}
    assert made.diff(replace) == changed("image", replaces=True)
    assert made.diff({**replace, "image": images["two"]}) == NOTHING


def test_a_new_name_is_an_update_and_another_project_is_not(
    incusd: Incusd, made: Driven, given: dict[str, Json]
) -> None:
    renamed = {**given, "name": "b"}
    assert made.diff({**given, "bootTimeout": 600}) == NOTHING, "who only waits longer"
    kept = {name: made.state[name] for name in ("uuid", "address", "hostKey", "root")}
    assert made.up(renamed) == changed("name")
    assert incusd.instances() == ["b"]
    assert {name: made.state[name] for name in kept} == kept
    assert made.diff() == NOTHING
    assert made.diff({**renamed, "project": "p"}) == changed("project", replaces=True)


def test_one_that_is_left_out_is_left_alone(
    incusd: Incusd, made: Driven, given: dict[str, Json]
) -> None:
    incusd.state("a", "stop")
    assert made.diff(ignored=["*"]) == NOTHING
    assert made.diff(given) == changed("running")


def test_a_refresh_reads_what_is_there(incusd: Incusd, made: Driven) -> None:
    key, key_file = made.state["hostKey"], "a/etc/ssh/ssh_host_ed25519_key.pub"
    incusd.client("exec", "a", "--", "/bin/sh", "-c", "rm /etc/ssh/*.pub")
    incusd.state("a", "stop")
    incusd.set("a", security_nesting="false")
    assert made.read()
    assert made.inputs["running"] is False
    assert made.inputs["config"] == {"security.nesting": "false"}
    assert made.state["hostKey"] == key, "one that is stopped says nothing"
    incusd.state("a", "start")
    incusd.address("a")
    assert made.read()
    assert made.inputs["running"] is True
    assert made.state["hostKey"] != key
    assert incusd.client("file", "pull", key_file, "-") == f"{made.state['hostKey']} tiny"
    assert incusd.instance("a")["config"]["user.flakeup.host-key"] == made.state["hostKey"]
    incusd.clear(images=False)
    assert not made.read()


# --- taken into a stack ----------------------------------------------------------------------


def test_an_import_takes_it_as_it_is_and_the_next_up_makes_it_ours(
    incusd: Incusd, proxy: IncusProxy, driven: Driven, given: dict[str, Json], images: Images
) -> None:
    incusd.client("init", images["one"], "a", "--config", "limits.cpu=1")
    incusd.state("a", "start")
    address = incusd.address("a")
    proxy.forget()
    driven.identity = "local/default/a"
    assert driven.read()
    assert proxy.changes() == [], "whoever looks changes nothing"
    assert driven.inputs == {
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
    }
    assert driven.state["address"] == address
    paths = {"config.security.nesting", 'config["limits.cpu"]', 'config["security.nesting"]'}
    assert driven.diff(given).paths <= {*paths, "owner"}
    assert "owner" in driven.diff(given).paths
    uuid = driven.state["uuid"]
    driven.update(given)
    assert driven.diff() == NOTHING
    config = incusd.instance("a")["config"]
    assert (config["user.flakeup.owner"], config["volatile.uuid"]) == (OWNER, uuid)


def test_an_id_that_is_none_is_refused(driven: Driven) -> None:
    for identity in ("local/default", "//a", "a/b/c/d"):
        driven.identity = identity
        with failing(
            f"invalid id: {identity!r}. write REMOTE/PROJECT/NAME, such as local/default/web1"
        ):
            driven.read()


def test_an_instance_that_is_not_there_is_not_imported(driven: Driven) -> None:
    driven.identity = "local/default/nobody"
    assert not driven.read()


# --- what goes wrong -------------------------------------------------------------------------


def test_a_server_that_is_away_is_one_warning_and_the_states_word_counts(
    proxy: IncusProxy, made: Driven
) -> None:
    with proxy.gone():
        with made.run() as plugin:
            assert [made.diff_in(plugin) for _ in range(3)] == [NOTHING] * 3
            with failing(away(proxy.place)):
                observed(plugin)
        assert made.said == [f"{away(proxy.place)}; using the state instead"]
        assert made.update(preview=True) == made.state


def test_a_boot_that_does_not_end_is_in_the_state_and_gone_on_with(
    incusd: Incusd, driven: Driven, given: dict[str, Json], images: Images
) -> None:
    desired = {**given, "image": images["never"], "bootTimeout": 1}
    began = time.monotonic()
    with failing(
        "the instance is not up: a (local, project default): systemd says 'starting' after 1 s. "
        "inspect it with `incus exec local:a --project default -- sh`"
    ):
        driven.create(desired)
    assert time.monotonic() - began < 15
    assert driven.identity == "local/default/a"
    assert driven.state["uuid"] == incusd.instance("a")["config"]["volatile.uuid"]
    with failing("systemd says 'starting' after 1 s"):
        driven.update(desired)
    incusd.client("exec", "a", "--", "/bin/sh", "-c", "echo running >/state")
    driven.update(desired)
    assert driven.state["address"] == incusd.address("a")
    assert driven.diff() == NOTHING


def test_a_creation_that_is_cancelled_is_gone_on_with(
    incusd: Incusd, proxy: IncusProxy, driven: Driven, given: dict[str, Json]
) -> None:
    trouble = proxy.slow("PUT /1.0/instances/a/state", 0.5)
    with driven.run() as plugin:

        def cancel() -> None:
            trouble.wait()
            plugin.cancel()

        threading.Thread(target=cancel).start()
        with failing("context canceled"):
            plugin.create(INSTANCE, given, name=driven.name)
    driven.create(given)
    assert incusd.instances() == ["a"]
    assert driven.diff() == NOTHING


def test_what_incus_refuses_is_not_in_the_state(
    incusd: Incusd, driven: Driven, given: dict[str, Json]
) -> None:
    with failing('Requested profile "nope" doesn\'t exist. check `hosts.web1.incus.profiles`'):
        driven.create({**given, "profiles": ["nope"]})
    assert driven.identity == ""
    assert incusd.instances() == []


def test_inputs_are_checked(driven: Driven, given: dict[str, Json]) -> None:
    with driven.run() as plugin:
        _, failures = plugin.check(INSTANCE, {**given, "onImageChange": "later", "cpus": 2})
        assert len(failures) == 2
        assert all("onImageChange" in one or "cpus" in one for one in failures)
        missing = {key: value for key, value in given.items() if key not in {"name", "image"}}
        assert len(plugin.check(INSTANCE, missing)[1]) == 2


def test_an_update_without_a_server_is_one_message_once_a_restart_would_be_over(
    without_server: Future[tuple[str, float]],
) -> None:
    text, seconds = without_server.result(60)
    assert re.fullmatch(re.escape(away(Path("X"))).replace("X", r"/\S+/socket"), text)
    assert 15 < seconds < 40


@pytest.fixture(scope="module", autouse=True)
def without_server(
    incusd: Incusd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[tuple[str, float]]]:
    """An update where nobody answers, which takes its time while other tests run."""
    assert incusd.socket.exists()
    inputs = {"remote": "local", "project": "default", "name": "a", "image": "0" * 64}
    nobody = Driven(
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
