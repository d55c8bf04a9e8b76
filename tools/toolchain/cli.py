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
INTERRUPTED: Final = 130


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        if options.status:
            return _status(as_json=options.json)
        if options.stop or options.remove_incus:
            with _alone(Report()):
                removed = incus.remove(Work("incus", Running())) if options.remove_incus else []
                ended = (daemon.stop() for daemon in _stopped(options))
                print("\n".join((*removed, *ended)))
            return 0
        return _bootstrap(options.only or NAMES)
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept, run tools/bootstrap again", file=sys.stderr)
        return INTERRUPTED


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/bootstrap",
        description="Puts the tools of this project in place, each only if it is not there yet.",
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="PART", help=", ".join(NAMES))
    parser.add_argument("--status", action="store_true", help="say what is there; change nothing")
    parser.add_argument("--json", action="store_true", help="with --status: for programs")
    parser.add_argument(
        "--stop", action="store_true", help="stop the daemons started here (Incus, Docker)"
    )
    parser.add_argument(
        "--remove-incus",
        action="store_true",
        help="delete the Incus project, network, pool and image made here, and stop its daemon",
    )
    return parser.parse_args()


def _stopped(options: argparse.Namespace) -> tuple[Daemon, ...]:
    return (incusd.INCUSD, docker.DOCKERD) if options.stop else (incusd.INCUSD,)


def _bootstrap(wanted: tuple[str, ...]) -> int:
    report = Report()
    if not (missing := [name for name in wanted if PARTS[name].find() is None]):
        return _conclude(report, wanted, {})
    with _alone(report):
        shutil.rmtree(UNFINISHED, ignore_errors=True)
        outcomes = Schedule(PARTS, report).run(missing)
        return _conclude(report, wanted, outcomes)


def _conclude(report: Report, wanted: tuple[str, ...], made: Mapping[str, Outcome]) -> int:
    outcomes = {**status.look(PARTS), **made}
    state = status.of(PARTS, outcomes)
    status.save(state, outcomes)
    details = [found.detail for name in NAMES if isinstance(found := outcomes.get(name), Found)]
    missing = [name for name in wanted if not isinstance(outcomes.get(name), Found)]
    core = [name for name in missing if PARTS[name].core]
    verdict = "tools not ready" if core else "tools ready"
    print(f"{verdict} ({report.seconds:.1f} s): {', '.join(details)}")
    if missing:
        print(f"missing: {', '.join(missing)} (tools/bootstrap --status says why)")
    return 1 if core else 0


def _status(*, as_json: bool) -> int:
    state = status.of(PARTS, status.look(PARTS))
    if as_json:
        print(json.dumps(state, indent=1))
        return 0 if state["ready"] else 1
    for name, row in state["parts"].items():
        ready = row["state"] == "ready"
        print(f"{name:<8} {row['detail'] if ready else 'missing: ' + row['reason']}")
        if not ready:
            print(f"         -> {row['remedy']}")
    return 0 if state["ready"] else 1


@contextmanager
def _alone(report: Report | None = None) -> Iterator[None]:
    """One bootstrap at a time on a machine; the kernel gives the lock back however it ends."""
    TOOLCHAIN.mkdir(parents=True, exist_ok=True)
    path = Path(TOOLCHAIN / "lock")
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another one"
            if report:
                report.say("lock", f"process {holder} is making the tools: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield
