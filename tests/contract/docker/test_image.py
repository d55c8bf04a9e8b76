"""Images of the target Docker, on a real daemon: loaded once, under one name, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from components.pipeline.errors import DockerAwayError, DockerError
from components.pipeline.targets.docker import image
from components.pipeline.targets.docker.daemon import Daemon, steadily
from components.pipeline.targets.docker.image import Kind
from harness.daemons.docker_proxy import DockerProxy
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

    def __init__(self, folder: Path, dockerd: Dockerd, proxy: DockerProxy) -> None:
        self.folder, self.dockerd, self.proxy = folder, dockerd, proxy
        self.ref = f"{dockerd.prefix}:{HASH}"
        self.others = [f"{dockerd.prefix}:v1", f"{dockerd.prefix}:latest"]
        self.said: list[str] = []
        self._before: frozenset[str] = frozenset()
        self._before = frozenset(self.tags())

    def archive(self, content: bytes = b"one", compression: str = "") -> Path:
        """An image that comes with names of its own."""
        parts = members(layer({"content": content}), self.others, blobs=False)
        return write(self.folder / "image.tar", parts, compression)

    async def ensure(self, path: Path) -> str:
        async with Daemon(self.proxy.host) as docker:
            return await steadily(
                docker,
                lambda: image.ensure(docker, path, self.ref, self.said.append),
            )

    async def remove(self, identity: str = "") -> None:
        async with Daemon(self.proxy.host) as docker:
            await image.remove(docker, self.ref, identity)

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
    with DockerProxy(tmp_path / "docker.sock", dockerd.host) as proxy:
        made = Place(tmp_path, dockerd, proxy)
        yield made
    for tag in made.tags():
        dockerd.request("DELETE", f"/images/{dockerd.prefix}:{tag}?force=1")


def uploads(place: Place) -> int:
    return len(place.proxy.seen(r"^POST .*/images/load"))


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
async def test_an_archive_is_loaded_once_and_under_one_name(place: Place, compression: str) -> None:
    path = place.archive(compression=compression)
    identity = await place.ensure(path)
    assert identity == image.read_manifest(path).config
    assert place.tags() == {HASH: identity}
    assert place.said == ["sending the image, 0 MB"]
    assert uploads(place) == 1
    place.proxy.forget()
    assert await place.ensure(path) == identity
    assert place.proxy.changes() == [], "it is there, so nothing is done"


async def test_a_script_that_writes_an_archive(place: Place) -> None:
    archive = place.archive()
    path = place.folder / "stream"
    path.write_text(f"#!/bin/sh\nexec cat {archive}\n")
    path.chmod(0o755)
    assert Kind.of(path) is Kind.STREAM
    identity = await place.ensure(path)
    assert place.tags() == {HASH: identity}
    assert place.said == ["writing the image", "sending the image, 0 MB"]


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


async def test_names_that_the_archive_brings_stay_what_they_were(place: Place) -> None:
    """A user's own `app:latest` is not moved, and one that was not there does not come."""
    old = place.archive(b"a user's")
    place.dockerd.request(
        "POST", "/images/load?quiet=1", old.read_bytes(), content_type="application/x-tar"
    )
    place.dockerd.request("DELETE", f"/images/{place.dockerd.prefix}:v1")
    users = place.tags()
    assert users.keys() == {"latest"}
    identity = await place.ensure(place.archive(b"another"))
    assert place.tags() == {**users, HASH: identity}
    assert identity not in users.values()
    await place.remove()
    assert place.tags() == users


async def test_the_same_image_with_a_users_name_on_it_keeps_that(place: Place) -> None:
    path = place.archive()
    place.dockerd.request(
        "POST", "/images/load?quiet=1", path.read_bytes(), content_type="application/x-tar"
    )
    identity = await place.ensure(path)
    assert place.tags() == {"v1": identity, "latest": identity, HASH: identity}
    await place.remove()
    assert place.tags() == {"v1": identity, "latest": identity}


@pytest.mark.parametrize("compression", ["", "gz"])
async def test_an_archive_that_was_cut_short_is_one_message_and_nothing_else(
    place: Place, compression: str
) -> None:
    path = place.archive(bytes(range(256)) * 1000, compression)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DockerError) as caught:
        await place.ensure(path)
    said = str(caught.value)
    assert said.startswith(f"not a whole image archive: {path}: ")
    assert "\n" not in said
    assert place.tags() == {}
    assert uploads(place) == 0


async def test_what_the_daemon_refuses_is_one_message(place: Place) -> None:
    """A layer that is another one than the image says: only the daemon sees that."""
    parts = members(layer({"content": b"one"}), place.others, blobs=False)
    name = next(iter(parts))
    path = write(place.folder / "image.tar", {**parts, name: layer({"content": b"two"})})
    with pytest.raises(DockerError) as caught:
        await place.ensure(path)
    said = str(caught.value)
    assert said.startswith(f"Docker refused the image: {place.ref}: invalid diffID for layer 0: ")
    assert said.endswith(". mend the image, or make room where dockerd keeps its own")
    assert place.tags() == {}


async def test_an_image_in_use_stays(place: Place) -> None:
    identity = await place.ensure(place.archive())
    body = {"Image": place.ref, "Cmd": ["/content"], "Labels": {"flakeup.contract": "x"}}
    made = place.dockerd.request("POST", "/containers/create", body)["Id"]
    try:
        await place.remove()
        assert place.tags() == {HASH: identity}
    finally:
        place.dockerd.request("DELETE", f"/containers/{made}?force=1")
    await place.remove()
    assert place.tags() == {}
    await place.remove()


async def test_an_image_whose_name_was_taken_off_while_it_was_in_use_goes_too(place: Place) -> None:
    """But not where somebody has given it a name of his own."""
    busybox = static_busybox()
    assert busybox, "the daemon's own image has it too"
    identity, prefix = place.dockerd.make_image(busybox, "mine"), place.dockerd.prefix
    place.dockerd.request("POST", f"/images/{identity}/tag?repo={prefix}&tag={HASH}")
    body = {"Image": identity, "Cmd": ["sleep", "60"], "Labels": {"flakeup.contract": "x"}}
    made = place.dockerd.request("POST", "/containers/create", body)["Id"]
    try:
        place.dockerd.request("POST", f"/containers/{made}/start")
        place.dockerd.request("DELETE", f"/images/{place.ref}?force=1")
        await place.remove(identity)
        assert place.tags() == {"mine": identity}
        place.dockerd.request("DELETE", f"/images/{prefix}:mine?force=1")
        await place.remove(identity)
        assert place.is_there(identity), "a container has it"
    finally:
        place.dockerd.request("DELETE", f"/containers/{made}?force=1")
    await place.remove()
    assert place.is_there(identity)
    await place.remove(identity)
    assert not place.is_there(identity)
    await place.remove(identity)


@pytest.mark.parametrize("when", ["before", "middle", "after"])
async def test_a_daemon_that_is_restarted_while_an_image_is_sent(place: Place, when: str) -> None:
    path = place.archive(bytes(3_000_000))
    trouble = place.proxy.away("POST /images/load", when=when, seconds=1)
    identity = await place.ensure(path)
    assert trouble.met.is_set()
    assert place.tags() == {HASH: identity}


async def test_a_daemon_that_is_away_for_good_is_one_message(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.pipeline.targets.docker.daemon.RESTART", 1.0)
    with place.proxy.gone(), pytest.raises(DockerAwayError) as caught:
        await place.ensure(place.archive())
    assert str(caught.value) == (
        f"cannot reach Docker: {place.proxy.host}: [Errno 2] No such file or directory. "
        f"check that dockerd runs, and that `docker -H {place.proxy.host} version` works for you"
    )
