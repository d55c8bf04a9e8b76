"""What a container can make us read, on a real daemon."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from components.pipeline.errors import DockerRefusedError
from components.pipeline.process.bounded import FILE_LIMIT
from components.pipeline.targets.docker.daemon import Daemon
from harness.daemons.dockerd import LABEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from harness.daemons.dockerd import Dockerd

pytestmark = pytest.mark.contract
# A sparse file, and one long line: cheap for the container, and without end for who reads it.
SCRIPT = """
busybox dd of=/big bs=1 count=0 seek=1500000000 2>/dev/null
busybox dd if=/dev/zero bs=1M count=8 2>/dev/null | busybox tr '\\0' x
echo; echo the last line
exec sleep 1000
"""


@pytest.fixture
def container(dockerd: Dockerd) -> Iterator[str]:
    body = {
        "Image": dockerd.image,
        "Cmd": ["sh", "-c", SCRIPT],
        "Labels": {LABEL: dockerd.prefix},
        "HostConfig": {"NetworkMode": "none"},
    }
    made = str(dockerd.request("POST", "/containers/create", body)["Id"])
    dockerd.request("POST", f"/containers/{made}/start")
    yield made
    dockerd.request("DELETE", f"/containers/{made}?force=1&v=1")


@pytest.fixture
async def docker(dockerd: Dockerd, container: str) -> AsyncIterator[Daemon]:
    async with Daemon(dockerd.host) as client:
        async with asyncio.timeout(30):
            while "the last line" not in await client.logs(container, 1):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        yield client


async def test_output_of_any_size_costs_nothing(docker: Daemon, container: str) -> None:
    tracemalloc.start()
    began = time.monotonic()
    try:
        with pytest.raises(DockerRefusedError, match="the reply has more than 65536 bytes"):
            await docker.execute(container, "cat", "/big")
        code, output = await docker.execute(container, "echo", "well")
        log = await docker.logs(container, 10_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (code, output[:4]) == (0, "well")
    assert log.endswith("x" * 1000), "its end, which is beyond the limit, is not read"
    assert peak < 8 * FILE_LIMIT
    assert time.monotonic() - began < 10
