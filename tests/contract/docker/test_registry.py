"""Images through a registry: real skopeo, a registry of the tests, a real daemon."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from components.pipeline.errors import DockerError, RegistryError
from components.pipeline.targets.docker import image
from components.pipeline.targets.docker.archive import read_manifest
from components.pipeline.targets.docker.daemon import Daemon
from harness.daemons.git_repositories import run
from harness.daemons.registry import PASSWORD, USER
from harness.daemons.registry_place import (
    BASE,
    HASH,
    OTHER,
    Place,
    closed,
    layered,
    locked,
    logged_out,
    message_of,
    place,
    server,
    tools,
)
from harness.providers.docker_driver import Plugin
from tests.contract.docker.test_provider import IMAGE, PLUGIN
from tests.unit.targets.docker.archives import CONFIG, layer, write

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["closed", "locked", "logged_out", "place", "server", "tools"]
pytestmark = pytest.mark.contract
SCHEMA2: Final = "application/vnd.docker.distribution.manifest.v2+json"
LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"


# --- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
async def test_an_image_is_pushed_once_and_pulled_once(place: Place, compression: str) -> None:
    path = place.archive(compression=compression)
    digest = await place.push(path)
    assert digest == place.server.digest(place.path, HASH)
    assert place.server.tags(place.path) == [HASH], "and no `latest`"
    image_id = await place.pull(digest)
    assert image_id == read_manifest(path).config.digest
    ref = place.ref(place.registry())
    assert place.of_daemon().keys() == {ref}
    place.server.forget()
    place.reports.clear()
    # It is compared with the one in the registry, and not sent.
    assert await place.push(path) == digest
    assert await place.pull(digest) == image_id
    assert place.reports == []
    assert {one.split(" ")[0] for one in place.server.requests()} <= {"GET", "HEAD"}
    assert place.server.requests("/blobs/") == []

    async with Daemon(place.dockerd.host) as docker:
        await image.remove(docker, ref)
    assert place.of_daemon() == {}
    assert place.server.tags(place.path) == [HASH], "nothing is ever removed from a registry"
    assert await place.pull(digest) == image_id
    assert place.server.requests("^(PUT|PATCH|POST)") == []


async def test_only_missing_layers_are_sent(place: Place) -> None:
    await place.pull(await place.push(place.archive(b"one")))
    place.server.forget()
    digest = await place.push(place.archive(b"two"), tag=OTHER)
    assert len(place.server.requests("^PUT .*/blobs/uploads/")) == 2, "its layer and its config"
    place.server.forget()
    await place.pull(digest, tag=OTHER)
    assert len(place.server.requests("^GET .*/blobs/sha256")) == 2
    assert {tag.rpartition(":")[2] for tag in place.of_daemon()} == {HASH, OTHER}


async def test_a_script_that_writes_the_image(place: Place) -> None:
    path = place.folder / "stream"
    path.write_text(f"#!/bin/sh\nexec cat {place.archive()}\n")
    path.chmod(0o755)
    digest = await place.push(path)
    assert digest == place.server.digest(place.path, HASH)
    assert place.reports == ["writing the image", "pushing the image, at most 3 MB"]


# --- another image under the name --------------------------------------------------------------


def skopeo(place: Place, path: Path, tag: str, *options: str) -> None:
    """Push an image as somebody else might."""
    run(
        *("skopeo", "--insecure-policy", "copy", *options, "--dest-tls-verify=false"),
        *("--", f"docker-archive:{path}", f"docker://{place.ref(place.registry(), tag)}"),
    )


def put_list(place: Place) -> None:
    """Put a list of the images of several platforms into the registry."""
    skopeo(place, place.archive(b"another"), OTHER)
    url = f"http://{place.server.address}/v2/{place.path}/manifests"
    content = httpx.get(f"{url}/{OTHER}", headers={"Accept": SCHEMA2}).content
    one = {
        "mediaType": SCHEMA2,
        "size": len(content),
        "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "platform": {"os": "linux", "architecture": "amd64"},
    }
    body = json.dumps({"schemaVersion": 2, "mediaType": LIST, "manifests": [one]})
    httpx.put(f"{url}/{HASH}", content=body, headers={"Content-Type": LIST}).raise_for_status()


@pytest.mark.parametrize("kind", ["docker", "oci", "list"])
async def test_another_image_in_the_registry_is_refused(place: Place, kind: str) -> None:
    if kind == "list":
        put_list(place)
    else:
        skopeo(place, place.archive(b"another"), HASH, *(("--format", "oci") * (kind == "oci")))
    before = place.server.digest(place.path, HASH)
    path, ref = place.archive(), place.ref(place.registry())
    with pytest.raises(RegistryError) as caught:
        await place.push(path)
    text = message_of(caught)
    assert text.startswith(f"the registry has another image under this name: {ref}: it is ")
    assert f", not {read_manifest(path).config.digest}. find out who pushed it" in text
    assert f"`skopeo delete docker://{ref}`, then run `pulumi up` again" in text
    assert place.server.digest(place.path, HASH) == before, "and not overwritten"
    assert ("a list of images" in text) == (kind == "list")


@pytest.mark.parametrize("change", [{"User": "0"}, {"Cmd": ["/bin/other"]}, {"Shell": ["sh"]}])
async def test_other_settings_are_another_image(place: Place, change: dict[str, Any]) -> None:
    """The layers are the same, and what would run is not."""
    config = {**CONFIG, "config": {**CONFIG["config"], **change}}
    parts = layered(BASE, layer({"content": b"one"}), config=config)
    skopeo(place, write(place.folder / "other.tar", parts), HASH)
    with pytest.raises(RegistryError):
        await place.push(place.archive())


async def test_the_same_image_in_another_form_is_ours(place: Place) -> None:
    """A registry that takes OCI alone has another configuration than the archive."""
    skopeo(place, place.archive(), HASH, "--format", "oci")
    digest = await place.push(place.archive())
    assert digest == place.server.digest(place.path, HASH)
    image_id = await place.pull(digest)
    assert await place.pull(digest) == image_id != read_manifest(place.archive()).config.digest


async def test_a_name_that_is_moved_after_the_push_is_not_followed(place: Place) -> None:
    path = place.archive()
    digest = await place.push(path)
    skopeo(place, place.archive(b"another"), HASH)
    image_id = await place.pull(digest)
    assert image_id == read_manifest(path).config.digest
    (found,) = place.of_daemon().values()
    assert found["Id"] == image_id


async def test_another_image_in_the_daemon_is_not_taken_for_the_pulled_one(place: Place) -> None:
    ref, path = place.ref(place.registry()), place.archive()
    digest = await place.push(path)
    skopeo(place, place.archive(b"another"), OTHER)
    other = await place.pull(place.server.digest(place.path, OTHER), tag=OTHER)
    name, _, tag = ref.rpartition(":")
    place.dockerd.request("POST", f"/images/{other}/tag?repo={name}&tag={tag}")
    with pytest.raises(DockerError) as caught:
        await place.pull(digest)
    text = message_of(caught)
    ours = read_manifest(path).config.digest
    assert text.startswith(
        f"the daemon has another image under this name: {ref}: it is {other}, not {ours}. "
    )
    assert f"`docker -H {place.dockerd.host} image rmi {ref}`" in text
    assert {one["Id"] for one in place.of_daemon().values()} == {other}
    images = place.dockerd.request("GET", "/images/json")
    assert ours not in {one["Id"] for one in images}, "nothing is left of the pull"


async def test_the_right_image_that_came_otherwise_is_taken(place: Place) -> None:
    """Loaded by hand, it has no digest of this registry yet."""
    ref, path = place.ref(place.registry()), place.archive()
    async with Daemon(place.dockerd.host) as docker:
        image_id = await image.ensure_loaded(docker, path, ref, place.reports.append)
    assert await place.pull(await place.push(path)) == image_id
    assert place.of_daemon().keys() == {ref}


# --- as the engine asks ------------------------------------------------------------------------


def test_the_life_of_an_image(closed: Place) -> None:
    """One that was removed by hand is pulled again; another login is no change of it."""
    if shutil.which("nix-store") is None:
        pytest.skip("nix is not on PATH; tools/bootstrap installs it")
    built = run("nix-store", "--add", closed.archive())
    registry, tag = closed.registry(), built[11:43]
    ref = closed.ref(registry, tag)
    login = {"username": USER, "password": PASSWORD}
    where = {"host": closed.dockerd.host, "registry": registry.address}
    inputs = {"ref": ref, "built": built, **where, **login}
    with Plugin.run(PLUGIN) as plugin:
        it = plugin.create_resource(IMAGE, inputs, name="it")
        assert it.id == ref
        assert it.state["digest"] == closed.server.digest(closed.path, tag)
        hidden = {key for key, value in it.state.items() if is_secret(value)}
        assert hidden == {"username", "password"}
        others = {**inputs, "password": "another", "username": "somebody"}
        assert plugin.diff_resource(it, others).kinds == {}
        assert plugin.refresh(it) == it

        closed.server.forget()
        closed.clean()
        assert plugin.diff_resource(it, inputs).kinds == {"imageId": "UPDATE"}
        again = plugin.update_resource(it, inputs)
        assert again.state == it.state
        assert closed.server.requests("^(PUT|PATCH|POST)") == []
        shown = [one.text for one in plugin.engine.messages if PASSWORD in one.text]
        assert shown == []
    with Plugin.run(PLUGIN) as later:
        later.refresh(again)
        later.delete_resource(again)
    assert closed.of_daemon() == {}
    assert closed.server.tags(closed.path) == [tag]
    run("nix-store", "--delete", built)


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and "value" in value
