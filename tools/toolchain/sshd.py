"""An sshd for tests, from Debian's package if the machine has none; never run as a service."""

import pwd
import shutil
from pathlib import Path
from typing import Final

from toolchain import apt, machine
from toolchain.part import Found, Part
from toolchain.paths import TOOLCHAIN, key
from toolchain.work import Missing, Work

_PACKAGES: Final = ("openssh-server", "libwrap0")
_REMEDY: Final = "install openssh-server, or run tools/bootstrap as root on Debian"
_USER: Final = "sshd"
"""The user of sshd's unprivileged process."""


def _folder() -> Path:
    return TOOLCHAIN / f"sshd-{key(*_PACKAGES, str(TOOLCHAIN))}"


def _find() -> Found | None:
    own = machine.find_tool("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if own:
        return Found(source="machine", detail="sshd")
    program = _folder() / "bin" / "sshd"
    return Found(source="cache", detail="sshd", bin=str(program.parent)) if _is_complete() else None


def _is_complete() -> bool:
    return (_folder() / "bin" / "sshd").is_file() and _has_user()


def _has_user() -> bool:
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        return False
    return True


def _make(work: Work) -> None:
    if not apt.usable():
        reason = "no sshd on PATH, and only root can install one from Debian's packages"
        raise Missing(reason, remedy=_REMEDY)
    apt.ensure(work, patchelf="patchelf")
    if not _has_user():
        place = ("--home-dir", "/run/sshd", "--no-create-home", "--shell", "/usr/sbin/nologin")
        work.run("useradd", "--system", *place, _USER)
    with work.folder(_folder()) as folder:
        for name in ("bin", "lib", "root"):
            (folder / name).mkdir()
        for package in apt.fetch(work, folder, *_PACKAGES):
            work.run("dpkg-deb", "--extract", str(package), str(folder / "root"), step="unpacking")
            package.unlink()
        shutil.copy(folder / "root" / "usr" / "sbin" / "sshd", folder / "bin" / "sshd")
        for library in (folder / "root").rglob("libwrap.so.*"):
            shutil.copy(library, folder / "lib" / library.name)
        work.run("patchelf", "--set-rpath", str(_folder() / "lib"), str(folder / "bin" / "sshd"))
        shutil.rmtree(folder / "root")
    work.run(str(_folder() / "bin" / "sshd"), "-V", step="checking that it runs")


PARTS: Final = (
    Part(
        name="sshd",
        plan="from Debian's package, for tests; neither installed nor started",
        find=_find,
        make=_make,
        remedy=_REMEDY,
    ),
)
