"""The Incus daemon where none runs: installed, and started by hand without systemd."""

import shutil
from pathlib import Path
from typing import Final

from harness.incus_api import IncusApi

from toolchain import apt, machine
from toolchain.daemon import Daemon
from toolchain.paths import write
from toolchain.work import Missing, Work

REMEDY: Final = "install Incus 6 and start it, or run tools/bootstrap as root on Debian"
API: Final = IncusApi.local()
INCUSD: Final = Daemon(name="incusd", answers=API.is_running, socket=API.socket_path)
_DAEMONS: Final = (Path("/usr/libexec/incus/incusd"), Path("/usr/bin/incusd"))
_BACKPORTS: Final = Path("/etc/apt/sources.list.d/flakeup-backports.sources")
_INOTIFY: Final = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES: Final = 1024


def ensure(work: Work) -> None:
    """A daemon that answers.

    Raises:
        Missing: there is none, and this machine or user cannot start one.
    """
    if API.is_running():
        return
    if not (machine.is_linux() and machine.is_root()):
        reason = f"no Incus daemon answers at {API.socket_path}"
        raise Missing(reason, remedy=f"{REMEDY}, or join the group incus-admin")
    if _daemon() is None or shutil.which("incus") is None:
        _install(work)
    if machine.has_systemd():
        work.run("systemctl", "start", "incus.service", bound=False)
    elif INCUSD.started() is None:
        _start(work)
    INCUSD.wait(work, ours=INCUSD.started() is not None)


def _daemon() -> Path | None:
    return next((path for path in _DAEMONS if path.exists()), None)


def _install(work: Work) -> None:
    if not apt.usable():
        reason = "Incus is not installed"
        raise Missing(reason, remedy=REMEDY)
    options: tuple[str, ...] = ()
    if not apt.candidate(work, "incus-base"):
        options = _backports(work)
    apt.install(work, "incus-base", "incus-client", "dnsmasq-base", options=options)


def _backports(work: Work) -> tuple[str, ...]:
    """Bookworm has Incus in its backports only; pinned at 100, they move nothing else."""
    codename = machine.release().get("VERSION_CODENAME", "")
    mirror = apt.mirror()
    if codename != "bookworm" or not mirror:
        reason = "the package lists do not offer incus-base"
        raise Missing(reason, remedy=REMEDY)
    suite = f"{codename}-backports"
    text = f"Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\n"
    write(_BACKPORTS, f"{text}Signed-By: {apt.KEYRING}\n")
    apt.update(work)
    return ("-t", suite)


def _make_room(work: Work) -> None:
    """Let all containers together have more inotify instances, where the kernel's limit is low.

    Each idle one takes about seven, and the usual 128 are shared by all: from the nineteenth on
    units fail with "Too many open files", or no address comes. Incus's own advice for servers is a
    higher one still; until the next boot.
    """
    try:
        if int(_INOTIFY.read_text()) < INOTIFY_INSTANCES:
            _INOTIFY.write_text(f"{INOTIFY_INSTANCES}\n")
            work.note(f"{_INOTIFY} raised to {INOTIFY_INSTANCES}, until the next boot")
    except OSError as error:
        work.note(f"{_INOTIFY} stays as it is ({error.strerror}): at most eighteen containers")


def _start(work: Work) -> None:
    _make_room(work)
    daemon = _daemon()
    if daemon is None:
        reason = "incusd was installed, but is in none of its places"
        raise Missing(reason, remedy=REMEDY)
    INCUSD.start(work, str(daemon), "--group", "root")
