"""Nix: relocated from Debian's package, with a configuration of its own."""

import grp
import shutil
from pathlib import Path
from typing import Final

from toolchain import apt, machine, rootfs
from toolchain.part import Found, Part
from toolchain.paths import TOOLCHAIN, key
from toolchain.work import Missing, Work

MINIMUM: Final = (2, 24)
_REMEDY: Final = "install nix 2.24 or later, or run tools/bootstrap as root on Debian"
_BUILDERS: Final = 8
_NAMES: Final = (
    "nix-build",
    "nix-collect-garbage",
    "nix-copy-closure",
    "nix-daemon",
    "nix-env",
    "nix-hash",
    "nix-instantiate",
    "nix-store",
)
_CONF: Final = """\
# Made by tools/bootstrap; read because tools/env sets NIX_CONF_DIR. /etc/nix is not looked at.
experimental-features = nix-command flakes
flake-registry =
substituters =
build-users-group = nixbld
sandbox = true
sandbox-paths = /bin/sh={folder}/sandbox/bash /bin/busybox={folder}/sandbox/busybox
"""


def _folder() -> Path:
    return TOOLCHAIN / f"nix-{rootfs.SUITE}-{key(_CONF, *_NAMES, str(TOOLCHAIN))}"


def _find() -> Found | None:
    own = machine.find_tool("nix")
    if own:
        version = machine.version(own, "--version")
        if version >= MINIMUM:
            return Found(source="machine", detail=f"nix {machine.text(version)}")
    folder = _folder()
    nix = folder / "bin" / "nix"
    if not nix.is_file():
        return None
    return Found(
        source="cache",
        detail=f"nix {machine.text(machine.version(str(nix), '--version'))}",
        bin=str(nix.parent),
        env={"NIX_CONF_DIR": str(folder / "etc")},
    )


def _make(work: Work) -> None:
    if not machine.is_root():
        reason = f"no nix {machine.text(MINIMUM)} on PATH, and only root can create /nix"
        raise Missing(reason, remedy=_REMEDY)
    apt.ensure(work, patchelf="patchelf", unsquashfs="squashfs-tools")
    _builders(work)
    with work.folder(_folder()) as folder:
        root = folder / "root"
        work.run("unsquashfs", "-q", "-n", "-d", str(root), str(rootfs.image()), step="unpacking")
        for name in ("bin", "lib", "etc", "sandbox"):
            (folder / name).mkdir()
        _binary(work, root, folder)
        shutil.copy(root / "bin" / "bash-static", folder / "sandbox" / "bash")
        shutil.copy(root / "bin" / "busybox", folder / "sandbox" / "busybox")
        (folder / "etc" / "nix.conf").write_text(_CONF.format(folder=_folder()))
        shutil.rmtree(root)
    work.run(str(_folder() / "bin" / "nix"), "--version", step="checking that it runs")


def _builders(work: Work) -> None:
    """Create the build users and their group."""
    try:
        grp.getgrnam("nixbld")
    except KeyError:
        work.run("groupadd", "--system", "nixbld")
    members = set(grp.getgrnam("nixbld").gr_mem)
    options = ("--system", "--no-create-home", "--no-user-group", "--gid", "nixbld")
    place = ("--groups", "nixbld", "--home-dir", "/var/empty", "--shell", "/usr/sbin/nologin")
    for number in range(1, _BUILDERS + 1):
        if f"nixbld{number}" not in members:
            work.run("useradd", *options, *place, f"nixbld{number}")


def _binary(work: Work, root: Path, folder: Path) -> None:
    """Copy nix and its libraries, and patch their paths to the final folder."""
    shutil.copy(root / "usr" / "bin" / "nix", folder / "bin" / "nix")
    words = work.run("chroot", str(root), "ldd", "/usr/bin/nix", step="copying libraries").split()
    for word in {word for word in words if word.startswith("/")}:
        shutil.copy(root / word[1:], folder / "lib" / Path(word).name)
    final = _folder() / "lib"
    loader = next((folder / "lib").glob("ld-linux*"))
    for library in (folder / "lib").iterdir():
        if not library.name.startswith(("ld-linux", "libc.so")):
            work.run("patchelf", "--set-rpath", str(final), str(library))
    interpreter = ("--set-interpreter", str(final / loader.name))
    work.run("patchelf", *interpreter, "--set-rpath", str(final), str(folder / "bin" / "nix"))
    for name in _NAMES:
        (folder / "bin" / name).symlink_to("nix")


PARTS: Final = (
    Part(
        name="nix",
        plan="relocated from Debian's package, with its own nix.conf in the cache",
        find=_find,
        make=_make,
        needs=("rootfs",),
        remedy=_REMEDY,
        core=True,
    ),
)
