"""A swarm of a Docker daemon of a test's own."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.daemons import own_dockerd
from harness.daemons.dockerd import Dockerd, static_busybox

if TYPE_CHECKING:
    from collections.abc import Iterator


def missing() -> str:
    """Why there can be none here; empty where there can."""
    if os.geteuid() != 0:
        return "a daemon of the tests' own needs root"
    program = next((name for name in own_dockerd.NEEDED if shutil.which(name) is None), None)
    if program:
        return f"no {program} on PATH"
    return "" if static_busybox() else "no static busybox: install busybox-static"


@contextmanager
def own_daemon(prefix: str) -> Iterator[Dockerd]:
    """The daemon, empty and no swarm yet; nothing of it is left."""
    with own_dockerd.started() as daemon:
        yield replace(daemon.seen, prefix=prefix)


def be_swarm(daemon: Dockerd) -> None:
    """What `docker swarm init` does."""
    asked = {"ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1"}
    daemon.ask("POST", "/swarm/init", asked)


def make_images(daemon: Dockerd) -> None:
    """The tests' image, in two releases."""
    busybox = static_busybox()
    assert busybox
    daemon.make_image(busybox)
    daemon.make_image(busybox, "2")
