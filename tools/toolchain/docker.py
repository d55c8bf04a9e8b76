"""Docker: a daemon that answers, whoever started it."""

import shutil
from typing import Final

from harness.docker_api import DockerApi

from toolchain import apt, incus, machine
from toolchain.daemon import Daemon
from toolchain.part import Found, Part
from toolchain.work import Missing, Work

_REMEDY: Final = "install docker.io and start it, or run tools/bootstrap as root on Debian"
_API: Final = DockerApi.local()
DOCKERD: Final = Daemon(name="dockerd", answers=_API.is_running, socket=_API.socket_path)


def _find() -> Found | None:
    if not _API.is_running():
        return None
    version, host = _API.request("GET", "/version")["Version"], _API.host
    return Found(source="machine", detail=f"docker {version}", facts={"host": host})


def _make(work: Work) -> None:
    if not (machine.is_linux() and machine.is_root()):
        reason = f"no Docker daemon answers at {_API.socket_path}"
        raise Missing(reason, remedy=f"{_REMEDY}, or join the group docker")
    if _program() is None:
        _install(work)
    if machine.has_systemd():
        work.run("systemctl", "start", "docker.service", bound=False)
        DOCKERD.wait(work, ours=False)
    else:
        _start(work)
    # Only now does it drop what is forwarded, which may be Incus's.
    incus.let_through(work)


def _program() -> str | None:
    """The daemon; /usr/sbin is not on everybody's PATH. A client alone is no daemon."""
    return shutil.which("dockerd") or shutil.which("dockerd", path="/usr/sbin:/usr/local/sbin")


def _install(work: Work) -> None:
    if not apt.usable():
        reason = "Docker's daemon is not installed"
        raise Missing(reason, remedy=_REMEDY)
    apt.install(work, "docker.io", "iptables")


def _start(work: Work) -> None:
    program = _program()
    if program is None:
        reason = "dockerd was installed, but is in none of its places"
        raise Missing(reason, remedy=_REMEDY)
    if DOCKERD.started() is None:
        DOCKERD.start(work, program, "--host", _API.host)
    DOCKERD.wait(work, ours=True)
    storage = _API.request("GET", "/info")["Driver"]
    work.note(f"dockerd answers, images in {storage}")


PARTS: Final = (
    Part(
        name="docker",
        plan="a daemon: Debian's docker.io, started by hand where there is no systemd",
        find=_find,
        make=_make,
        remedy=_REMEDY,
    ),
)
