"""An Incus daemon for tests, with a pool and a network.

It has its own folder and socket, separate from the machine's daemon: a test can kill it, restart
it, and let it listen on the network. Like any incusd, it needs root.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from harness.daemons.dockerd import static_busybox
from harness.incus_api import IncusApi
from harness.unix_http import ApiError, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

DAEMONS: Final = (Path("/usr/libexec/incus/incusd"), Path("/usr/bin/incusd"))
PROFILE: Final = "default"
_TIMEOUT: Final = 120.0
_FOLDER: Final = "flakeup-incusd-"


@dataclass(slots=True, kw_only=True)
class Incusd:
    """The daemon; requests made here bypass the code under test."""

    folder: Path
    network: str
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def socket(self) -> Path:
        """Its socket."""
        return self.folder / "d" / "unix.socket"

    @property
    def environment(self) -> dict[str, str]:
        """For its client, which then reads nothing of the user's."""
        folder = str(self.folder / "d")
        return {**os.environ, "INCUS_DIR": folder, "INCUS_CONF": str(self.folder / "client")}

    # --- the daemon ------------------------------------------------------------------------

    @property
    def runs(self) -> bool:
        """Whether it is running."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it responds and has its network.

        Incus leaves a network unavailable, and retries after a minute, if any interface of the
        machine disappears while it starts it: then it is started again.
        """
        end = time.monotonic() + _TIMEOUT
        self._launch(end)
        while self.network and not self._has_network():
            assert time.monotonic() < end, f"{self.network} is unavailable after each start"
            self.kill()
            self._launch(end)

    def _launch(self, end: float) -> None:
        binary = next(path for path in DAEMONS if path.exists())
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                (str(binary), "--group", "root"),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while True:
            with suppress(OSError, ApiError):
                self.request("GET", "/1.0")
                return
            assert time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def _has_network(self) -> bool:
        """Whether the network is up, or has yet to be created."""
        found: list[Json] = self.request("GET", "/1.0/networks?recursion=1")
        states = {one["name"]: one["status"] for one in found if one["managed"]}
        return bool(states.get(self.network, "Created") == "Created")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Kill it; the instances keep running."""
        assert self._process
        self._process.send_signal(number)
        self._process.wait()

    def restart(self, after: float = 0.0) -> None:
        """Kill it, and start it again."""
        self.kill()
        time.sleep(after)
        self.start()

    def prepare(self) -> None:
        """Create a pool, a network, and the profile with both."""
        self.request("POST", "/1.0/storage-pools", {"name": "pool", "driver": "dir"})
        self._make_network()
        devices = {
            "root": {"type": "disk", "path": "/", "pool": "pool"},
            "eth0": {"type": "nic", "name": "eth0", "network": self.network},
        }
        self.request("PUT", f"/1.0/profiles/{PROFILE}", {"devices": devices, "config": {}})

    def remove(self) -> None:
        """Remove everything it created, and itself."""
        if self._process and self._process.poll() is not None:
            self.start()
        try:
            self.clear()
            self.request("PUT", f"/1.0/profiles/{PROFILE}", {"devices": {}, "config": {}})
            self._remove_network()
        finally:
            self.kill(signal.SIGTERM)
        for mount in ("shmounts", "guestapi", "devices", "d"):
            place = self.folder / "d" / mount
            subprocess.run(("umount", "-q", str(place)), check=False, stderr=subprocess.DEVNULL)
        left = [line for line in Path("/proc/mounts").read_text().splitlines()
                if f" {self.folder}/" in line]  # fmt: skip
        assert not left, left
        shutil.rmtree(self.folder)

    def _make_network(self) -> None:
        """Retries: Incus fails if any interface of the machine disappears meanwhile."""
        subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}.1/24"
        config = {"ipv4.address": subnet, "ipv4.nat": "false", "ipv6.address": "none"}
        network = {"name": self.network, "type": "bridge", "config": config}
        for tries_left in reversed(range(5)):
            try:
                self.request("POST", "/1.0/networks", network)
            except ApiError:
                if not tries_left:
                    raise
                time.sleep(0.2)
                self._remove_network()
            else:
                return

    def _remove_network(self) -> None:
        """Retries while an interface of an instance is being removed."""
        for tries_left in reversed(range(10)):
            try:
                self.request("DELETE", f"/1.0/networks/{self.network}")
            except ApiError as error:
                if "not found" in str(error):
                    return
                if not tries_left:
                    raise
                time.sleep(0.2)
            else:
                return

    # --- requests --------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Json = None) -> Json:
        """Send one request and wait for its operation; retried while an instance is busy."""
        end = time.monotonic() + _TIMEOUT
        while True:
            try:
                return IncusApi(socket_path=self.socket).request(method, path, body)
            except ApiError as error:
                if "is busy running" not in str(error) or time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def client(self, *arguments: str) -> str:
        """Run its client; returns what that prints."""
        done = subprocess.run(
            ("incus", *arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def instances(self) -> list[str]:
        """The names of all instances."""
        return sorted(row["name"] for row in self.request("GET", "/1.0/instances?recursion=1"))

    def instance(self, name: str) -> Json:
        """One instance, as in the API."""
        return self.request("GET", f"/1.0/instances/{name}")

    def images(self) -> dict[str, dict[str, str]]:
        """The properties of all images, by fingerprint."""
        found = self.request("GET", "/1.0/images?recursion=1")
        return {row["fingerprint"]: row["properties"] for row in found}

    def address(self, name: str) -> str:
        """Wait for an instance's IPv4 address."""
        end = time.monotonic() + _TIMEOUT
        while time.monotonic() < end:
            state = self.request("GET", f"/1.0/instances/{name}/state")
            for one in ((state["network"] or {}).get("eth0") or {}).get("addresses") or ():
                if one["family"] == "inet":
                    return str(one["address"])
            time.sleep(0.05)
        msg = f"{name} has no address"
        raise AssertionError(msg)

    def state(self, name: str, action: str) -> None:
        """Start, stop or freeze an instance, as another client would."""
        body = {"action": action, "timeout": -1, "force": action == "stop"}
        self.request("PUT", f"/1.0/instances/{name}/state", body)

    def set(self, name: str, **config: str) -> None:
        """Set config keys; `_` in a keyword becomes `.`."""
        keys = {key.replace("_", "."): text for key, text in config.items()}
        self.request("PATCH", f"/1.0/instances/{name}", {"config": keys})

    def clear(self, *, images: bool = True) -> None:
        """Delete all instances, and all images."""
        for name in self.instances():
            found = self.instance(name)
            if "security.protection.delete" in found["config"]:
                self.set(name, security_protection_delete="false")
            self.remove_instance(name)
        for fingerprint in self.images() if images else ():
            self.request("DELETE", f"/1.0/images/{fingerprint}")

    def remove_instance(self, name: str) -> None:
        """Delete an instance; retries while a daemon that has just started starts it again."""
        end = time.monotonic() + _TIMEOUT
        while True:
            with suppress(ApiError):  # it is stopped
                self.state(name, "stop")
            try:
                self.request("DELETE", f"/1.0/instances/{name}")
            except ApiError as error:
                if "is running" not in str(error) or time.monotonic() > end:
                    raise
            else:
                return


def why_not(parts: dict[str, dict[str, Any]]) -> str:
    """Why this machine cannot run the daemon; empty if it can."""
    if parts["incus"]["state"] != "ready":
        return f"no incus: {parts['incus']['reason']}; {parts['incus']['remedy']}"
    if os.geteuid() != 0:
        return "no incusd for tests: only root can start one"
    if not any(path.exists() for path in DAEMONS):
        return f"no incusd for tests: it is in none of {', '.join(map(str, DAEMONS))}"
    if shutil.which("mksquashfs") is None:
        return "no mksquashfs: install squashfs-tools"
    if static_busybox() is None:
        return "no static busybox: install busybox-static"
    return ""


@contextmanager
def started() -> Iterator[Incusd]:
    """A daemon for the duration of the block."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    folder.chmod(0o711)  # an instance's root is an unprivileged user here, and must pass
    daemon = Incusd(folder=folder, network=f"fkt{os.getpid() % 1_000_000}")
    (folder / "owner").write_text(f"{os.getpid()} {daemon.network}")
    daemon.start()
    try:
        daemon.prepare()
        yield daemon
    finally:
        daemon.remove()


@pytest.fixture(scope="module")
def incusd(parts: dict[str, dict[str, Any]]) -> Iterator[Incusd]:
    """A daemon for a module; skips if this machine cannot run it."""
    if reason := why_not(parts):
        pytest.skip(reason)
    with started() as daemon:
        yield daemon


def _sweep() -> None:
    """Remove what killed tests have left, found by their folder."""
    for owner in list(Path(tempfile.gettempdir()).glob(f"{_FOLDER}*/owner")):
        pid, network = owner.read_text().split()
        if Path(f"/proc/{pid}").exists():
            continue
        mark = f"INCUS_DIR={owner.parent}/d".encode()
        for process in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if mark in process.read_bytes():
                    os.kill(int(process.parent.name), signal.SIGKILL)
        left = Incusd(folder=owner.parent, network=network)
        left.start()
        with suppress(ApiError):  # the next run tries again: this one is not affected
            left.remove()
