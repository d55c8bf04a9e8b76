"""A Docker daemon of a test's own, in a network namespace and a folder apart, and a swarm of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.contract.docker_world import wait_for
from tests.contract.dockerd import Dockerd, static_busybox

if TYPE_CHECKING:
    from collections.abc import Iterator


def missing() -> str:
    """Why there can be none here; empty where there can."""
    if os.geteuid() != 0:
        return "a daemon of the tests' own needs root"
    program = next((name for name in ("dockerd", "unshare") if shutil.which(name) is None), None)
    if program:
        return f"no {program} on PATH"
    return "" if static_busybox() else "no static busybox: install busybox-static"


@contextlib.contextmanager
def own_daemon(prefix: str) -> Iterator[Dockerd]:
    """The daemon, empty and no swarm yet; nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="flakeup-dockerd-"))  # a socket's path is short
    host = f"unix://{folder}/sock"
    places = ("--data-root", "data", "--exec-root", "exec", "--pidfile", "pid")
    own = [str(folder / word) if not word.startswith("-") else word for word in places]
    script = 'ip link set lo up; exec dockerd "$@"'
    argv = ("unshare", "--net", "--mount", "--", "sh", "-c", script, "sh", "--host", host, *own)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        daemon = Dockerd(host=host, prefix=prefix)
        wait_for(lambda: _answers(daemon), 30)
        yield daemon
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


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


def _answers(daemon: Dockerd) -> bool:
    with contextlib.suppress(OSError):
        return bool(daemon.ask("GET", "/version"))
    return False
