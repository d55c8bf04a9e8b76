"""What an instance that is not ours any more can make us read, on a real Incus."""

from __future__ import annotations

import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from components.pipeline.errors import IncusRefusedError
from components.pipeline.process.bounded import FILE_LIMIT
from components.pipeline.targets.incus import boot, instance
from components.pipeline.targets.incus.api import Incus
from components.pipeline.targets.incus.observed import DesiredInstance
from components.pipeline.targets.incus.remote import Remote
from components.pipeline.values import Owner
from harness.daemons.incusd import Incusd, incusd
from harness.daemons.tiny_image import tiny

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["incusd"]
pytestmark = pytest.mark.contract
SIZE = 1_500_000_000
FILES = "/1.0/instances/a/files?path="


@pytest.fixture
async def incus(incusd: Incusd, tmp_path: Path) -> AsyncIterator[Incus]:
    """A server with a running instance, whose host key has 1.5 GB of nothing."""
    files = tiny(tmp_path, "hostile")
    incusd.client("image", "import", str(files.metadata), str(files.rootfs), "--alias", "hostile")
    image = incusd.request("GET", "/1.0/images/aliases/hostile")["target"]
    desired = DesiredInstance(
        name="a", image=image, config={"security.nesting": "true"}, config_path="hosts.a.incus"
    )
    async with Incus(Remote(name="local", socket=incusd.socket), "default") as server:
        await instance.create(server, desired, Owner.parse("shop/prod"), print, importing="")
        await boot.wait_until_booted(server, "a", seconds=20, ssh=True, say=print)
        argv = ("busybox", "dd", f"of={boot.KEY_FILE}", "bs=1", "count=0", f"seek={SIZE}")
        incusd.client("exec", "a", "--", *argv)
        try:
            yield server
        finally:
            incusd.clear()


async def test_a_host_key_of_any_size_costs_nothing(incus: Incus) -> None:
    tracemalloc.start()
    began = time.monotonic()
    try:
        found = await boot.find_endpoint(incus, "a")
        with pytest.raises(IncusRefusedError, match="more than 1048576 bytes"):
            await incus.get_bytes(FILES + boot.KEY_FILE, limit=FILE_LIMIT)
        assert await incus.get_beginning(FILES + boot.KEY_FILE, limit=11) == b"ssh-ed25519"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == f"{boot.KEY_FILE}: more than 4096 bytes"
    assert peak < 8 * FILE_LIMIT
    assert time.monotonic() - began < 10
