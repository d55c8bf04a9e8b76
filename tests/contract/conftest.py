"""A Docker daemon with an image of the tests' own; skipped by name where there is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from harness.daemons.dockerd import Dockerd, static_busybox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def dockerd(docker_host: str) -> Iterator[Dockerd]:
    busybox = static_busybox()
    if busybox is None:
        pytest.skip("no static busybox: install busybox-static")
    daemon = Dockerd(host=docker_host, prefix=f"flakeup-contract-{os.getpid()}")
    try:
        daemon.make_image(busybox)
        yield daemon
    finally:
        daemon.remove_all()
