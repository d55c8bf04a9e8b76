"""A Docker daemon of the test's own, which is restarted: a service comes back by itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest

from components.pipeline.docker import edge
from components.pipeline.docker.daemon import Daemon
from components.pipeline.docker.route import COMMAND, CONFIG, FOLDER, RESTART, STOP_SIGNAL, Route
from tests.contract.dockerd import Dockerd, RefusedError, static_busybox
from tests.contract.test_docker_target_edge import _tar
from tests.unit.docker_archives import members, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contract.dockerd import Json

pytestmark = pytest.mark.contract
NEEDED: Final = ("dockerd", "unshare", "nsenter", "ip")
NETWORK: Final = "services"
SERVES: Final = """
/bin/busybox mkdir /www; echo served >/www/index.html
httpd -f -p 8080 -h /www & trap 'exit 0' TERM; wait
"""


class OwnDockerd:
    """A daemon in a network of its own: what it does to it, no other daemon notices."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        argv = ("unshare", "--net", "sleep", "1000")
        self._holder = subprocess.Popen(argv, start_new_session=True)
        time.sleep(0.3)  # until it is in its own
        self._inside = ("nsenter", "-t", str(self._holder.pid), "-n")
        subprocess.run((*self._inside, "ip", "link", "set", "lo", "up"), check=True, timeout=10)
        self.seen = Dockerd(host=f"unix://{folder}/sock", prefix="own")
        self._start()

    def _start(self) -> None:
        argv = (
            *self._inside,
            "dockerd",
            f"--data-root={self._folder}/data",
            f"--exec-root={self._folder}/exec",
            f"--pidfile={self._folder}/pid",
            f"--host={self.seen.host}",
        )
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError, RefusedError):
                self.seen.ask("GET", "/images/json")
                return
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.end()
                pytest.skip(f"no dockerd of one's own here: {(self._folder / 'log').read_text()}")
            time.sleep(0.1)

    def restart(self) -> None:
        """As when a machine updates it."""
        self._stop()
        self._start()

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def end(self) -> None:
        if self._process.poll() is None:
            self._stop()
        self._holder.kill()
        self._holder.wait()


@pytest.fixture
def own(tmp_path: Path, parts: dict[str, dict[str, Any]]) -> Iterator[OwnDockerd]:
    if os.geteuid() != 0:
        pytest.skip("no dockerd of one's own: only root can start one")
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        pytest.skip(f"no dockerd of one's own: {', '.join(missing)} missing")
    if parts["edge"]["state"] != "ready":
        pytest.skip(f"no edge: {parts['edge']['reason']}; {parts['edge']['remedy']}")
    made = OwnDockerd(tmp_path)
    yield made
    for one in made.seen.ask("GET", "/containers/json?all=1"):
        made.seen.ask("DELETE", f"/containers/{one['Id']}?force=1")
    made.end()


def run(dockerd: Dockerd, name: str, body: Json) -> str:
    body["HostConfig"] |= {"NetworkMode": NETWORK}
    made = str(dockerd.ask("POST", f"/containers/create?name={name}", body)["Id"])
    if name == "edge":
        file, content = CONFIG.rpartition("/")[2], Route(ports={80: 8080}).config.encode()
        path = f"/containers/{made}/archive?path={FOLDER}"
        dockerd.ask("PUT", path, _tar(file, content), kind="application/x-tar")
    dockerd.ask("POST", f"/containers/{made}/start")
    return made


async def test_a_service_comes_back_with_the_daemon(
    own: OwnDockerd, parts: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Its edge too: to Docker, one that was sent a signal is one that was stopped by hand."""
    dockerd, busybox = own.seen, static_busybox()
    if busybox is None:
        pytest.skip("no static busybox: install busybox-static")
    with open(parts["edge"]["layer"], "rb") as file:  # noqa: ASYNC230, PTH123 before anything else
        packed = members(file.read(), ["haproxy:1"], blobs=False)
    archive = write(tmp_path / "haproxy.tar", packed).read_bytes()
    dockerd.ask("POST", "/images/load?quiet=1", archive, kind="application/x-tar")
    dockerd.make_image(busybox)
    dockerd.ask("POST", "/networks/create", {"Name": NETWORK})
    policy = {"RestartPolicy": {"Name": "unless-stopped"}}
    serves = ["sh", "-c", SERVES]
    app = run(dockerd, "app", {"Image": dockerd.image, "Cmd": serves, "HostConfig": policy})
    gate = run(
        dockerd,
        "edge",
        {
            "Image": "haproxy:1",
            "Cmd": COMMAND,
            "StopSignal": STOP_SIGNAL,
            "HostConfig": {"RestartPolicy": {"Name": RESTART}},
        },
    )
    async with Daemon(dockerd.host) as docker:
        await edge.send(docker, gate, Route(ports={80: 8080}, container="app", grace=1))
    assert dockerd.run(app, "wget", "-q", "-O", "-", "http://edge/") == "served"
    own.restart()
    deadline = time.monotonic() + 20
    while dockerd.run(app, "wget", "-q", "-O", "-", "http://edge/") != "served":
        assert time.monotonic() < deadline, dockerd.ask("GET", "/containers/json?all=1")
        await asyncio.sleep(0.2)
