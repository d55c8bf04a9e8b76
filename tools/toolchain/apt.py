"""System packages, on Debian and its relatives, as root."""

import re
import shutil
import threading
from pathlib import Path
from typing import Final

from toolchain import machine
from toolchain.work import Missing, Work

_one_at_a_time: Final = threading.Lock()
_ENV: Final = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
_APT: Final = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=600", "--no-install-recommends")
_SOURCES: Final = Path("/etc/apt")
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def usable() -> bool:
    return machine.is_root() and shutil.which("apt-get") is not None


def tools(work: Work, **packages: str) -> None:
    """Make sure of commands: `mksquashfs="squashfs-tools"`.

    Raises:
        Missing: neither on PATH nor to be installed.
    """
    absent = {tool: package for tool, package in packages.items() if not shutil.which(tool)}
    if not absent:
        return
    wanted = " ".join(sorted(set(absent.values())))
    if not usable():
        msg = f"not on PATH: {', '.join(sorted(absent))}"
        raise Missing(msg, remedy=f"install {wanted} (with apt-get this needs root)")
    install(work, *sorted(set(absent.values())))


def install(work: Work, *packages: str, options: tuple[str, ...] = ()) -> None:
    """Install packages; the lists are refreshed only when they turn out to be too old."""
    argv = (*_APT, *options, "install", "--", *packages)
    step = f"apt-get install {' '.join(packages)}"
    with _one_at_a_time:
        try:
            work.run(*argv, env=_ENV, step=step, bound=False)
        except Missing:
            work.run(*_APT, "update", env=_ENV, bound=False)
            work.run(*argv, env=_ENV, step=step, bound=False)


def fetch(work: Work, folder: Path, *packages: str) -> list[Path]:
    """Download packages into a folder, and install none of them."""
    argv = (*_APT, "-o", "APT::Sandbox::User=root", "download", "--", *packages)
    with _one_at_a_time:
        try:
            work.run(*argv, env=_ENV, cwd=folder, step=f"downloading {' '.join(packages)}")
        except Missing:
            work.run(*_APT, "update", env=_ENV, bound=False)
            work.run(*argv, env=_ENV, cwd=folder, step=f"downloading {' '.join(packages)}")
    return sorted(folder.glob("*.deb"))


def update(work: Work) -> None:
    with _one_at_a_time:
        work.run(*_APT, "update", env=_ENV, bound=False)


def candidate(work: Work, package: str) -> bool:
    """Whether the lists offer it."""
    said = work.run("apt-cache", "policy", "--", package, env=_ENV)
    return re.search(r"Candidate: (?!\(none\))", said) is not None


def mirror() -> str:
    """The Debian archive that this machine's own sources name; empty where they name none."""
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
