"""The edge: real HAProxy, real containers, and clients that keep sending requests."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import tarfile
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from components.pipeline.config.services import Traffic
from components.pipeline.errors import DockerError
from components.pipeline.targets.docker import edge
from components.pipeline.targets.docker.archive import pieces, read_manifest
from components.pipeline.targets.docker.daemon import Daemon
from components.pipeline.targets.docker.image import in_thread
from components.pipeline.targets.docker.route import COMMAND, CONFIG, FOLDER, Route
from harness.daemons.dockerd import LABEL, static_busybox
from harness.http_load import SHORT_PERIOD, Load, http_get
from harness.ports import free_port
from tests.unit.targets.docker.archives import layer, members, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from harness.daemons.dockerd import Dockerd

pytestmark = pytest.mark.contract
INNER: Final = 8080
_SERVER: Final = (
    "/bin/busybox mkdir /www; echo {name} >/www/index.html; exec httpd -f -p 8080 -h /www"
)
_SLOW: Final = r"""
cat >/slow <<'end'
#!/bin/sh
while read -r line && [ ${#line} -gt 1 ]; do :; done
>/asked
sleep 4
printf 'HTTP/1.0 200 OK\r\n\r\nlate\n'
end
/bin/busybox chmod +x /slow
exec nc -ll -p 8080 -e /slow
"""
_DEAF: Final = b"""#!/bin/sh
case $1 in -c) exit 0 ;; esac
trap '' USR2
exec sleep 1000
"""


class Place:
    """A network, containers in it, and an edge before them."""

    def __init__(self, dockerd: Dockerd, network: str, haproxy: str) -> None:
        self.dockerd, self.network, self.haproxy = dockerd, network, haproxy
        self.port = free_port()
        self.edge = ""

    def run(self, name: str, *command: str, image: str = "", **host: Any) -> str:
        """A container that runs; its id."""
        body = {
            "Image": image or self.dockerd.image,
            "Cmd": command,
            "Labels": {LABEL: self.dockerd.prefix},
            "StopTimeout": 1,
            "ExposedPorts": {port: {} for port in host.get("PortBindings", ())},
            "HostConfig": {"NetworkMode": self.network, **host},
        }
        made = self.dockerd.request("POST", f"/containers/create?name={self.name(name)}", body)[
            "Id"
        ]
        if name == "edge":
            initial = Route(ports={self.port: INNER}).config
            self.dockerd.request(
                "PUT",
                f"/containers/{made}/archive?path={FOLDER}",
                _tar(CONFIG.rpartition("/")[2], initial.encode()),
                content_type="application/x-tar",
            )
        self.dockerd.request("POST", f"/containers/{made}/start")
        return str(made)

    def name(self, short: str) -> str:
        return f"{self.dockerd.prefix}-{short}"

    def serve(self, name: str) -> str:
        """A container that answers with its name."""
        return self.run(name, "sh", "-c", _SERVER.format(name=name))

    def start_edge(self) -> None:
        published = {f"{self.port}/tcp": [{"HostPort": str(self.port)}]}
        self.edge = self.run("edge", *COMMAND, image=self.haproxy, PortBindings=published)

    def route(self, name: str, **more: Any) -> Route:
        return Route(ports={self.port: INNER}, container=self.name(name), **{"grace": 5, **more})

    async def send(self, name: str, **more: Any) -> None:
        async with Daemon(self.dockerd.host) as docker:
            await edge.send(docker, self.edge, self.route(name, **more))

    def remove(self) -> None:
        for short in ("edge", "one", "two", "slow", "my_app", "other"):
            with contextlib.suppress(Exception):
                self.dockerd.request("DELETE", f"/containers/{self.name(short)}?force=1")


def _tar(name: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


@pytest.fixture(scope="module")
def network(dockerd: Dockerd) -> Iterator[str]:
    name = f"{dockerd.prefix}-edges"
    dockerd.request("POST", "/networks/create", {"Name": name, "Labels": {LABEL: dockerd.prefix}})
    yield name
    dockerd.request("DELETE", f"/networks/{name}")


@pytest.fixture(scope="module")
def haproxy(
    dockerd: Dockerd, parts: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """An image of HAProxy; skips where tools/bootstrap has none."""
    part = parts["edge"]
    if part["state"] != "ready":
        pytest.skip(f"no edge: {part['reason']}; {part['remedy']}")
    with open(part["layer"], "rb") as file:  # noqa: PTH123 a text from a status
        content = file.read()
    ref = f"{dockerd.prefix}:haproxy"
    path = write(
        tmp_path_factory.mktemp("haproxy") / "image.tar", members(content, [ref], blobs=False)
    )
    with path.open("rb") as file:
        dockerd.request(
            "POST", "/images/load?quiet=1", file.read(), content_type="application/x-tar"
        )
    return ref


@pytest.fixture
def place(dockerd: Dockerd, network: str, haproxy: str) -> Iterator[Place]:
    made = Place(dockerd, network, haproxy)
    yield made
    made.remove()


async def answer(port: int, wanted: str, seconds: float = 10) -> float:
    """Wait until the edge gives this answer; returns how long that took."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if await asyncio.to_thread(http_get, port, 2) == wanted:
                return time.monotonic() - began
        assert time.monotonic() - began < seconds, f"no answer {wanted} in {seconds:g} s"
        await asyncio.sleep(0.1)


async def test_no_request_is_lost_over_twenty_switches(place: Place) -> None:
    place.start_edge()
    for name in ("one", "two"):
        place.serve(name)
    await place.send("one")
    await answer(place.port, "one")
    with Load(place.port, SHORT_PERIOD) as load:
        times = []
        for name in ("two", "one") * 10:
            began = time.monotonic()
            await place.send(name)
            times.append(time.monotonic() - began)
            assert await asyncio.to_thread(http_get, place.port) == name, "as soon as it is text"
    answers = [text for _, text in load.answers]
    print(  # noqa: T201 figures
        f"{len(answers)} answers over 20 changes, {len(load.lost)} lost; "
        f"a change takes {max(times):.2f} s at most, longest time without an answer"
        f" {load.gap():.3f} s"
    )
    assert load.lost == []
    assert set(answers) == {"one", "two"}
    assert len(answers) > 500


async def test_requests_before_the_first_route_are_refused(place: Place) -> None:
    place.start_edge()
    place.serve("one")
    deadline = time.monotonic() + 10
    while True:  # until HAProxy listens
        try:
            http_get(place.port)
        except OSError as error:
            if "status 503" in str(error):
                break
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    await place.send("one")
    assert http_get(place.port) == "one"


async def listed(dockerd: Dockerd, container: str, name: str, folder: str) -> None:
    """Wait until a container has a file, or a folder."""
    end = time.monotonic() + 30
    while name not in await asyncio.to_thread(dockerd.run, container, "ls", folder):
        assert time.monotonic() < end
        await asyncio.sleep(0.1)


async def test_requests_in_flight_are_answered_before_the_switch_ends(place: Place) -> None:
    """After it, the previous container may be removed."""
    place.start_edge()
    slow = place.run("slow", "sh", "-c", _SLOW)
    place.serve("one")
    await asyncio.sleep(0.5)
    await place.send("slow", grace=30)
    under_way = asyncio.create_task(asyncio.to_thread(http_get, place.port))
    await listed(place.dockerd, slow, "asked", "/")  # its request is read
    await place.send("one", grace=30)
    place.dockerd.request("DELETE", f"/containers/{slow}?force=1")
    assert await under_way == "late"
    assert http_get(place.port) == "one"


async def test_a_request_longer_than_the_grace_does_not_delay_the_switch(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "RELOAD_TIMEOUT", 1.0)
    place.start_edge()
    place.run("slow", "sh", "-c", _SLOW.replace("sleep 4", "sleep 60"))
    place.serve("one")
    await place.send("slow", grace=6)
    under_way = asyncio.create_task(asyncio.to_thread(_quietly, place.port))
    await asyncio.sleep(0.5)
    began = time.monotonic()
    await place.send("one", grace=6)
    assert time.monotonic() - began < 18, "http_get gives up after 20 s"
    assert http_get(place.port) == "one"
    await under_way


def _quietly(port: int) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        http_get(port, 20)


async def test_tcp(place: Place) -> None:
    place.start_edge()
    for name in ("one", "two"):
        place.serve(name)
    for name in ("one", "two"):
        await place.send(name, traffic=Traffic.TCP)
        assert http_get(place.port) == name


async def test_a_name_with_an_underscore(place: Place) -> None:
    place.start_edge()
    place.serve("my_app")
    await place.send("my_app")
    assert http_get(place.port) == "my_app"


async def test_a_restarted_edge_keeps_its_route(place: Place) -> None:
    place.start_edge()
    place.serve("one")
    await place.send("one")
    place.dockerd.request("POST", f"/containers/{place.edge}/restart?t=1")
    await answer(place.port, "one")


async def test_a_container_that_restarts_with_another_address(place: Place) -> None:
    place.start_edge()
    one = place.serve("one")
    await place.send("one")
    before = _address(place, one)
    place.dockerd.request("POST", f"/containers/{one}/stop?t=0")
    place.serve("other")
    place.dockerd.request("POST", f"/containers/{one}/start")
    assert _address(place, one) != before
    took = await answer(place.port, "one")
    print(f"served at another address after {took:.1f} s")  # noqa: T201 figures


def _address(place: Place, identity: str) -> str:
    networks = place.dockerd.container(identity)["NetworkSettings"]["Networks"]
    return str(networks[place.network]["IPAddress"])


async def test_a_route_is_sent_even_if_the_file_has_it(place: Place) -> None:
    """An interruption between the file and the signal has not switched the traffic."""
    place.start_edge()
    for name in ("one", "two"):
        place.serve(name)
    await place.send("one")
    async with Daemon(place.dockerd.host) as docker:
        await docker.put(place.edge, FOLDER, {"haproxy.cfg": place.route("two").config})
    assert http_get(place.port) == "one"
    await place.send("two")
    assert http_get(place.port) == "two"


# --- broken edges ------------------------------------------------------------------------------


async def message(place: Place) -> str:
    with pytest.raises(DockerError) as caught:
        await place.send("one")
    return str(caught.value)


async def test_an_image_without_haproxy(place: Place) -> None:
    place.edge = place.run("one", "sh", "-c", f"/bin/busybox mkdir {FOLDER}; exec sleep 1000")
    await listed(place.dockerd, place.edge, "haproxy", "/etc")
    text = await message(place)
    assert text.startswith(f"the edge rejected its configuration: {place.name('one')}: ")
    assert 'exec: "haproxy": executable file not found in $PATH' in text
    assert text.endswith("check the edge's image: it must be HAProxy 2.4 or later")


async def test_an_image_without_the_folder_of_haproxy(place: Place) -> None:
    place.edge = place.run("one", "sleep", "1000")
    text = await message(place)
    assert text.startswith(f"the edge rejected its configuration: {place.name('one')}: ")
    assert text.endswith("check the edge's image: it must be HAProxy 2.4 or later")


@pytest.fixture
async def deaf(place: Place, tmp_path: Path) -> AsyncIterator[str]:
    """An image of a program that is called HAProxy and ignores the signal."""
    busybox = static_busybox()
    assert busybox
    links = dict.fromkeys(("bin/sh", "bin/sleep", "bin/busybox"), busybox.read_bytes())
    content = layer({**links, "bin/haproxy": _DEAF, f"{FOLDER[1:]}/x": b""})
    path = write(tmp_path / "image.tar", members(content, None, blobs=False))
    ref = f"{place.dockerd.prefix}:deaf"
    async with Daemon(place.dockerd.host) as docker:
        await docker.load(in_thread(pieces(path, read_manifest(path), ref)))
    yield ref
    place.remove()
    place.dockerd.request("DELETE", f"/images/{ref}?force=1")


async def test_an_edge_that_does_not_load_its_configuration(
    place: Place, deaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The previous container must stay: it gets the requests."""
    monkeypatch.setattr(edge, "RELOAD_TIMEOUT", 1.0)
    place.edge = place.run("one", *COMMAND, image=deaf)
    with pytest.raises(DockerError) as caught:
        await place.send("two", grace=1)
    assert str(caught.value) == (
        f"the edge did not load its configuration: {place.name('one')}. "
        "check the edge's image: it must be HAProxy 2.4 or later"
    )


async def test_a_stopped_edge(place: Place) -> None:
    place.start_edge()
    place.dockerd.request("POST", f"/containers/{place.edge}/stop?t=1")
    text = await message(place)
    assert text.startswith(f"the edge is not running: {place.name('edge')}: ")
    assert text.endswith("`pulumi up --refresh` recreates it")


async def test_a_removed_edge(place: Place) -> None:
    place.edge = "0123456789abcdef" * 4
    assert await message(place) == (
        "the edge does not exist: 0123456789ab. `pulumi up --refresh` recreates it"
    )
