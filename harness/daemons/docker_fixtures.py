"""Resources that tests of the Docker provider create."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.daemons.dockerd import Dockerd
    from harness.providers.docker_driver import Plugin, ResourceState
    from harness.unix_http import Json

HEALTHY = {"tests": ["CMD", "true"], "interval": "1s"}
SICK = {"tests": ["CMD", "cat", "/none"], "interval": "1s", "retries": 1}


def sleeper(dockerd: Dockerd, **changes: Json) -> dict[str, Json]:
    """The inputs of a container that keeps running."""
    base = {"image": dockerd.image, "command": ["sleep", "1000"], "labels": [dockerd.label]}
    return {**base, **changes}


def named(dockerd: Dockerd, name: str) -> str:
    """A resource name with the tests' prefix, with which generated names begin, too."""
    return f"{dockerd.prefix}-{name}"


@contextlib.contextmanager
def made(
    plugin: Plugin, dockerd: Dockerd, kind: str, inputs: dict[str, Json], name: str
) -> Iterator[ResourceState]:
    """Create a resource during the block."""
    resource = plugin.create_resource(kind, inputs, name=named(dockerd, name))
    try:
        yield resource
    finally:
        plugin.delete_resource(resource)


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Poll a condition until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
