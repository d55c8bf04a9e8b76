"""Images through a registry: real skopeo, a registry of the tests, a real daemon."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from components.pipeline.targets.docker import image
from components.pipeline.targets.docker.archive import read_manifest
from components.pipeline.targets.docker.daemon import Daemon
from harness.daemons.git_repositories import run
from harness.daemons.registry import PASSWORD, USER
from harness.daemons.registry_place import (
    HASH,
    OTHER,
    Place,
    closed,
    locked,
    logged_out,
    place,
    server,
    tools,
)
from harness.providers.docker_driver import Plugin
from tests.contract.docker.test_provider import IMAGE, PLUGIN

__all__ = ["closed", "locked", "logged_out", "place", "server", "tools"]
pytestmark = pytest.mark.contract


# --- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
async def test_an_image_is_pushed_once_and_pulled_once(place: Place, compression: str) -> None:
    path = place.archive(compression=compression)
    digest = await place.push(path)
    assert digest == place.server.digest(place.path, HASH)
    assert place.server.tags(place.path) == [HASH], "and no `latest`"
    image_id = await place.pull(digest)
    assert image_id == read_manifest(path).config
    ref = place.ref(place.registry())
    assert place.of_daemon().keys() == {ref}
    place.server.forget()
    place.reports.clear()
    # An image that is in the registry is not even read: its name is enough.
    path.write_bytes(b"")
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
