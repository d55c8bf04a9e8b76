"""A Docker daemon of the tests' own, which may be restarted and killed.

It is in a network of its own: what it does to it, no other daemon notices. `netns.within` leads to
the ports that it publishes there. Needs root, as any dockerd.
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
_PATIENCE: Final = 60.0


class OwnDockerd:
    """A daemon whose data, socket and processes are in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._holder = subprocess.Popen(("unshare", "--net", "sleep", "86400"))
        time.sleep(0.3)  # until it is in its own
        self._inside = ("nsenter", "-t", str(self._holder.pid), "-n")
        subprocess.run((*self._inside, "ip", "link", "set", "lo", "up"), check=True, timeout=10)
        self.seen = Dockerd(host=f"unix://{folder}/sock", prefix="own")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def network(self) -> str:
        """The file of the network that it is in."""
        return f"/proc/{self._holder.pid}/ns/net"

    @property
    def runs(self) -> bool:
        """Whether it has been started, and not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # A pid in the files of one that was killed may be anybody's by now, or one that nobody has
        # buried yet: its containerd ends with it.
        for left in ("pid", "exec/containerd/containerd.pid"):
            (self._folder / left).unlink(missing_ok=True)
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
        end = time.monotonic() + _PATIENCE
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
        """End it: with SIGTERM as when a machine updates it, and its containers with it."""
        assert self._process
        self._process.send_signal(number)
        self._process.wait(_PATIENCE)

    def restart(self, number: int = signal.SIGTERM) -> None:
        """End it, and start it again."""
        self.kill(number)
        self.start()

    def remove(self) -> None:
        """Take away its containers, itself, and its folder."""
        try:
            if not self.runs:
                self.start()
            for one in self.seen.request("GET", "/containers/json?all=1"):
                with suppress(ApiError):  # it is going by itself
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
    """Why there can be no daemon of our own here; empty where there can."""
    if parts["docker"]["state"] != "ready":
        return f"no docker: {parts['docker']['reason']}; {parts['docker']['remedy']}"
    if os.geteuid() != 0:
        return "no dockerd of the tests' own: only root can start one"
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        return f"no dockerd of the tests' own: {', '.join(missing)} missing"
    return ""


@contextmanager
def started() -> Iterator[OwnDockerd]:
    """A daemon for as long as the block takes."""
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
    """What is mounted in a folder, the innermost first."""
    places = (line.split(" ")[1] for line in Path("/proc/mounts").read_text().splitlines())
    return sorted((place for place in places if place.startswith(f"{folder}/")), reverse=True)


def _sweep() -> None:
    """Remove what tests that were killed have left; they are known by their folder."""
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
