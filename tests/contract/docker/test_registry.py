"""Images by way of a registry: real skopeo, a registry of the test's own, a real daemon."""

from __future__ import annotations

import json
import shutil
import stat
from typing import TYPE_CHECKING, Any

import pytest

from components.pipeline.errors import DockerError, RegistryError
from components.pipeline.targets.docker import image
from components.pipeline.targets.docker.daemon import Daemon
from components.pipeline.targets.docker.image import Built, Kind
from components.pipeline.targets.docker.push import pushed
from harness.daemons.git_repositories import run
from harness.daemons.registry import PASSWORD, USER
from harness.daemons.registry_place import (
    HASH,
    OTHER,
    Place,
    closed,
    locked,
    message_of,
    nobody,
    place,
    server,
    tools,
)
from harness.providers.docker_driver import Plugin
from tests.contract.docker.test_image import at
from tests.contract.docker.test_provider import IMAGE, PLUGIN

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["closed", "locked", "nobody", "place", "server", "tools"]
pytestmark = pytest.mark.contract


# --- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
async def test_an_image_is_pushed_once_and_pulled_once(place: Place, compression: str) -> None:
    path = place.archive(compression=compression)
    digest = await place.push(path)
    assert digest == place.server.digest(place.path, HASH)
    assert place.server.tags(place.path) == [HASH], "and no `latest`"
    identity = await place.pull(digest)
    assert identity == image.read_manifest(path).config
    ref = place.ref(place.registry())
    assert place.of_daemon().keys() == {ref}
    place.server.forget()
    place.said.clear()
    # What is there is not even looked at: only its name is.
    path.write_bytes(b"")
    assert await place.push(path) == digest
    assert await place.pull(digest) == identity
    assert place.said == []
    assert {one.split(" ")[0] for one in place.server.requests()} <= {"GET", "HEAD"}
    assert place.server.requests("/blobs/") == []

    async with Daemon(place.dockerd.host) as docker:
        await image.remove(docker, ref)
    assert place.of_daemon() == {}
    assert place.server.tags(place.path) == [HASH], "nothing is ever removed from a registry"
    assert await place.pull(digest) == identity
    assert place.server.requests("^(PUT|PATCH|POST)") == []


async def test_only_layers_that_are_missing_travel(place: Place) -> None:
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
    assert place.said == ["writing the image", "pushing the image, 3 MB and less"]


# --- as the engine asks ------------------------------------------------------------------------


def test_the_life_of_an_image(closed: Place) -> None:
    """Also one that was removed by hand is pulled again, and who logs in is no change of it."""
    if shutil.which("nix-store") is None:
        pytest.skip("nix is not on PATH; tools/bootstrap installs it")
    built = run("nix-store", "--add", closed.archive())
    registry, tag = closed.registry(), built[11:43]
    ref = closed.ref(registry, tag)
    login = {"username": USER, "password": PASSWORD}
    where = {"host": closed.dockerd.host, "registry": registry.address}
    inputs = {"ref": ref, "built": built, **where, **login}
    with Plugin.run(PLUGIN) as plugin:
        it = plugin.make(IMAGE, inputs, name="it")
        assert it.id == ref
        assert it.state["digest"] == closed.server.digest(closed.path, tag)
        hidden = {key for key, value in it.state.items() if is_secret(value)}
        assert hidden == {"username", "password"}
        others = {**inputs, "password": "another", "username": "somebody"}
        assert plugin.changes(it, others).kinds == {}
        assert plugin.refreshed(it) == it

        closed.server.forget()
        closed.clean()
        assert plugin.changes(it, inputs).kinds == {"imageId": "UPDATE"}
        again = plugin.changed(it, inputs)
        assert again.state == it.state
        assert closed.server.requests("^(PUT|PATCH|POST)") == []
        shown = [one.text for one in plugin.engine.messages if PASSWORD in one.text]
        assert shown == []
    with Plugin.run(PLUGIN) as later:
        later.refreshed(again)
        later.remove(again)
    assert closed.of_daemon() == {}
    assert closed.server.tags(closed.path) == [tag]
    run("nix-store", "--delete", built)


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and "value" in value


# --- nix2container -----------------------------------------------------------------------------


def nix2container(folder: Path, archive: Path) -> Built:
    """An image that is its description, and the script that alone can copy it.

    As nix2container's lib/copyTo.nix: what it is given goes to skopeo behind the image. The image
    is an archive here, as nix2container's own skopeo cannot be had.
    """
    json_file = folder / "image-app.json"
    text = {"version": 1, "image-config": {}, "layers": [], "arch": "amd64"}
    json_file.write_text(json.dumps(text))
    script = folder / "copy" / "bin" / "copy-to"
    script.parent.mkdir(parents=True)
    image_of_it = f"docker-archive:{archive}"
    script.write_text(
        f"#!/bin/sh\nset -eu\necho Running skopeo --insecure-policy copy {image_of_it} $@\n"
        f"skopeo --insecure-policy copy {image_of_it} $@\n"
    )
    script.chmod(stat.S_IRWXU)
    return Built(image=at(json_file), copier=at(script.parents[1]))


async def test_an_image_of_nix2container(place: Place) -> None:
    """By way of a registry, and straight to a daemon."""
    archive = place.archive()
    built, registry = nix2container(place.folder, archive), place.registry()
    assert built.kind is Kind.NIX2CONTAINER
    ref, identity = place.ref(registry), image.read_manifest(archive).config
    digest = await pushed(built, ref, registry, place.said.append)
    assert digest == place.server.digest(place.path, HASH)
    assert await place.pull(digest) == identity
    place.clean()
    async with Daemon(place.dockerd.host) as docker:
        assert await image.ensure(docker, built, ref, place.said.append) == identity
    assert place.of_daemon().keys() == {ref}


async def test_an_image_of_nix2container_without_its_script(place: Place) -> None:
    built = Built(image=nix2container(place.folder, place.archive()).image)
    ref = place.ref(place.registry())
    with pytest.raises(DockerError) as caught:
        await pushed(built, ref, place.registry(), place.said.append)
    assert message_of(caught) == (
        f"not an image: {built.path}: it is nix2container's, and the attribute has no `copyTo`, "
        "which alone reads it. name the image itself, as nix2container.buildImage gives it"
    )


async def test_a_script_of_nix2container_that_fails(place: Place) -> None:
    built = nix2container(place.folder, place.folder / "none.tar")
    ref = place.ref(place.registry())
    with pytest.raises(RegistryError) as caught:
        await pushed(built, ref, place.registry(), place.said.append)
    said = message_of(caught)
    assert said.startswith(f"the push failed: {ref}: ")
    assert "none.tar: no such file or directory" in said
    async with Daemon(place.dockerd.host) as docker:
        with pytest.raises(DockerError) as failed:
            await image.ensure(docker, built, ref, place.said.append)
    assert str(failed.value).startswith(f"the image's script failed: {built.path}: ")
