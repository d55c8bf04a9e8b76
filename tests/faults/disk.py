"""A disk of a host that can lose power: what the kernel has not written to it yet is lost.

`/nix/var` of the host (profiles, nix's database, the attempts) moves to an ext4 file system on a
loop device of this machine. A cut kills the host, and copies the device as the file system has
flushed it: the copy is what a disk would hold, and the host boots with it.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.host_shell import HostShell

PLACE: Final = "/nix/var"
_DEVICE: Final = "disk"
"""Its name in Incus."""
_MEGABYTES: Final = 128
_OPTIONS: Final = "loop,noauto_da_alloc,commit=120"
"""Without ext4's own favours: nothing is on the disk before somebody asks for it."""
_ASIDE: Final = "/mnt/disk"
_BACK: Final = (
    f"mkdir -p {_ASIDE} && mount --bind /nix {_ASIDE} && rm -rf {_ASIDE}/var/*"
    f" && cp -a {PLACE}/. {_ASIDE}/var/ && rm -rf {_ASIDE}/var/lost+found; umount {_ASIDE}"
)


@dataclass(slots=True, kw_only=True)
class Disk:
    """The disk of a host; `image` is the file behind its loop device."""

    shell: HostShell
    folder: Path
    image: Path

    @property
    def mount_point(self) -> Path:
        return self.folder / "mnt"

    def cut(self) -> None:
        """Cut the power, and boot with what was on the disk."""
        self.shell.incus("stop", "--force")
        left = self.image.with_suffix(".cut")
        _run("cp", "--sparse=always", str(self.image), str(left))
        _run("umount", str(self.mount_point))
        left.replace(self.image)
        self.mount()
        self.shell.incus("start")
        self.shell.wait_until_booted()

    def mount(self) -> None:
        """Mount the image on this machine, which replays the journal."""
        _run("mount", "-o", _OPTIONS, str(self.image), str(self.mount_point))


def why_unavailable() -> str:
    """Why this machine cannot make such a disk; empty if it can."""
    if os.geteuid() != 0:
        return "no disk: only root can mount one"
    if missing := [name for name in ("mkfs.ext4", "losetup", "mount") if not shutil.which(name)]:
        return f"no disk: {missing[0]} is not on PATH"
    done = subprocess.run(("losetup", "--find"), capture_output=True, timeout=30, check=False)
    return "no disk: there is no free loop device" if done.returncode else ""


@contextmanager
def disk_of(shell: HostShell) -> Iterator[Disk]:
    """Move the state of an idle host to a disk during the block, and back at its end."""
    with tempfile.TemporaryDirectory(prefix="flakeup-disk-") as name:
        made = Disk(shell=shell, folder=Path(name), image=Path(name) / "image")
        made.mount_point.mkdir()
        with made.image.open("wb") as file:
            file.truncate(_MEGABYTES << 20)
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,nodiscard", str(made.image))
        made.mount()
        try:
            with _attached(made, _ASIDE):
                shell.run(f"cp -a {PLACE}/. {_ASIDE}/ && sync -f {_ASIDE}")
            with _attached(made, PLACE):
                yield made
                shell.run(_BACK)
        finally:
            if made.mount_point.is_mount():
                _run("umount", str(made.mount_point))


@contextmanager
def _attached(disk: Disk, path: str) -> Iterator[None]:
    """The disk is mounted in the host, also after a reboot, during the block."""
    device = ("config", "device")
    instance, incus = disk.shell.container.instance, disk.shell.container.incus
    source = (f"source={disk.mount_point}", f"path={path}", "shift=true")
    incus.call(*device, "add", instance, _DEVICE, "disk", *source)
    try:
        yield
    finally:
        incus.call(*device, "remove", instance, _DEVICE)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{argv[0]}: {done.stderr.strip()}"
