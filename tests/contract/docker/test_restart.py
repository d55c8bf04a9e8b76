"""A Docker daemon of the tests that is restarted: a service comes back by itself."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from components.pipeline.targets.docker import edge
from components.pipeline.targets.docker.daemon import Daemon
from components.pipeline.targets.docker.route import (
    COMMAND,
    CONFIG,
    FOLDER,
    RESTART,
    STOP_SIGNAL,
    Route,
)
from harness.daemons.dockerd import static_busybox
from harness.daemons.own_dockerd import started, why_not
from tests.contract.docker.test_edge import _tar
from tests.unit.targets.docker.archives import members, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.daemons.dockerd import Dockerd
    from harness.daemons.own_dockerd import OwnDockerd
    from harness.unix_http import Json

pytestmark = pytest.mark.contract
NETWORK: Final = "services"
SERVES: Final = """
/bin/busybox mkdir /www; echo served >/www/index.html
httpd -f -p 8080 -h /www & trap 'exit 0' TERM; wait
"""


@pytest.fixture
def own(parts: dict[str, dict[str, Any]]) -> Iterator[OwnDockerd]:
    if reason := why_not(parts):
        pytest.skip(reason)
    if parts["edge"]["state"] != "ready":
        pytest.skip(f"no edge: {parts['edge']['reason']}; {parts['edge']['remedy']}")
    with started() as made:
        yield made


def run(dockerd: Dockerd, name: str, body: Json) -> str:
    body["HostConfig"] |= {"NetworkMode": NETWORK}
    made = str(dockerd.request("POST", f"/containers/create?name={name}", body)["Id"])
    if name == "edge":
        file, content = CONFIG.rpartition("/")[2], Route(ports={80: 8080}).config.encode()
        path = f"/containers/{made}/archive?path={FOLDER}"
        dockerd.request("PUT", path, _tar(file, content), content_type="application/x-tar")
    dockerd.request("POST", f"/containers/{made}/start")
    return made


async def test_a_service_comes_back_with_the_daemon(
    own: OwnDockerd, parts: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Even with one that was killed, and with its edge.

    Docker takes a container that got a signal for stopped by hand, and so what a restarted dockerd
    finds running and stops.
    """
    dockerd, busybox = own.seen, static_busybox()
    if busybox is None:
        pytest.skip("no static busybox: install busybox-static")
    with open(parts["edge"]["layer"], "rb") as file:  # noqa: ASYNC230, PTH123 before anything else
        packed = members(file.read(), ["haproxy:1"], blobs=False)
    archive = write(tmp_path / "haproxy.tar", packed).read_bytes()
    dockerd.request("POST", "/images/load?quiet=1", archive, content_type="application/x-tar")
    dockerd.make_image(busybox)
    dockerd.request("POST", "/networks/create", {"Name": NETWORK})
    policy = {"RestartPolicy": {"Name": RESTART}}
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
    for number in (signal.SIGTERM, signal.SIGKILL):
        own.restart(number)
        deadline = time.monotonic() + 20
        while dockerd.run(app, "wget", "-q", "-O", "-", "http://edge/") != "served":
            assert time.monotonic() < deadline, dockerd.request("GET", "/containers/json?all=1")
            await asyncio.sleep(0.2)
