"""`python -m tests.faults`: makes the injections, prints each, writes .flakeup/faults.json.

Ends with status 1 when an injection did not end as it has to, 2 when there are no hosts.
"""

import argparse
import itertools
import os
import queue
import secrets
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Final

from harness.incus import ROOT, HarnessError, bootstrap_parts
from harness.lock import alone
from tests.faults import report, rows, targets
from tests.faults.ground import Ground
from tests.faults.plan import Injection, injections
from tests.faults.row import By
from tests.faults.run import Result, play
from tests.faults.site import Site

PLACE: Final = ROOT / ".flakeup"
LOCK: Final = PLACE / "faults.lock"
PAGE: Final = ROOT / "docs" / "faults.md"
PREFIX: Final = "flakeup-faults"


def main() -> int:
    """Make the injections; gives the exit status."""
    words = _arguments()
    if words.page:
        results, meta = report.load(PLACE / "faults.json")
        report.write_page(PAGE, rows.ALL, results, meta)
        return 0
    try:
        with alone(LOCK, "the fault rig"):
            return _run(words)
    except HarnessError as error:
        _print(f"faults: {error}")
        return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="the fault plan")
    parser.add_argument("--rows", default="", help="only these, such as F2,F9b")
    parser.add_argument("--seed", type=int, help="of the first injection of each row")
    parser.add_argument("--times", type=int, help="injections of each row")
    parser.add_argument("--quick", action="store_true", help="about twenty, over all groups")
    parser.add_argument("--hosts", type=int, default=8, help="hosts side by side (default: 8)")
    parser.add_argument("--keep", action="store_true", help="leave the hosts for a look")
    parser.add_argument("--prefix", default=PREFIX, help=f"of the containers (default: {PREFIX})")
    parser.add_argument("--hasty", action="store_true", help="of a row that fails, only say so")
    parser.add_argument("--list", action="store_true", help="only say which rows there are")
    parser.add_argument("--page", action="store_true", help="only write docs/faults.md again")
    return parser.parse_args()


def _run(words: argparse.Namespace) -> int:
    only = frozenset(filter(None, words.rows.split(",")))
    if unknown := sorted(only - {row.id for row in rows.ALL}):
        _print(f"faults: no such row: {', '.join(unknown)}; see --list")
        return 2
    if words.list:
        for row in rows.ALL:
            _print(f"{row.id:6} {row.expected:6} {row.by:8} {row.times:4} {row.what}")
        return 0
    seed = secrets.randbelow(1_000_000) if words.seed is None else words.seed
    wanted = injections(rows.ALL, seed, only=only, quick=words.quick, times=words.times)
    began = datetime.now(UTC)
    _say(f"{len(wanted)} injections, the first of each row with seed {seed}")
    on_hosts = [one for one in wanted if one.row.by not in targets.KINDS]
    others = [one for one in wanted if one.row.by in targets.KINDS]
    results = _on_hosts(words, on_hosts) if on_hosts else []
    skipped = _skipped(others)
    others = [one for one in others if one.row.id not in skipped]
    results += _on_targets(others)
    meta = {
        "began": began.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - began).total_seconds()),
        "seed": seed,
        "hosts": words.hosts,
        "cpus": os.cpu_count(),
        "quick": words.quick,
        "skipped": skipped,
    }
    report.save(PLACE / "faults.json", results, meta)
    whole = not (only or words.quick or words.times)
    if whole:
        report.write_page(PAGE, rows.ALL, results, meta)
    for line in report.summary_lines(results):
        _print(line)
    complete = len(results) == len(on_hosts) + len(others)
    return 0 if complete and all(one.ok for one in results) else 1


def _on_hosts(words: argparse.Namespace, wanted: list[Injection]) -> list[Result]:
    """Play those that need hosts to deploy to."""
    ground = Ground(
        folder=PLACE / "faults",
        prefix=words.prefix,
        count=words.hosts,
        say=_say,
        stacks=any(one.row.by is not By.CLASSES for one in wanted),
    )
    try:
        with ground.prepared():
            alone_on_a_host = [one for one in wanted if one.row.by is not By.FLEET]
            results = _all(ground.sites, alone_on_a_host, hasty=words.hasty)
            return results + _fleet(ground, [one for one in wanted if one.row.by is By.FLEET])
    finally:
        if words.keep:
            _say(f"kept: the containers, and {ground.folder}")
        else:
            ground.remove()


def _skipped(wanted: list[Injection]) -> dict[str, str]:
    """Why rows are left out here; it is said, once a reason."""
    found = targets.skipped(wanted, bootstrap_parts()) if wanted else {}
    for why in sorted(set(found.values())):
        _say(f"skipped: {', '.join(row for row in found if found[row] == why)}: {why}")
    return found


def _on_targets(wanted: list[Injection]) -> list[Result]:
    """Play those that make what they deploy to."""
    if not wanted:
        return []
    numbers = itertools.count(1)
    return targets.play_all(
        wanted,
        bootstrap_parts(),
        lambda result, by: _show(result, by, next(numbers), len(wanted)),
    )


def _all(sites: list[Site], wanted: list[Injection], *, hasty: bool) -> list[Result]:
    """Play them all, one at a time on each host."""
    left: queue.SimpleQueue[Injection] = queue.SimpleQueue()
    for one in wanted:
        left.put(one)
    results: list[Result] = []

    def work(site: Site) -> None:
        while not site.lost:
            try:
                one = left.get_nowait()
            except queue.Empty:
                return
            result = play(site, one.row, one.seed, hasty=hasty)
            results.append(result)
            _show(result, one.row.by, len(results), len(wanted))

    threads = [threading.Thread(target=work, args=(site,), daemon=True) for site in sites]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _fleet(ground: Ground, wanted: list[Injection]) -> list[Result]:
    """Play those of all hosts in one stack, one after the other."""
    if not wanted:
        return []
    fleet = ground.fleet()
    results = []
    for number, one in enumerate(wanted, start=1):
        results.append(fleet.play(one.row, one.seed))
        _show(results[-1], one.row.by, number, len(wanted))
    return results


def _show(one: Result, by: By, number: int, of: int) -> None:
    mark = "ok  " if one.ok else "FAIL"
    ended = f"{one.ended} in {one.seconds:.1f} s" if one.seconds else str(one.ended)
    line = f"{mark} {one.id:6} seed {one.seed:<6} {one.host} {by:8} {ended:16}"
    detail = one.detail.replace("\n", "; ") if one.ok else f"\n{one.detail}"
    _say(f"[{number}/{of}] {line} ({one.total:.0f} s) {detail}")


def _say(text: str) -> None:
    _print(f"{time.strftime('%H:%M:%S')} {text}")


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 a command for people


if __name__ == "__main__":
    sys.exit(main())
