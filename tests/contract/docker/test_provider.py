"""`flakeup:docker:*` over gRPC, as the engine calls it: changes, life cycles and messages."""

from __future__ import annotations

import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Final

import pytest
from pulumi.runtime.proto import provider_pb2

from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.dockerd import LABEL
from harness.providers.docker_driver import Plugin, ResourceState
from harness.providers.plugin_driver import (
    PROJECT,
    UNKNOWN,
    PluginError,
    failing,
    from_struct,
    to_struct,
    urn,
)
from tests.unit.targets.docker.archives import layer, members, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons.dockerd import Dockerd
    from harness.unix_http import Json

pytestmark = pytest.mark.contract
PLUGIN: Final = PROJECT / "providers" / "flakeup" / "pulumi-resource-flakeup"
IMAGE: Final = "flakeup:docker:Image"
CANDIDATE: Final = "flakeup:docker:Candidate"
TRAFFIC: Final = "flakeup:docker:Traffic"
OWNER: Final = "project/dev"
"""Of the URNs that the driver makes."""
STAYS: Final = ["sleep", "1000"]
LEFTOVER: Final = "left by an interrupted `up`; the next one removes it"


class Place:
    """A plugin, and a daemon behind a proxy."""

    def __init__(self, dockerd: Dockerd, proxy: DaemonProxy, plugin: Plugin) -> None:
        self.dockerd, self.proxy, self.plugin = dockerd, proxy, plugin
        self.service = dockerd.prefix

    def candidate(self, **changes: Json) -> dict[str, Json]:
        base = {
            "host": self.proxy.host,
            "service": self.service,
            "image": self.dockerd.image,
            "command": STAYS,
            "environment": {},
            "network": "bridge",
            "healthcheck": ["true"],
            "interval": 0.2,
            "wait": 10.0,
        }
        return {**base, **changes}

    def traffic(self, container: str, **changes: Json) -> dict[str, Json]:
        base = {
            "host": self.proxy.host,
            "service": self.service,
            "edge": "",
            "container": container,
            "ports": {},
            "traffic": "http",
            "grace": 1.0,
            "wait": 10.0,
        }
        return {**base, **changes}

    def run(self, name: str, labels: dict[str, str], secrets: str = "") -> str:
        """A container that runs; its name."""
        full = f"{self.dockerd.prefix}-{name}"
        body = {
            "Image": self.dockerd.image,
            "Cmd": STAYS,
            "Labels": {LABEL: self.dockerd.prefix, **labels},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 200_000_000},
            "HostConfig": {"VolumesFrom": [f"{secrets}:ro"] if secrets else []},
        }
        self.dockerd.request("POST", f"/containers/create?name={full}", body)
        self.dockerd.request("POST", f"/containers/{full}/start")
        return full

    def served(self, name: str, service: str = "") -> str:
        """One that belongs to the service by its labels."""
        return self.run(name, {"flakeup.owner": OWNER, "flakeup.service": service or self.service})

    def warnings(self) -> list[str]:
        return [one.text for one in self.plugin.engine.messages if one.severity == "WARNING"]


@pytest.fixture
def place(tmp_path: Path, dockerd: Dockerd) -> Iterator[Place]:
    with (
        DaemonProxy(tmp_path / "docker.sock", dockerd.socket) as proxy,
        Plugin.run(PLUGIN) as plugin,
    ):
        made = Place(dockerd, proxy, plugin)
        yield made
        filters = f'{{"label": ["{LABEL}={dockerd.prefix}"]}}'
        for one in dockerd.request("GET", f"/containers/json?all=1&filters={_quoted(filters)}"):
            dockerd.request("DELETE", f"/containers/{one['Id']}?force=1")


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace(" ", "%20").replace("=", "%3D")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, dockerd: Dockerd) -> tuple[str, str]:
    """Two images in the store, as nix would have built them."""
    if shutil.which("nix-store") is None:
        pytest.skip("nix is not on PATH; tools/bootstrap installs it")
    folder = tmp_path_factory.mktemp("images")
    paths = []
    for content in (b"one", b"two"):
        parts = members(layer({"content": content}), [f"{dockerd.prefix}:own"], blobs=False)
        path = write(folder / f"image-{content.decode()}.tar", parts)
        argv = ("nix-store", "--add", str(path))
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
        paths.append(done.stdout.strip())
    return paths[0], paths[1]


@pytest.fixture
def images(place: Place, built: tuple[str, str]) -> Iterator[tuple[dict[str, Json], ...]]:
    """The inputs of two images."""
    refs = [f"{place.dockerd.prefix}:{path[11:43]}" for path in built]
    yield tuple(
        {"host": place.proxy.host, "ref": ref, "built": path}
        for ref, path in zip(refs, built, strict=True)
    )
    for ref in refs:
        if there(place, ref):
            place.dockerd.request("DELETE", f"/images/{ref}?force=1")


def there(place: Place, ref: str) -> bool:
    found = place.dockerd.request("GET", "/images/json")
    return any(ref in (one["RepoTags"] or ()) for one in found)


# --- images ------------------------------------------------------------------------------------


def test_the_life_of_an_image(place: Place, images: tuple[dict[str, Json], ...]) -> None:
    first, second = images
    it = place.plugin.create_resource(IMAGE, first, name="it")
    assert it.id == first["ref"]
    assert str(it.state["imageId"]).startswith("sha256:")
    assert there(place, first["ref"])
    assert place.plugin.diff_resource(it, first).kinds == {}
    assert place.plugin.refresh(it) == it
    with Plugin.run(PLUGIN) as later:
        # As `--refresh` does before the program runs: this does not make it a desired one.
        assert later.diff_checked(it, it.inputs).kinds == {}
        # Another one replaces it: it is loaded first, and the previous one removed later.
        kinds = later.diff_resource(it, second)
        assert kinds.replaces
        assert not kinds.deletes_first
        assert kinds.kinds.keys() == {"ref", "built"}
        next_one = later.create_resource(IMAGE, second, name="it")
        later.delete_resource(it)
    assert (there(place, first["ref"]), there(place, second["ref"])) == (False, True)
    for _ in range(2):
        place.plugin.delete_resource(next_one)
        assert not there(place, second["ref"])


def test_an_image_that_was_removed_by_hand_is_loaded_again(
    place: Place, images: tuple[dict[str, Json], ...]
) -> None:
    """In place: a replacement would end by deleting the same name."""
    inputs, _ = images
    it = place.plugin.create_resource(IMAGE, inputs, name="it")
    place.dockerd.request("DELETE", f"/images/{inputs['ref']}")
    assert place.plugin.refresh(it) is None
    assert place.plugin.diff_resource(it, inputs).kinds == {"imageId": "UPDATE"}
    again = place.plugin.update_resource(it, inputs)
    assert again.state == it.state
    assert there(place, inputs["ref"])
    assert place.plugin.diff_resource(again, inputs).kinds == {}


def test_another_image_that_has_taken_the_name_is_neither_used_nor_removed(
    place: Place, images: tuple[dict[str, Json], ...]
) -> None:
    inputs, another = images
    it = place.plugin.create_resource(IMAGE, inputs, name="it")
    other = place.plugin.create_resource(IMAGE, another, name="other").state["imageId"]
    repo, _, tag = str(inputs["ref"]).rpartition(":")
    place.dockerd.request("POST", f"/images/{other}/tag?repo={repo}&tag={tag}")
    assert place.plugin.diff_resource(it, inputs).kinds == {"imageId": "UPDATE"}
    assert place.plugin.refresh(it) is None
    message = f"the daemon has another image under this name: {inputs['ref']}: it is {other}, not "
    with failing(message):
        place.plugin.update_resource(it, inputs)
    with failing(message):
        place.plugin.create_resource(IMAGE, inputs, name="it")
    with Plugin.run(PLUGIN) as later:
        later.delete_resource(it)
    assert there(place, str(inputs["ref"])), "it is somebody else's"


def test_a_replaced_image_that_is_desired_again_is_kept(
    place: Place, images: tuple[dict[str, Json], ...]
) -> None:
    """After a failed `up` to the second, the state has the first as pending deletion."""
    first, second = images
    old = place.plugin.create_resource(IMAGE, first, name="it")
    failed = place.plugin.create_resource(IMAGE, second, name="it")
    with Plugin.run(PLUGIN) as later:
        assert later.diff_resource(failed, first).replaces
        later.create_resource(IMAGE, first, name="it")
        later.delete_resource(failed)
        later.delete_resource(old)
    assert (there(place, first["ref"]), there(place, second["ref"])) == (True, False)


def test_a_preview_asks_the_daemon_nothing_for_a_new_image(
    place: Place, images: tuple[dict[str, Json], ...]
) -> None:
    request = provider_pb2.CreateRequest(
        urn=urn(IMAGE), properties=to_struct(images[0]), preview=True
    )
    answer = place.plugin.call("Create", request)
    assert from_struct(answer.properties) == {**images[0], "imageId": UNKNOWN}
    assert place.proxy.requests() == []


def test_an_unavailable_daemon_is_one_warning_in_a_preview(
    place: Place, images: tuple[dict[str, Json], ...]
) -> None:
    """For all resources together; the state is assumed to be correct."""
    made = [place.plugin.create_resource(IMAGE, inputs, name="it") for inputs in images]
    candidate = ResourceState(
        kind=CANDIDATE, id="it", inputs=place.candidate(), state=place.candidate()
    )
    traffic = ResourceState(
        kind=TRAFFIC, id="it", inputs=place.traffic("x"), state=place.traffic("x")
    )
    with place.proxy.down():
        for it in (*made, candidate, traffic):
            assert place.plugin.diff_resource(it, it.inputs).kinds == {}
    (warning,) = place.warnings()
    assert warning == (
        f"cannot reach Docker: {place.proxy.host}: [Errno 2] No such file or directory. check that "
        f"dockerd runs, and that `docker -H {place.proxy.host} version` works for you; "
        "using the state instead"
    )


def test_a_daemon_that_keeps_failing_is_one_message(
    place: Place, images: tuple[dict[str, Json], ...]
) -> None:
    """After some outages; for an image, a candidate and traffic alike."""
    wanted = f"cannot reach Docker: {place.proxy.host}: "
    remedy = (
        f"check that dockerd runs, and that `docker -H {place.proxy.host} version` works for you"
    )
    kinds: dict[str, dict[str, Any]] = {
        IMAGE: images[0],
        CANDIDATE: place.candidate(),
        TRAFFIC: place.traffic(place.served("one")),
    }
    for request in ("POST /images/load", "POST /containers/create", "GET /containers/json.*owner"):
        place.proxy.disconnect(request, when="before", seconds=0.1, times=1000)
    for kind, inputs in kinds.items():
        with pytest.raises(PluginError) as caught:
            place.plugin.create_resource(kind, inputs, name="it")
        text = str(caught.value)
        assert text.startswith(wanted)
        assert text.endswith(remedy)
        assert "\n" not in text
    assert place.warnings() == []


# --- candidates --------------------------------------------------------------------------------


def test_the_life_of_a_candidate(place: Place) -> None:
    it = place.plugin.create_resource(CANDIDATE, place.candidate(), name="it")
    assert it.id == place.service
    assert place.plugin.diff_resource(it, place.candidate()).kinds == {}
    assert place.plugin.diff_resource(it, place.candidate(wait=99.0)).kinds == {}, (
        "how long it may take"
    )
    assert place.plugin.diff_resource(it, place.candidate(command=["sleep", "2000"])).kinds == {
        "command[1]": "UPDATE"
    }
    again = place.plugin.update_resource(it, place.candidate(environment={"A": "b"}))
    assert again.state["environment"] == {"A": "b"}
    assert place.plugin.refresh(again) == again
    place.plugin.delete_resource(again)


def test_a_candidate_that_exits_is_one_message(place: Place) -> None:
    with pytest.raises(PluginError) as caught:
        place.plugin.create_resource(
            CANDIDATE, place.candidate(command=["sh", "-c", "exit 3"]), name="it"
        )
    assert str(caught.value) == (
        f"not healthy: {place.service}: it exited with code 3. the previous version keeps serving; "
        "fix the release, then run `pulumi up` again"
    )
    assert caught.value.partial is None


def test_a_leftover_candidate_is_a_change(place: Place) -> None:
    """Even if the program returns to the previous inputs: nothing else would remove it."""
    it = place.plugin.create_resource(CANDIDATE, place.candidate(), name="it")
    name = place.run("left", {"flakeup.candidate": f"{OWNER}/{place.service}"})
    assert place.plugin.diff_resource(it, place.candidate()).kinds == {"image": "UPDATE"}
    assert place.warnings() == [f"{name}: {LEFTOVER}"]
    place.plugin.update_resource(it, place.candidate())
    assert not place.dockerd.is_there(name)


def test_a_cancelled_candidate_is_removed(place: Place) -> None:
    """As by the first Ctrl-C."""
    timer = threading.Timer(1.5, place.plugin.cancel)
    timer.start()
    with pytest.raises(PluginError) as caught:
        place.plugin.create_resource(
            CANDIDATE, place.candidate(healthcheck=["sleep", "60"]), name="it"
        )
    assert str(caught.value) == "context canceled"
    filters = _quoted(f'{{"label": ["flakeup.candidate={OWNER}/{place.service}"]}}')
    assert place.dockerd.request("GET", f"/containers/json?all=1&filters={filters}") == []


def test_deleting_a_candidate_removes_all_leftovers_of_its_service(place: Place) -> None:
    """As for a service that is removed from the program, or a stack that is destroyed."""
    it = ResourceState(kind=CANDIDATE, id="it", inputs=place.candidate(), state=place.candidate())
    gone = [
        place.run("candidate", {"flakeup.candidate": f"{OWNER}/{place.service}"}),
        place.served("orphan"),
        place.run("edge", {"flakeup.owner": OWNER, "flakeup.edge": place.service}),
    ]
    kept = [
        place.served("other", f"{place.service}x"),
        place.run("elsewhere", {"flakeup.owner": "a/b", "flakeup.service": place.service}),
        place.run("users", {}),
    ]
    place.plugin.delete_resource(it)
    assert [place.dockerd.is_there(name) for name in gone] == [False] * 3
    assert [place.dockerd.is_there(name) for name in kept] == [True] * 3


# --- owners ------------------------------------------------------------------------------------

OURS, THEIRS = f"{OWNER}/0a1b", f"{OWNER}/2c3d"
"""Two clones of the same project and stack."""


@pytest.mark.parametrize("owner", [THEIRS, UNKNOWN])
@pytest.mark.parametrize("label", ["flakeup.service", "flakeup.edge", "flakeup.secrets"])
@pytest.mark.parametrize("found", [OURS, OWNER])
def test_a_service_of_another_clone_is_refused_in_the_preview(
    place: Place, found: str, label: str, owner: str
) -> None:
    """It was taken for what an interrupted `up` had left, and removed."""
    name = place.run("theirs", {"flakeup.owner": found, label: place.service})
    wanted = (
        f"service exists: {place.service} ({place.proxy.host}): it belongs to {found}, and is not "
        f"in this stack's state: {name}. rename this stack, or use another daemon; if its state "
        f"was lost, `pulumi config set owner {found}` takes over all that has this label"
    )
    inputs = place.candidate(owner=owner)
    request = provider_pb2.CreateRequest(
        urn=urn(CANDIDATE), properties=to_struct(inputs), preview=True
    )
    with pytest.raises(PluginError) as caught:
        place.plugin.call("Create", request)
    assert str(caught.value) == wanted
    if owner != UNKNOWN:
        with pytest.raises(PluginError) as caught:
            place.plugin.create_resource(CANDIDATE, inputs, name="it")
        assert str(caught.value) == wanted
    assert place.dockerd.is_there(name)


def test_containers_of_others_are_no_reason_to_refuse(place: Place) -> None:
    """Of another name, of another service, of nobody, and what a killed `up` has left."""
    for number, labels in enumerate(
        (
            {"flakeup.owner": f"{OWNER}2/0a1b", "flakeup.service": place.service},
            {"flakeup.owner": OURS, "flakeup.service": f"{place.service}x"},
            {"flakeup.service": place.service},
            {"flakeup.owner": THEIRS, "flakeup.service": place.service},
        )
    ):
        place.run(str(number), labels)
    place.plugin.create_resource(CANDIDATE, place.candidate(owner=THEIRS), name="it")


def test_a_clone_removes_nothing_of_the_other(place: Place) -> None:
    """Neither at a release nor when it is destroyed, whatever the names are."""
    ours = [
        place.run("ours", {"flakeup.owner": OURS, "flakeup.service": place.service}),
        place.run("edge", {"flakeup.owner": OURS, "flakeup.edge": place.service}),
        place.run("test", {"flakeup.candidate": f"{OURS}/{place.service}"}),
        place.run("old", {"flakeup.owner": OWNER, "flakeup.service": place.service}),
    ]
    theirs = place.run("theirs", {"flakeup.owner": THEIRS, "flakeup.service": place.service})
    left = place.run("left", {"flakeup.owner": THEIRS, "flakeup.service": place.service})
    inputs = place.traffic(theirs, owner=THEIRS)
    it = place.plugin.create_resource(TRAFFIC, inputs, name="it")
    assert not place.dockerd.is_there(left)
    assert place.plugin.diff_resource(it, inputs).kinds == {}
    inputs = place.candidate(owner=THEIRS)
    known = ResourceState(kind=CANDIDATE, id="it", inputs=inputs, state=inputs)
    place.plugin.update_resource(known, inputs)
    place.plugin.delete_resource(known)
    assert not place.dockerd.is_there(theirs)
    assert [place.dockerd.is_there(name) for name in ours] == [True] * 4


@pytest.mark.parametrize("kind", [CANDIDATE, TRAFFIC])
@pytest.mark.parametrize("owner", [OURS, UNKNOWN])
def test_a_state_from_before_is_refused_until_its_owner_is_set(
    place: Place, kind: str, owner: str
) -> None:
    inputs = place.candidate() if kind == CANDIDATE else place.traffic(place.served("one"))
    it = ResourceState(kind=kind, id="it", inputs=inputs, state=inputs)
    with pytest.raises(PluginError) as caught:
        place.plugin.diff_resource(it, {**inputs, "owner": owner})
    assert str(caught.value).startswith(f"no owner in the state: it of {OWNER}: what it has made ")
    assert f"`pulumi config set owner {OWNER}` keeps all of it as it is" in str(caught.value)
    assert place.plugin.diff_resource(it, {**inputs, "owner": OWNER}).kinds == {}


# --- traffic -----------------------------------------------------------------------------------


def test_the_life_of_traffic_without_an_edge(place: Place) -> None:
    """A service without ports: only the health of the new container matters."""
    one, two = place.served("one"), place.served("two")
    it = place.plugin.create_resource(TRAFFIC, place.traffic(one), name="it")
    # The state does not know the other one: it is removed.
    assert not place.dockerd.is_there(two)
    assert place.plugin.diff_resource(it, place.traffic(one)).kinds == {}
    assert place.plugin.diff_resource(it, place.traffic(one, wait=99.0)).kinds == {}
    assert place.warnings() == []
    three = place.served("three")
    assert place.plugin.diff_resource(it, place.traffic(three)).kinds == {"container": "UPDATE"}
    after = place.plugin.update_resource(it, place.traffic(three))
    # The engine removes the previous one.
    assert place.dockerd.is_there(one)
    place.plugin.delete_resource(after)
    assert place.dockerd.is_there(three)


def test_a_container_unknown_to_the_state_is_a_change(place: Place) -> None:
    one = place.served("one")
    it = place.plugin.create_resource(TRAFFIC, place.traffic(one), name="it")
    stopped, orphan = place.served("stopped"), place.served("orphan")
    other = place.served("other", f"{place.service}x")
    place.dockerd.request("POST", f"/containers/{stopped}/stop?t=0")
    assert place.plugin.diff_resource(it, place.traffic(one)).kinds == {"container": "UPDATE"}
    assert place.warnings() == [f"{orphan}, {stopped}: {LEFTOVER}"]
    place.plugin.update_resource(it, place.traffic(one))
    assert not place.dockerd.is_there(orphan)
    assert not place.dockerd.is_there(stopped)
    assert place.dockerd.is_there(one)
    assert place.dockerd.is_there(other)


def test_an_unused_secrets_container_is_a_change(place: Place) -> None:
    """As of an `up` that was killed after creating it."""
    holds = {"flakeup.owner": OWNER, "flakeup.secrets": place.service}
    before, held, orphan = (place.run(name, holds) for name in ("before", "held", "orphan"))
    one, two = (
        place.run(name, {"flakeup.owner": OWNER, "flakeup.service": place.service}, holder)
        for name, holder in (("one", before), ("two", held))
    )
    it = place.plugin.create_resource(TRAFFIC, place.traffic(one), name="it")
    there = [place.dockerd.is_there(name) for name in (before, held, orphan, one, two)]
    assert there == [True, False, False, True, False]
    assert place.plugin.diff_resource(it, place.traffic(one)).kinds == {}
    orphan = place.run("orphan", holds)
    assert place.plugin.diff_resource(it, place.traffic(one)).kinds == {"container": "UPDATE"}
    assert place.warnings() == [f"{orphan}: {LEFTOVER}"]
    # With another container, the previous one and its secrets stay: the engine removes them.
    held = place.run("held", holds)
    two = place.run("two", {"flakeup.owner": OWNER, "flakeup.service": place.service}, held)
    after = place.plugin.update_resource(it, place.traffic(two))
    there = [place.dockerd.is_there(name) for name in (before, held, orphan)]
    assert there == [True, True, False]
    place.plugin.delete_resource(after)


def test_a_stopped_or_removed_container_is_reported(place: Place) -> None:
    one = place.served("one")
    it = place.plugin.create_resource(TRAFFIC, place.traffic(one), name="it")
    place.dockerd.request("POST", f"/containers/{one}/stop?t=0")
    assert place.plugin.diff_resource(it, place.traffic(one)).kinds == {}
    place.dockerd.request("DELETE", f"/containers/{one}")
    assert place.plugin.diff_resource(it, place.traffic(one)).kinds == {}
    remedy = "`pulumi up --refresh` restores it"
    assert place.warnings() == [
        f"the container of {place.service} ({one}) is not running: {remedy}",
        f"the container of {place.service} does not exist: {remedy}",
    ]


def test_traffic_to_an_unhealthy_container_is_one_message(place: Place) -> None:
    one = place.served("one")
    place.dockerd.request("POST", f"/containers/{one}/stop?t=0")
    again = (
        "the previous version keeps serving; fix the release, then run `pulumi up` again, "
        "or `pulumi up --refresh` if somebody has stopped or removed it"
    )
    with pytest.raises(PluginError) as caught:
        place.plugin.create_resource(TRAFFIC, place.traffic(one), name="it")
    assert str(caught.value) == (f"not healthy: {place.service}: it exited with code 137. {again}")
    with pytest.raises(PluginError) as caught:
        place.plugin.create_resource(TRAFFIC, place.traffic("flakeup-none"), name="it")
    assert str(caught.value) == (
        f"not healthy: {place.service}: container flakeup-none does not exist. {again}"
    )
