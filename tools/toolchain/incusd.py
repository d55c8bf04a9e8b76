"""The Incus daemon: installed and started where none is running."""

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
    """Ensure that a daemon answers.

    Raises:
        Missing: there is none, and we cannot start one on this machine or as this user.
    """
    if API.is_running():
        return
    if not (machine.is_linux() and machine.is_root()):
        reason = f"no Incus daemon answers at {API.socket_path}"
        raise Missing(reason, remedy=f"{REMEDY}, or join the group incus-admin")
    if _daemon() is None or shutil.which("incus") is None:
        _install(work)
    if machine.has_systemd():
        work.run("systemctl", "start", "incus.service", interruptible=False)
    elif INCUSD.pid() is None:
        _start(work)
    INCUSD.wait(work, ours=INCUSD.pid() is not None)


def _daemon() -> Path | None:
    return next((path for path in _DAEMONS if path.exists()), None)


def _install(work: Work) -> None:
    if not apt.usable():
        reason = "Incus is not installed"
        raise Missing(reason, remedy=REMEDY)
    options: tuple[str, ...] = ()
    if not apt.has_candidate(work, "incus-base"):
        options = _backports(work)
    apt.install(work, "incus-base", "incus-client", "dnsmasq-base", options=options)


def _backports(work: Work) -> tuple[str, ...]:
    """Add bookworm-backports, which has Incus; its priority of 100 upgrades nothing else."""
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


def _raise_inotify_limit(work: Work) -> None:
    """Raise the kernel's limit of inotify instances until the next boot.

    All containers share it, and each needs about seven: with the usual 128, units of the nineteenth
    fail with "Too many open files", or it gets no address. Incus recommends even more for servers.
    """
    try:
        if int(_INOTIFY.read_text()) < INOTIFY_INSTANCES:
            _INOTIFY.write_text(f"{INOTIFY_INSTANCES}\n")
            work.note(f"{_INOTIFY} raised to {INOTIFY_INSTANCES}, until the next boot")
    except OSError as error:
        work.note(f"{_INOTIFY} cannot be raised ({error.strerror}): at most eighteen containers")


def _start(work: Work) -> None:
    _raise_inotify_limit(work)
    daemon = _daemon()
    if daemon is None:
        reason = "incusd was installed, but not found"
        raise Missing(reason, remedy=REMEDY)
    INCUSD.start(work, str(daemon), "--group", "root")
