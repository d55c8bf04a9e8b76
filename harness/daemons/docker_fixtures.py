"""A daemon and a plugin for the session of a module, and what the tests make with them."""

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
    """The inputs of a container that stays."""
    base = {"image": dockerd.image, "command": ["sleep", "1000"], "labels": [dockerd.label]}
    return {**base, **changes}


def named(dockerd: Dockerd, name: str) -> str:
    """A name for the program to use, which also starts the names that are made up."""
    return f"{dockerd.prefix}-{name}"


@contextlib.contextmanager
def made(
    plugin: Plugin, dockerd: Dockerd, kind: str, inputs: dict[str, Json], name: str
) -> Iterator[ResourceState]:
    """A resource for as long as it is looked at."""
    resource = plugin.create_resource(kind, inputs, name=named(dockerd, name))
    try:
        yield resource
    finally:
        plugin.delete_resource(resource)


def wait_for(is_so: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
