"""A Debian root with systemd, sshd and nix: for the hosts' image, and the source of our nix."""

import hashlib
import platform
import shutil
from pathlib import Path
from typing import Final

from toolchain import apt, machine
from toolchain.part import Found, Part
from toolchain.paths import TOOLCHAIN, TOOLS, key
from toolchain.work import Missing, Work

SUITE: Final = "trixie"
"""The first Debian whose nix (2.26) has --output-lock-file."""
_REVISION: Final = "1"
_RECIPE: Final = TOOLS / "hostimage"
_CHROOT_ENV: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}
_METADATA: Final = """\
architecture: {architecture}
creation_date: 1
properties:
  description: host of the flakeup demo ({suite} with systemd, sshd and nix)
  os: debian
  release: {suite}
  recipe: {recipe}
"""


def recipe() -> str:
    return key(_RECIPE, SUITE, _REVISION)


def folder() -> Path:
    return TOOLCHAIN / f"rootfs-{SUITE}-{recipe()}"


def image() -> Path:
    return folder() / "rootfs.squashfs"


def metadata() -> Path:
    return folder() / "metadata.tar.xz"


def fingerprint() -> str:
    """The image's fingerprint in Incus: the digest of both files, concatenated."""
    return hashlib.sha256(metadata().read_bytes() + image().read_bytes()).hexdigest()


def _find() -> Found | None:
    return Found(source="cache", detail=SUITE) if image().is_file() else None


def _make(work: Work) -> None:
    if not (machine.is_linux() and machine.is_root()):
        reason = "a Debian root can only be made on Linux, as root"
        raise Missing(reason, remedy="run tools/bootstrap as root on Debian")
    apt.ensure(work, debootstrap="debootstrap", mksquashfs="squashfs-tools")
    with work.folder(folder()) as target:
        root = target / "root"
        # Without a mirror of the machine's own, debootstrap uses its default.
        mirror = (apt.mirror(),) if apt.mirror() else ()
        keyring = (f"--keyring={apt.KEYRING}",) if apt.KEYRING.is_file() else ()
        base = ("debootstrap", "--variant=minbase", *keyring, SUITE, str(root), *mirror)
        work.run(*_in_namespace(), *base, step="debootstrap (about 1 min)")
        _packages(work, root)
        _copy_files(root)
        shutil.copy(_RECIPE / "configure", root / "configure")
        _inside(work, root, "/configure", step="configuring")
        (root / "configure").unlink()
        _pack(work, root, target)
        shutil.rmtree(root)


def _packages(work: Work, root: Path) -> None:
    """Install the packages in a second step, as debootstrap --include fails with nix-bin."""
    names = (_RECIPE / "packages").read_text().split()
    shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
    argv = ("apt-get", "-q", "-y", "--no-install-recommends", "install", *names)
    _inside(work, root, *argv, step="installing systemd, sshd, nix (about 40 s)")


def _copy_files(root: Path) -> None:
    files = _RECIPE / "files"
    for source in (path for path in files.rglob("*") if path.is_file()):
        target = root / source.relative_to(files)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


def _inside(work: Work, root: Path, *argv: str, step: str) -> None:
    environment = (f"{name}={value}" for name, value in _CHROOT_ENV.items())
    chroot = ("chroot", str(root), "env", "-i", *environment)
    work.run(*_in_namespace(proc=root / "proc"), *chroot, *argv, step=step)


def _in_namespace(*, proc: Path | None = None) -> tuple[str, ...]:
    """Run a step in namespaces, so that its mounts and processes end with it."""
    shown = (f"--mount-proc={proc}",) if proc else ()
    return ("unshare", "--mount", "--pid", "--fork", "--kill-child", *shown, "--")


def _pack(work: Work, root: Path, target: Path) -> None:
    options = ("-comp", "zstd", "-Xcompression-level", "3", "-noappend", "-no-progress")
    work.run("mksquashfs", str(root), str(target / image().name), *options, step="packing")
    content = _METADATA.format(architecture=platform.machine(), suite=SUITE, recipe=recipe())
    machine.pack(target / metadata().name, "metadata.yaml", content)


PARTS: Final = (
    Part(
        name="rootfs",
        plan=f"Debian {SUITE} with systemd, sshd and nix, by debootstrap (about 2 min)",
        find=_find,
        make=_make,
        helper=True,
    ),
)
