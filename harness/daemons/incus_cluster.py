"""A cluster of two Incus daemons for tests on this machine, with a pool and without a network.

A network would be a bridge of the same name on both, and one machine can have only one such.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from harness.daemons.incusd import PROFILE, Incusd, why_not
from harness.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER: Final = "flakeup-cluster-"
ONE: Final = "node1"
TWO: Final = "node2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Two members; requests go to the first."""

    folder: Path
    one: Incusd
    two: Incusd

    def form(self) -> None:
        """Start both, and join the second to the first."""
        self.one.start()
        self.one.request("POST", "/1.0/storage-pools", {"name": "pool", "driver": "dir"})
        devices = {"root": {"type": "disk", "path": "/", "pool": "pool"}}
        self.one.request("PUT", f"/1.0/profiles/{PROFILE}", {"devices": devices, "config": {}})
        self.one.request("PATCH", "/1.0", {"config": {"core.https_address": _address()}})
        self.one.request("PUT", "/1.0/cluster", {"server_name": ONE, "enabled": True})
        token = self.one.client("cluster", "add", TWO, "--quiet").split()[-1]
        self.two.start()
        address = self.one.request("GET", "/1.0")["config"]["cluster.https_address"]
        joining = {
            "server_name": TWO,
            "enabled": True,
            "server_address": _address(),
            "cluster_address": address,
            "cluster_certificate": (self.one.folder / "d" / "cluster.crt").read_text(),
            "cluster_token": token,
            "member_config": [],
        }
        self.two.request("PUT", "/1.0/cluster", joining)

    def at(self, name: str) -> Incusd:
        """A member by name."""
        return self.one if name == ONE else self.two

    def clear(self) -> None:
        """Delete all instances, each on its own member: they may not reach each other."""
        for daemon in (self.one, self.two):
            if not daemon.runs:
                daemon.start()
        for row in self.one.request("GET", "/1.0/instances?recursion=1"):
            self.at(row["location"]).remove_instance(row["name"])

    def remove(self) -> None:
        """Remove everything it created, and itself."""
        try:
            self.clear()
        finally:
            for daemon in (self.two, self.one):
                daemon.kill(signal.SIGTERM)
        _remove(self.folder)


def _address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def cluster(parts: dict[str, dict[str, Any]]) -> Iterator[Cluster]:
    """A cluster for a module; skips if this machine cannot run it."""
    if reason := why_not(parts):
        pytest.skip(reason)
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    folder.chmod(0o711)
    (folder / "owner").write_text(str(os.getpid()))
    one, two = (Incusd(folder=folder / name, network="") for name in (ONE, TWO))
    for daemon in (one, two):
        daemon.folder.mkdir(mode=0o711)
    members = Cluster(folder=folder, one=one, two=two)
    members.form()
    try:
        yield members
    finally:
        members.remove()


def _sweep() -> None:
    """Remove what killed tests have left, found by their folder."""
    for owner in list(Path(tempfile.gettempdir()).glob(f"{_FOLDER}*/owner")):
        if Path(f"/proc/{owner.read_text()}").exists():
            continue
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if _is_of(process, str(owner.parent)):
                    os.kill(int(process.name), signal.SIGKILL)
        _remove(owner.parent)


def _is_of(process: Path, folder: str) -> bool:
    """Whether it is a daemon in that folder, or a process of an instance whose root is there."""
    if f"INCUS_DIR={folder}/".encode() in (process / "environ").read_bytes():
        return True
    mounts = (line.split() for line in (process / "mountinfo").read_text().splitlines())
    return any(fields[4] == "/" and f"{folder}/" in fields[3] for fields in mounts)


def _remove(folder: Path) -> None:
    """Remove a folder after its mounts, innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [line.split()[4] for line in lines]
    for place in sorted((one for one in places if one.startswith(f"{folder}/")), reverse=True):
        subprocess.run(("umount", "-q", "-l", place), check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(folder)
