"""Docker: any daemon that answers, whoever has started it."""

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
        work.run("systemctl", "start", "docker.service", interruptible=False)
        DOCKERD.wait(work, ours=False)
    else:
        _start(work)
    # From now on it drops forwarded packets, among them those of Incus.
    incus.allow_forwarding(work)


def _program() -> str | None:
    """The daemon's program, which may be in /usr/sbin; the client alone does not count."""
    return shutil.which("dockerd") or shutil.which("dockerd", path="/usr/sbin:/usr/local/sbin")


def _install(work: Work) -> None:
    if not apt.usable():
        reason = "Docker's daemon is not installed"
        raise Missing(reason, remedy=_REMEDY)
    apt.install(work, "docker.io", "iptables")


def _start(work: Work) -> None:
    program = _program()
    if program is None:
        reason = "dockerd was installed, but is not on PATH"
        raise Missing(reason, remedy=_REMEDY)
    if DOCKERD.pid() is None:
        DOCKERD.start(work, program, "--host", _API.host)
    DOCKERD.wait(work, ours=True)
    storage = _API.request("GET", "/info")["Driver"]
    work.note(f"dockerd answers, images in {storage}")


PARTS: Final = (
    Part(
        name="docker",
        plan="Debian's docker.io, started directly where there is no systemd",
        find=_find,
        make=_make,
        remedy=_REMEDY,
    ),
)
