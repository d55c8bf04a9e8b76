"""A separate Docker daemon, which tests may restart and kill.

It is in a network namespace of its own, so that it does not disturb other daemons. `netns.within`
connects to the ports that it publishes there. Needs root, like any dockerd.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.daemons.dockerd import Dockerd
from harness.unix_http import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDED: Final = ("dockerd", "unshare", "nsenter", "ip")
_FOLDER: Final = "flakeup-dockerd-"
_TIMEOUT: Final = 60.0


class OwnDockerd:
    """A daemon with its data, socket and state in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._holder = subprocess.Popen(("unshare", "--net", "sleep", "86400"))
        end = time.monotonic() + _TIMEOUT
        while Path(self.network).readlink() == Path("/proc/self/ns/net").readlink():
            assert time.monotonic() < end, "unshare did not enter a network namespace"
            time.sleep(0.01)
        self._inside = ("nsenter", "-t", str(self._holder.pid), "-n")
        subprocess.run((*self._inside, "ip", "link", "set", "lo", "up"), check=True, timeout=10)
        self.seen = Dockerd(host=f"unix://{folder}/sock", prefix="own")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def network(self) -> str:
        """The file of its network namespace."""
        return f"/proc/{self._holder.pid}/ns/net"

    @property
    def runs(self) -> bool:
        """Whether it is running."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # After a kill, a pid file may name a zombie or an unrelated process; containerd exits with
        # its dockerd.
        for pid_file in ("pid", "exec/containerd/containerd.pid"):
            (self._folder / pid_file).unlink(missing_ok=True)
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
        end = time.monotonic() + _TIMEOUT
        while True:
            with suppress(OSError, ApiError):
                self.seen.request("GET", "/images/json")
                return
            ended = self._process.poll() is not None
            assert not ended and time.monotonic() < end, self._log()  # noqa: PT018 one reason
            time.sleep(0.1)

    def _log(self) -> str:
        return (self._folder / "log").read_text()[-2000:]

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, and wait until it has exited; SIGTERM also stops its containers."""
        assert self._process
        self._process.send_signal(number)
        self._process.wait(_TIMEOUT)

    def restart(self, number: int = signal.SIGTERM) -> None:
        """Kill it, and start it again."""
        self.kill(number)
        self.start()

    def remove(self) -> None:
        """Remove its containers, itself, and its folder."""
        try:
            if not self.runs:
                self.start()
            for one in self.seen.request("GET", "/containers/json?all=1"):
                with suppress(ApiError):  # it is being removed already
                    self.seen.request("DELETE", f"/containers/{one['Id']}?force=1")
        finally:
            if self.runs:
                self.kill(signal.SIGTERM)
            self._holder.kill()
            self._holder.wait()
        for mount in _mounts(self._folder):
            subprocess.run(("umount", "-q", mount), check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self._folder)


def why_not(parts: dict[str, dict[str, Any]]) -> str:
    """Why this machine cannot run a separate daemon; empty if it can."""
    if parts["docker"]["state"] != "ready":
        return f"no docker: {parts['docker']['reason']}; {parts['docker']['remedy']}"
    if os.geteuid() != 0:
        return "no separate dockerd: only root can start one"
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        return f"no separate dockerd: {', '.join(missing)} missing"
    return ""


@contextmanager
def started() -> Iterator[OwnDockerd]:
    """Run a daemon during the block."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    (folder / "owner").write_text(str(os.getpid()))
    daemon = OwnDockerd(folder)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.remove()


def _mounts(folder: Path) -> list[str]:
    """The mount points in a folder, innermost first."""
    places = (line.split(" ")[1] for line in Path("/proc/mounts").read_text().splitlines())
    return sorted((place for place in places if place.startswith(f"{folder}/")), reverse=True)


def _sweep() -> None:
    """Remove the daemons of tests that were killed, which are found by their folders."""
    for owner in list(Path(tempfile.gettempdir()).glob(f"{_FOLDER}*/owner")):
        if Path(f"/proc/{owner.read_text()}").exists():
            continue
        mark = f"--data-root={owner.parent}/".encode()
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if mark in process.read_bytes():
                    os.kill(int(process.parent.name), signal.SIGTERM)
        with suppress(AssertionError, ApiError, OSError):  # the next run tries again
            OwnDockerd(owner.parent).remove()
