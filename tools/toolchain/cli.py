"""The command tools/bootstrap."""

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from toolchain import docker, edge, incus, incusd, nix, pulumi, registry, rootfs, sshd, status, venv
from toolchain.daemon import Daemon
from toolchain.part import Found, Part
from toolchain.paths import TOOLCHAIN, UNFINISHED
from toolchain.report import Report
from toolchain.schedule import Outcome, Schedule
from toolchain.work import Running, Work

_ALL: Final = (
    *venv.PARTS, *pulumi.PARTS, *rootfs.PARTS, *nix.PARTS, *sshd.PARTS, *incus.PARTS,
    *docker.PARTS, *registry.PARTS, *edge.PARTS,
)  # fmt: skip
PARTS: Final[Mapping[str, Part]] = {part.name: part for part in _ALL}
NAMES: Final = tuple(name for name, part in PARTS.items() if not part.helper)
_SOURCES: Final = {"machine": "this machine's own", "cache": "by tools/bootstrap"}
INTERRUPTED: Final = 130


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, _raise_interrupt)
    try:
        if options.status:
            return _status(as_json=options.json)
        if options.stop or options.remove_incus:
            with _lock(Report()):
                removed = incus.remove(Work("incus", Running())) if options.remove_incus else []
                stopped = (daemon.stop() for daemon in _daemons(options))
                print("\n".join((*removed, *stopped)))
            return 0
        return _bootstrap(options.only or NAMES)
    except KeyboardInterrupt:
        print("interrupted: finished parts are kept; run tools/bootstrap again", file=sys.stderr)
        return INTERRUPTED


def _raise_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/bootstrap",
        description="Set up the tools of this project; what exists already is reused.",
    )
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, metavar="PART", help=f"only these: {', '.join(NAMES)}"
    )
    parser.add_argument(
        "--status", action="store_true", help="print what exists, without changing anything"
    )
    parser.add_argument("--json", action="store_true", help="with --status: print JSON")
    parser.add_argument(
        "--stop",
        action="store_true",
        help="stop the daemons that tools/bootstrap has started (Incus, Docker)",
    )
    parser.add_argument(
        "--remove-incus",
        action="store_true",
        help="delete our Incus project, network, pool and image, and stop our incusd",
    )
    return parser.parse_args()


def _daemons(options: argparse.Namespace) -> tuple[Daemon, ...]:
    return (incusd.INCUSD, docker.DOCKERD) if options.stop else (incusd.INCUSD,)


def _bootstrap(wanted: tuple[str, ...]) -> int:
    report = Report()
    if not (missing := [name for name in wanted if PARTS[name].find() is None]):
        return _conclude(report, wanted, {})
    with _lock(report):
        shutil.rmtree(UNFINISHED, ignore_errors=True)
        outcomes = Schedule(PARTS, report).run(missing)
        return _conclude(report, wanted, outcomes)


def _conclude(report: Report, wanted: tuple[str, ...], attempted: Mapping[str, Outcome]) -> int:
    outcomes = {**status.look(PARTS), **attempted}
    state = status.of(PARTS, outcomes)
    status.save(state, outcomes)
    details = [found.detail for name in NAMES if isinstance(found := outcomes.get(name), Found)]
    missing = [name for name in wanted if not isinstance(outcomes.get(name), Found)]
    core = [name for name in missing if PARTS[name].core]
    verdict = "tools not ready" if core else "tools ready"
    print(f"{verdict} ({report.seconds:.1f} s): {', '.join(details)}")
    if missing:
        print(f"missing: {', '.join(missing)} (see tools/bootstrap --status)")
    return 1 if core else 0


def _status(*, as_json: bool) -> int:
    state = status.of(PARTS, status.look(PARTS))
    if as_json:
        print(json.dumps(state, indent=1))
        return 0 if state["ready"] else 1
    for name, row in state["parts"].items():
        if row["state"] == "ready":
            print(f"{name:<8} {row['detail']} ({_SOURCES[row['source']]})")
        else:
            print(f"{name:<8} missing: {row['reason']}\n         -> {row['remedy']}")
    print(f"cache: {state['cache']}")
    return 0 if state["ready"] else 1


@contextmanager
def _lock(report: Report | None = None) -> Iterator[None]:
    """Run one bootstrap at a time on a machine; the kernel releases the lock when it exits."""
    TOOLCHAIN.mkdir(parents=True, exist_ok=True)
    path = Path(TOOLCHAIN / "lock")
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            if report:
                report.say("lock", f"waiting for another tools/bootstrap (process {holder})")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield
