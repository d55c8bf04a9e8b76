"""What hosts say when they are asked what they run."""

import time
import tracemalloc
from typing import TYPE_CHECKING, cast

import pytest

from components.pipeline.deploy.observe import observe
from components.pipeline.errors import HostError, ProcessError, UnreachableError
from components.pipeline.process.run import Argv
from tests.unit.hosts import host

if TYPE_CHECKING:
    from components.pipeline.config.stack import HostSpec
    from components.pipeline.transport.transport import Transport

REPLY = '{"schema": 1, "event": "observed", "bootId": "b", "arch": "x86_64"}'


class Script:
    """A host that runs a script, whatever it is asked."""

    def __init__(self, name: str, script: str) -> None:
        self.host: HostSpec = host(name)
        self._script = script

    def argv(self, *_: str) -> Argv:
        return ("sh", "-c", self._script)

    def explain(self, error: ProcessError) -> HostError:
        return UnreachableError(error.last_lines(1))


async def reply_of(script: str) -> object:
    (reply,) = (await observe([cast("Transport", Script("web1", script))])).values()
    return reply


async def test_it_reports_what_it_runs() -> None:
    found = await reply_of(f"echo '{REPLY}'")
    assert getattr(found, "boot_id", None) == "b"


@pytest.mark.parametrize("stream", ["1", "2"])
async def test_hosts_that_print_without_end_cost_little(stream: str) -> None:
    """All hosts are asked at once."""
    hosts = [Script(f"web{number}", f"yes >&{stream} & sleep 1; kill $!") for number in range(8)]
    tracemalloc.start()
    began = time.monotonic()
    found = await observe([cast("Transport", one) for one in hosts])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 1024 * 1024
    assert time.monotonic() - began < 60
    assert all(isinstance(reply, HostError) for reply in found.values())
    if stream == "1":
        assert str(found["web1"]) == (
            "unusable reply: web1: more than 1048576 bytes of output. "
            "look at what its login shell prints"
        )
