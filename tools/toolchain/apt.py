"""System packages, on Debian and its relatives, as root."""

import re
import shutil
import threading
from pathlib import Path
from typing import Final

from toolchain import machine
from toolchain.work import Missing, Work

_lock: Final = threading.Lock()
_ENV: Final = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
_APT: Final = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=600", "--no-install-recommends")
_SOURCES: Final = Path("/etc/apt")
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def usable() -> bool:
    return machine.is_root() and shutil.which("apt-get") is not None


def ensure(work: Work, **packages: str) -> None:
    """Ensure that commands are on PATH, given with their packages: `mksquashfs="squashfs-tools"`.

    Raises:
        Missing: a command is not on PATH, and cannot be installed.
    """
    absent = {tool: package for tool, package in packages.items() if not shutil.which(tool)}
    if not absent:
        return
    wanted = " ".join(sorted(set(absent.values())))
    if not usable():
        msg = f"not on PATH: {', '.join(sorted(absent))}"
        raise Missing(msg, remedy=f"install {wanted}, or run tools/bootstrap as root")
    install(work, *sorted(set(absent.values())))


def install(work: Work, *packages: str, options: tuple[str, ...] = ()) -> None:
    """Install packages; the package lists are updated only if that fails."""
    argv = (*_APT, *options, "install", "--", *packages)
    step = f"apt-get install {' '.join(packages)}"
    with _lock:
        try:
            work.run(*argv, env=_ENV, step=step, interruptible=False)
        except Missing:
            work.run(*_APT, "update", env=_ENV, interruptible=False)
            work.run(*argv, env=_ENV, step=step, interruptible=False)


def fetch(work: Work, folder: Path, *packages: str) -> list[Path]:
    """Download packages into a folder, without installing them."""
    argv = (*_APT, "-o", "APT::Sandbox::User=root", "download", "--", *packages)
    with _lock:
        try:
            work.run(*argv, env=_ENV, cwd=folder, step=f"downloading {' '.join(packages)}")
        except Missing:
            work.run(*_APT, "update", env=_ENV, interruptible=False)
            work.run(*argv, env=_ENV, cwd=folder, step=f"downloading {' '.join(packages)}")
    return sorted(folder.glob("*.deb"))


def update(work: Work) -> None:
    with _lock:
        work.run(*_APT, "update", env=_ENV, interruptible=False)


def has_candidate(work: Work, package: str) -> bool:
    """Whether the package lists have a version to install."""
    policy = work.run("apt-cache", "policy", "--", package, env=_ENV)
    return re.search(r"Candidate: (?!\(none\))", policy) is not None


def mirror() -> str:
    """The Debian mirror in this machine's own sources; empty if there is none."""
    if machine.release().get("ID") != "debian":
        return ""
    files = (_SOURCES / "sources.list", *sorted((_SOURCES / "sources.list.d").glob("*")))
    for path in (path for path in files if path.is_file()):
        text = path.read_text()
        found = re.search(r"^URIs:\s*(\S+/debian/?)(?:\s|$)", text, re.MULTILINE)
        found = found or re.search(r"^deb\s+(?:\[.*?\]\s+)?(\S+/debian/?)\s", text, re.MULTILINE)
        if found:
            return found[1]
    return ""
