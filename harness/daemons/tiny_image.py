"""Incus images of one megabyte, which boot at once."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.daemons.dockerd import static_busybox

if TYPE_CHECKING:
    from pathlib import Path

INIT: Final = r"""#!/bin/busybox sh
# As much of a system as Incus and flakeup need: an address, a host key, a clean shutdown.
PATH=/bin
trap 'exit 0' PWR TERM INT
key=/etc/ssh/ssh_host_ed25519_key.pub
if [ ! -e /no-key ] && [ ! -e $key ]; then
    { printf '\0\0\0\013ssh-ed25519\0\0\0\040'; head -c 32 /dev/urandom; } | base64 -w0 >/blob
    echo "ssh-ed25519 $(cat /blob) tiny" >$key
fi
ip link set lo up
ip link set eth0 up
udhcpc -q -n -t 20 -T 1 -i eth0 -s /bin/lease >/dev/null 2>&1
while :; do sleep 1000 & wait $!; done
"""
LEASE: Final = r"""#!/bin/busybox sh
[ "$1" = bound ] && /bin/busybox ip addr add "$ip/$mask" dev "$interface"
exit 0
"""
SYSTEMCTL: Final = r"""#!/bin/busybox sh
state=$(cat /state)
[ "$state" != starting ] || [ "$2" != --wait ] || exec sleep 1000
echo "$state"
"""
APPLETS: Final = ("base64", "cat", "head", "ip", "mkdir", "rm", "sh", "sleep", "timeout", "udhcpc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The two files of an image."""

    metadata: Path
    rootfs: Path


def tiny(folder: Path, flavour: str, *, state: str = "running", **files: str) -> Files:
    """Build an image; `state` is what systemctl prints in it, `files` are further files."""
    busybox = static_busybox()
    assert busybox is not None
    root = folder / f"{flavour}-root"
    for name in ("bin", "sbin", "etc/ssh", "dev", "proc", "sys", "tmp", "run", "root", "var"):
        (root / name).mkdir(parents=True)
    shutil.copyfile(busybox, root / "bin" / "busybox")
    texts = {"sbin/init": INIT, "bin/lease": LEASE, "bin/systemctl": SYSTEMCTL}
    for name, text in texts.items():
        (root / name).write_text(text)
    for name in ("busybox", "lease", "systemctl"):
        (root / "bin" / name).chmod(0o755)
    (root / "sbin" / "init").chmod(0o755)
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    for name, text in {"flavour": flavour, "state": state, **files}.items():
        (root / name).write_text(text)
    made = Files(metadata=folder / f"{flavour}.tar", rootfs=folder / f"{flavour}.squashfs")
    argv = ("mksquashfs", root, made.rootfs, "-all-root", "-quiet", "-no-progress", "-comp", "gzip")
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    # Without properties, incusd 6.0.4 panics on an import with properties.
    metadata = "architecture: x86_64\ncreation_date: 1\nproperties: {os: tiny}\n"
    (folder / "metadata.yaml").write_text(metadata)
    subprocess.run(("tar", "-cf", made.metadata, "-C", folder, "metadata.yaml"), check=True)
    shutil.rmtree(root)
    return made
