"""Images on a real daemon: loaded once, under one name, or not at all."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Final

import pytest

from components.pipeline.errors import DockerError, DockerUnavailableError
from components.pipeline.targets.docker import image
from components.pipeline.targets.docker.archive import Kind, read_manifest
from components.pipeline.targets.docker.daemon import Daemon, retry_through_restart
from harness.daemons.daemon_proxy import DaemonProxy
from harness.daemons.dockerd import static_busybox
from harness.unix_http import ApiError
from tests.unit.targets.docker.archives import layer, members, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons.dockerd import Dockerd

pytestmark = pytest.mark.contract
HASH: Final = "0123456789abcdfghijklmnpqrsvwxyz"


class Place:
    """Images as nix would have built them, for a daemon behind a proxy."""

    def __init__(self, folder: Path, dockerd: Dockerd, proxy: DaemonProxy) -> None:
        self.folder, self.dockerd, self.proxy = folder, dockerd, proxy
        self.ref = f"{dockerd.prefix}:{HASH}"
        self.others = [f"{dockerd.prefix}:v1", f"{dockerd.prefix}:latest"]
        self.reports: list[str] = []
        self._before: frozenset[str] = frozenset()
        self._before = frozenset(self.tags())

    def archive(self, content: bytes = b"one", compression: str = "") -> Path:
        """An image that comes with names of its own."""
        parts = members(layer({"content": content}), self.others, blobs=False)
        return write(self.folder / "image.tar", parts, compression)

    async def ensure(self, path: Path) -> str:
        async with Daemon(self.proxy.host) as docker:
            return await retry_through_restart(
                docker,
                lambda: image.ensure_loaded(docker, path, self.ref, self.reports.append),
            )

    async def remove(self, image_id: str = "") -> None:
        async with Daemon(self.proxy.host) as docker:
            await image.remove(docker, self.ref, image_id)

    def is_there(self, name: str) -> bool:
        try:
            self.dockerd.request("GET", f"/images/{name}/json")
        except ApiError:
            return False
        return True

    def tags(self) -> dict[str, str]:
        """Tag → image, of all that a test has brought."""
        found = self.dockerd.request("GET", "/images/json")
        prefix = f"{self.dockerd.prefix}:"
        return {
            tag.removeprefix(prefix): one["Id"]
            for one in found
            for tag in one["RepoTags"] or ()
            if tag.startswith(prefix) and tag.removeprefix(prefix) not in self._before
        }


@pytest.fixture
def place(tmp_path: Path, dockerd: Dockerd) -> Iterator[Place]:
    with DaemonProxy(tmp_path / "docker.sock", dockerd.socket) as proxy:
        made = Place(tmp_path, dockerd, proxy)
        yield made
    for tag in made.tags():
        dockerd.request("DELETE", f"/images/{dockerd.prefix}:{tag}?force=1")


def uploads(place: Place) -> int:
    return len(place.proxy.requests(r"^POST .*/images/load"))


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
async def test_an_archive_is_loaded_once_and_under_one_name(place: Place, compression: str) -> None:
    path = place.archive(compression=compression)
    image_id = await place.ensure(path)
    assert image_id == read_manifest(path).config.digest
    assert place.tags() == {HASH: image_id}
    assert place.reports == ["loading the image, 0 MB"]
    assert uploads(place) == 1
    place.proxy.reset()
    assert await place.ensure(path) == image_id
    assert place.proxy.changes() == [], "it exists: nothing is done"


async def test_a_script_that_writes_an_archive(place: Place) -> None:
    archive = place.archive()
    path = place.folder / "stream"
    path.write_text(f"#!/bin/sh\nexec cat {archive}\n")
    path.chmod(0o755)
    assert Kind.of(path) is Kind.STREAM
    image_id = await place.ensure(path)
    assert place.tags() == {HASH: image_id}
    assert place.reports == ["writing the image", "loading the image, 0 MB"]


async def test_a_script_that_fails(place: Place) -> None:
    path = place.folder / "stream"
    path.write_text("#!/bin/sh\necho half an image\necho no layer here >&2\nexit 3\n")
    path.chmod(0o755)
    with pytest.raises(DockerError) as caught:
        await place.ensure(path)
    assert str(caught.value) == (
        f"the image's script failed: {path}: no layer here. run it by hand to see more"
    )
    assert place.tags() == {}


async def test_names_in_the_archive_are_not_changed(place: Place) -> None:
    """A user's own `app:latest` is not moved, and no other name is created."""
    old = place.archive(b"a user's")
    place.dockerd.request(
        "POST", "/images/load?quiet=1", old.read_bytes(), content_type="application/x-tar"
    )
    place.dockerd.request("DELETE", f"/images/{place.dockerd.prefix}:v1")
    users = place.tags()
    assert users.keys() == {"latest"}
    image_id = await place.ensure(place.archive(b"another"))
    assert place.tags() == {**users, HASH: image_id}
    assert image_id not in users.values()
    await place.remove()
    assert place.tags() == users


async def test_the_same_image_keeps_a_users_name(place: Place) -> None:
    path = place.archive()
    place.dockerd.request(
        "POST", "/images/load?quiet=1", path.read_bytes(), content_type="application/x-tar"
    )
    image_id = await place.ensure(path)
    assert place.tags() == {"v1": image_id, "latest": image_id, HASH: image_id}
    await place.remove()
    assert place.tags() == {"v1": image_id, "latest": image_id}


async def test_another_image_under_the_name_is_refused(place: Place) -> None:
    """Whoever loaded it: it is neither run, nor does it lose its name."""
    other = await place.ensure(place.archive(b"another"))
    path = place.archive()
    place.proxy.reset()
    with pytest.raises(DockerError) as caught:
        await place.ensure(path)
    assert str(caught.value) == (
        f"the daemon has another image under this name: {place.ref}: "
        f"it is {other}, not {read_manifest(path).config.digest}. find out who loaded it "
        "(another machine's build of the same release counts as another image if its bytes "
        f"differ), remove it with `docker -H {place.proxy.host} image rmi {place.ref}`, "
        "then run `pulumi up` again"
    )
    assert place.proxy.changes() == []
    await place.remove(read_manifest(path).config.digest)
    assert place.tags() == {HASH: other}
    await place.remove(other)
    assert place.tags() == {}


@pytest.mark.parametrize("compression", ["", "gz"])
async def test_layers_that_are_compressed(place: Place, compression: str) -> None:
    """The configuration, and so the id, is that of the uncompressed ones."""
    parts = members(layer({"content": b"one"}), place.others, blobs=False)
    name = next(iter(parts))
    path = write(
        place.folder / "image.tar", {**parts, name: gzip.compress(parts[name])}, compression
    )
    assert await place.ensure(path) == read_manifest(path).config.digest


@pytest.mark.parametrize("compression", ["", "gz"])
async def test_a_truncated_archive_is_one_message(place: Place, compression: str) -> None:
    path = place.archive(bytes(range(256)) * 1000, compression)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DockerError) as caught:
        await place.ensure(path)
    text = str(caught.value)
    assert text.startswith(f"damaged image archive: {path}: ")
    assert "\n" not in text
    assert place.tags() == {}
    assert uploads(place) == 0


async def test_an_image_that_the_daemon_refuses(place: Place) -> None:
    """A layer that does not match the image: only the daemon finds out."""
    parts = members(layer({"content": b"one"}), place.others, blobs=False)
    name = next(iter(parts))
    path = write(place.folder / "image.tar", {**parts, name: layer({"content": b"two"})})
    with pytest.raises(DockerError) as caught:
        await place.ensure(path)
    text = str(caught.value)
    assert text.startswith(f"Docker refused the image: {place.ref}: invalid diffID for layer 0: ")
    assert text.endswith(". fix the image, or free disk space for dockerd")
    assert place.tags() == {}


async def test_an_image_in_use_stays(place: Place) -> None:
    image_id = await place.ensure(place.archive())
    body = {"Image": place.ref, "Cmd": ["/content"], "Labels": {"flakeup.contract": "x"}}
    made = place.dockerd.request("POST", "/containers/create", body)["Id"]
    try:
        await place.remove()
        assert place.tags() == {HASH: image_id}
    finally:
        place.dockerd.request("DELETE", f"/containers/{made}?force=1")
    await place.remove()
    assert place.tags() == {}
    await place.remove()


async def test_an_image_without_a_name_is_removed_too(place: Place) -> None:
    """Unless somebody has given it another name."""
    busybox = static_busybox()
    assert busybox, "the daemon's own image has it too"
    image_id, prefix = place.dockerd.make_image(busybox, "mine"), place.dockerd.prefix
    place.dockerd.request("POST", f"/images/{image_id}/tag?repo={prefix}&tag={HASH}")
    body = {"Image": image_id, "Cmd": ["sleep", "60"], "Labels": {"flakeup.contract": "x"}}
    made = place.dockerd.request("POST", "/containers/create", body)["Id"]
    try:
        place.dockerd.request("POST", f"/containers/{made}/start")
        place.dockerd.request("DELETE", f"/images/{place.ref}?force=1")
        await place.remove(image_id)
        assert place.tags() == {"mine": image_id}
        place.dockerd.request("DELETE", f"/images/{prefix}:mine?force=1")
        await place.remove(image_id)
        assert place.is_there(image_id), "a container has it"
    finally:
        place.dockerd.request("DELETE", f"/containers/{made}?force=1")
    await place.remove()
    assert place.is_there(image_id)
    await place.remove(image_id)
    assert not place.is_there(image_id)
    await place.remove(image_id)


@pytest.mark.parametrize("when", ["before", "middle", "after"])
async def test_a_daemon_that_restarts_while_an_image_is_loaded(place: Place, when: str) -> None:
    path = place.archive(bytes(3_000_000))
    trouble = place.proxy.disconnect("POST /images/load", when=when, seconds=1)
    image_id = await place.ensure(path)
    assert trouble.triggered.is_set()
    assert place.tags() == {HASH: image_id}


async def test_an_unavailable_daemon_is_one_message(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.pipeline.targets.docker.daemon.RESTART", 1.0)
    with place.proxy.down(), pytest.raises(DockerUnavailableError) as caught:
        await place.ensure(place.archive())
    assert str(caught.value) == (
        f"cannot reach Docker: {place.proxy.host}: [Errno 2] No such file or directory. "
        f"check that dockerd runs, and that `docker -H {place.proxy.host} version` works for you"
    )
