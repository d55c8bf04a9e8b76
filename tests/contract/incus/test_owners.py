"""Two stacks of one name on one server: instances, volumes and images over gRPC."""

from __future__ import annotations

import secrets
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.incusd import Incusd, incusd
from harness.daemons.tiny_image import tiny
from harness.providers.incus_driver import IMAGE, INSTANCE, VOLUME, ResourceDriver
from harness.providers.plugin_driver import UNKNOWN, Json, PluginError, failing

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["incusd"]
pytestmark = pytest.mark.contract
STACK = "project/dev"
"""Of the URNs that the driver makes: both clones have it."""
OURS, THEIRS = f"{STACK}/0a1b", f"{STACK}/2c3d"
TAKE_OVER = f"`pulumi config set owner {OURS}` takes over all that has this label"
LABEL = "user.flakeup.owner"


@pytest.fixture(scope="module")
def fingerprint(incusd: Incusd, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image that the server already has."""
    files = tiny(tmp_path_factory.mktemp("image"), "one", state="running")
    said = incusd.client("image", "import", str(files.metadata), str(files.rootfs))
    return str(said.split()[-1])


@pytest.fixture
def proxy(incusd: Incusd) -> Iterator[DaemonProxy]:
    with DaemonProxy(incusd.folder / "proxy", incusd.socket) as before:
        yield before
    incusd.clear(images=False)


@pytest.fixture
def inputs(fingerprint: str) -> dict[str, Json]:
    """The inputs of an instance but its owner, as from the program."""
    return {
        "remote": "local",
        "project": "default",
        "name": "a",
        "image": fingerprint,
        "onImageChange": "ignore",
        "profiles": ["default"],
        "config": {},
        "devices": {},
        "running": True,
        "ssh": True,
        "bootTimeout": 20,
    }


def add_to_store(path: object) -> str:
    """Add a file to the store."""
    argv = ("nix-store", "--add", str(path))
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def refusal(driver: ResourceDriver, given: Json, *, preview: bool = True) -> str:
    """The message with which a create is refused."""
    with pytest.raises(PluginError) as caught:
        (driver.preview_create if preview else driver.create)(given)
    return str(caught.value)


# --- instances -------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", [THEIRS, UNKNOWN])
def test_an_instance_of_another_clone_is_refused_in_the_preview(
    incusd: Incusd, proxy: DaemonProxy, inputs: dict[str, Json], owner: str
) -> None:
    """It was gone on with, and its `destroy` removed it; one never started went at once."""
    ours, theirs = (
        ResourceDriver(kind=INSTANCE, socket=proxy.path, name="web1-instance") for _ in range(2)
    )
    ours.create({**inputs, "owner": OURS})
    before = incusd.instance("a")
    assert before["config"][LABEL] == OURS
    said = refusal(theirs, {**inputs, "owner": owner})
    assert said.startswith(
        f"name taken: a (local, project default): an instance of {OURS} has that name. choose "
        "another `name`, or import the instance: `pulumi import "
    )
    assert said.endswith(f"; if the state was lost, {TAKE_OVER}")
    if owner != UNKNOWN:
        assert refusal(theirs, {**inputs, "owner": owner}, preview=False) == said
    assert incusd.instance("a") == before
    # With its owner, as the message says, it is gone on with.
    theirs.create({**inputs, "owner": OURS})
    assert incusd.instance("a")["config"]["volatile.uuid"] == before["config"]["volatile.uuid"]


def test_an_incomplete_instance_of_another_clone_stays(
    incusd: Incusd, proxy: DaemonProxy, inputs: dict[str, Json]
) -> None:
    incusd.client("init", str(inputs["image"]), "a", "--config", f"{LABEL}={OURS}")
    theirs = ResourceDriver(kind=INSTANCE, socket=proxy.path, name="web1-instance")
    refusal(theirs, {**inputs, "owner": THEIRS}, preview=False)
    assert incusd.instance("a")["status"] == "Stopped"


def test_another_owner_of_an_instance_is_an_update(
    incusd: Incusd, proxy: DaemonProxy, inputs: dict[str, Json]
) -> None:
    one = ResourceDriver(kind=INSTANCE, socket=proxy.path, name="web1-instance")
    one.create({**inputs, "owner": OURS})
    uuid = incusd.instance("a")["config"]["volatile.uuid"]
    changes = one.up({**inputs, "owner": THEIRS})
    assert (changes.paths, changes.replaces) == (frozenset({"owner"}), frozenset())
    config = incusd.instance("a")["config"]
    assert (config[LABEL], config["volatile.uuid"]) == (THEIRS, uuid)
    assert one.diff({**inputs, "owner": THEIRS}).paths == frozenset()


@pytest.mark.parametrize("owner", [OURS, UNKNOWN])
def test_a_state_from_before_is_refused_until_its_owner_is_set(
    incusd: Incusd, proxy: DaemonProxy, inputs: dict[str, Json], owner: str
) -> None:
    one = ResourceDriver(kind=INSTANCE, socket=proxy.path, name="web1-instance")
    one.create(inputs)
    assert incusd.instance("a")["config"][LABEL] == STACK
    with failing(
        f"no owner in the state: web1-instance of {STACK}: what it has made is labelled {STACK}, "
        f"as other stacks may be labelled too. `pulumi config set owner {STACK}` keeps all of it "
        "as it is"
    ):
        one.diff({**inputs, "owner": owner})
    assert one.diff({**inputs, "owner": STACK}).paths == frozenset()


# --- volumes ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """A pool, and the name of a volume that is deleted afterwards."""

    given: Json
    incusd: Incusd

    @property
    def path(self) -> str:
        return f"/1.0/storage-pools/{self.given['pool']}/volumes/custom/{self.given['name']}"

    @property
    def label(self) -> str | None:
        found: str | None = self.incusd.request("GET", self.path)["config"].get(LABEL)
        return found


@pytest.fixture
def volumes(incusd: Incusd, proxy: DaemonProxy) -> Iterator[Volumes]:  # noqa: ARG001 cleans up
    pool = incusd.request("GET", "/1.0/storage-pools?recursion=1")[0]["name"]
    given: dict[str, Any] = {"remote": "local", "project": "default", "pool": pool}
    made = Volumes(given={**given, "name": f"v-{secrets.token_hex(4)}"}, incusd=incusd)
    yield made
    incusd.request("DELETE", made.path)


def test_a_volume_of_another_clone_is_refused_and_kept(
    proxy: DaemonProxy, volumes: Volumes
) -> None:
    ours, theirs = (
        ResourceDriver(kind=VOLUME, socket=proxy.path, name="web1-data") for _ in range(2)
    )
    ours.create({**volumes.given, "owner": OURS})
    for owner in (THEIRS, UNKNOWN):
        said = refusal(theirs, {**volumes.given, "owner": owner})
        assert f": a volume of {OURS} has that name. choose another `name`; " in said
        assert said.endswith(f"if the state was lost, {TAKE_OVER}")
    assert "name taken: " in refusal(theirs, {**volumes.given, "owner": THEIRS}, preview=False)
    assert volumes.label == OURS
    # A copied state knows it, and has another owner since: it is not deleted.
    theirs.identity, theirs.inputs = ours.identity, {**ours.inputs, "owner": THEIRS}
    theirs.state = {**ours.state, "owner": THEIRS}
    theirs.delete()
    assert volumes.label == OURS
    changes = ours.up({**volumes.given, "owner": THEIRS})
    assert (changes.paths, changes.replaces) == (frozenset({"owner"}), frozenset())
    assert volumes.label == THEIRS


def test_a_volume_without_an_owner_is_refused_with_the_commands(
    incusd: Incusd, proxy: DaemonProxy, volumes: Volumes
) -> None:
    incusd.request(
        "POST", volumes.path.rpartition("/")[0], {"name": volumes.given["name"], "config": {}}
    )
    one = ResourceDriver(kind=VOLUME, socket=proxy.path, name="web1-data")
    said = refusal(one, {**volumes.given, "owner": OURS})
    assert ": a volume that is not part of this stack has that name. " in said
    assert said.endswith(f"--project default {LABEL}={OURS}`")
    # Before the first `up` there is no owner yet: one is proposed, and to be set.
    said = refusal(one, {**volumes.given, "owner": UNKNOWN})
    proposed = said.rpartition(" ")[2].rstrip("`")
    assert proposed.rpartition("/")[0] == STACK
    assert f"{LABEL}={proposed}` and `pulumi config set owner {proposed}`" in said
    assert volumes.label is None


# --- images ----------------------------------------------------------------------------------


def test_an_image_that_two_clones_use_stays_until_both_are_gone(
    incusd: Incusd,
    proxy: DaemonProxy,
    parts: dict[str, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """One's new image removed the reference of the other, and with it the image."""
    if parts["nix"]["state"] != "ready":
        pytest.skip(f"no nix: {parts['nix']['reason']}; {parts['nix']['remedy']}")
    before = incusd.images().keys()
    folder = tmp_path_factory.mktemp("shared")
    given: list[dict[str, Json]] = []
    for name in ("shared-one", "shared-two"):
        files = tiny(folder, name)
        metadata, rootfs = add_to_store(files.metadata), add_to_store(files.rootfs)
        given.append({"metadata": metadata, "rootfs": rootfs, "system": "base"})
    one, two = ({"remote": "local", "project": "default", **files} for files in given)
    ours, theirs = (
        ResourceDriver(kind=IMAGE, socket=proxy.path, name="base-image") for _ in range(2)
    )
    ours.create({**one, "owner": OURS})
    (shared,) = incusd.images().keys() - before
    theirs.create({**one, "owner": THEIRS})
    replaced = ResourceDriver(kind=IMAGE, socket=proxy.path, name="base-image")
    replaced.create({**two, "owner": THEIRS})
    theirs.delete()
    assert shared in incusd.images(), "the other clone uses it"
    references = [key for key in incusd.images()[shared] if "used-by" in key]
    assert references == [f"user.flakeup.used-by.{OURS}/base-image"]
    # Another owner refers to it by its own name alone.
    assert ours.up({**one, "owner": f"{STACK}/4e5f"}).paths == {"owner"}
    references = [key for key in incusd.images()[shared] if "used-by" in key]
    assert references == [f"user.flakeup.used-by.{STACK}/4e5f/base-image"]
    for image in (ours, replaced):
        image.delete()
    assert incusd.images().keys() == before
