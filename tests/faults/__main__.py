"""`python -m tests.faults`: injects faults, prints each result, writes .flakeup/faults.json.

Exits with status 1 if an injection did not end as expected, 2 if there are no hosts.
"""

import argparse
import itertools
import os
import queue
import secrets
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.incus import ROOT, HarnessError, bootstrap_parts, own_prefix
from harness.lock import exclusive_lock
from tests.faults import report, rows, targets
from tests.faults.host_under_test import HostUnderTest
from tests.faults.plan import Injection, injections
from tests.faults.row import Driver
from tests.faults.run import Result, run_injection
from tests.faults.testbed import Testbed

FOLDER: Final = ROOT / ".flakeup"
LOCK: Final = FOLDER / "faults.lock"
PAGE: Final = ROOT / "docs" / "faults.md"
PREFIX: Final = own_prefix("flakeup-faults")


def main() -> int:
    """Run the injections; returns the exit status."""
    options = _arguments()
    if options.page:
        results, meta = report.load(FOLDER / "faults.json")
        report.write_page(PAGE, rows.ALL, results, meta)
        return 0
    try:
        with exclusive_lock(LOCK, "the fault rig"):
            return _run(options)
    except HarnessError as error:
        _print(f"faults: {error}")
        return 2
    except KeyboardInterrupt:
        _print("faults: interrupted: the hosts are removed, and no result is recorded")
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description="inject faults into deployments on real hosts"
    )
    parser.add_argument("--rows", default="", help="only these rows, such as F2,F9b")
    parser.add_argument("--seed", type=int, help="seed of the first injection of each row")
    parser.add_argument("--times", type=int, help="number of injections of each row")
    parser.add_argument(
        "--quick", action="store_true", help="about thirty injections, of all kinds"
    )
    parser.add_argument("--hosts", type=int, default=8, help="number of hosts (default: 8)")
    parser.add_argument("--keep", action="store_true", help="keep the hosts for inspection")
    parser.add_argument(
        "--prefix", default=PREFIX, help=f"prefix of the containers (default: {PREFIX})"
    )
    parser.add_argument(
        "--fail-fast", action="store_true", help="do not recover a host after a failed row"
    )
    parser.add_argument("--list", action="store_true", help="only list the rows")
    parser.add_argument(
        "--page", action="store_true", help="only write docs/faults.md from the last results"
    )
    return parser.parse_args()


def _run(options: argparse.Namespace) -> int:
    only = frozenset(filter(None, options.rows.split(",")))
    if unknown := sorted(only - {row.id for row in rows.ALL}):
        _print(f"faults: no such row: {', '.join(unknown)}; see --list")
        return 2
    if options.list:
        return _list()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    wanted = injections(rows.ALL, seed, only=only, quick=options.quick, times=options.times)
    began = datetime.now(UTC)
    _say(f"{len(wanted)} injections, seed {seed}")
    skipped = _skipped(wanted)
    wanted = [one for one in wanted if one.row.id not in skipped]
    on_hosts = [one for one in wanted if one.row.driver not in targets.KINDS]
    others = [one for one in wanted if one.row.driver in targets.KINDS]
    results = _on_hosts(options, on_hosts) if on_hosts else []
    results += _on_targets(others)
    meta = {
        "began": began.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - began).total_seconds()),
        "seed": seed,
        "hosts": options.hosts,
        "cpus": os.cpu_count(),
        "quick": options.quick,
        "skipped": skipped,
    }
    report.save(FOLDER / "faults.json", results, meta)
    if not (only or options.quick or options.times):
        report.write_page(PAGE, rows.ALL, results, meta)
    for line in report.summary_lines(results):
        _print(line)
    complete = len(results) == len(on_hosts) + len(others)
    return 0 if complete and all(one.ok for one in results) else 1


def _list() -> int:
    for row in rows.ALL:
        _print(f"{row.id:6} {row.expected:6} {row.driver:8} {row.times:4} {row.what}")
    return 0


def _on_hosts(options: argparse.Namespace, wanted: list[Injection]) -> list[Result]:
    """Run the injections into hosts."""
    testbed = Testbed(
        # In no repository: of a flake in one, flakeup takes what git tracks.
        folder=Path(tempfile.mkdtemp(prefix="flakeup-faults-")),
        prefix=options.prefix,
        count=options.hosts,
        say=_say,
        stacks=any(one.row.driver is not Driver.PIPELINE for one in wanted),
    )
    try:
        with testbed.prepared():
            single = [one for one in wanted if one.row.driver is not Driver.FLEET]
            results = _single(testbed.hosts, single, fail_fast=options.fail_fast)
            return results + _fleet(
                testbed, [one for one in wanted if one.row.driver is Driver.FLEET]
            )
    finally:
        if options.keep:
            _say(f"kept: the containers, and {testbed.folder}")
        else:
            testbed.remove()


def _skipped(wanted: list[Injection]) -> dict[str, str]:
    """The rows that this machine cannot run, with the reasons, which are printed."""
    on_targets = [one for one in wanted if one.row.driver in targets.KINDS]
    found = targets.skipped(on_targets, bootstrap_parts()) if on_targets else {}
    reasons = ((row.id, row.why_unavailable()) for row in {one.row for one in wanted})
    found |= {name: reason for name, reason in reasons if reason}
    for why in sorted(set(found.values())):
        _say(f"skipped: {', '.join(row for row in found if found[row] == why)}: {why}")
    return found


def _on_targets(wanted: list[Injection]) -> list[Result]:
    """Run the injections into daemons of their own."""
    if not wanted:
        return []
    numbers = itertools.count(1)
    return targets.run_all(
        wanted,
        bootstrap_parts(),
        lambda result, driver: _show(result, driver, next(numbers), len(wanted)),
    )


def _single(
    hosts: list[HostUnderTest], wanted: list[Injection], *, fail_fast: bool
) -> list[Result]:
    """Run injections into single hosts, one at a time on each."""
    pending: queue.SimpleQueue[Injection] = queue.SimpleQueue()
    for one in wanted:
        pending.put(one)
    results: list[Result] = []

    def work(host: HostUnderTest) -> None:
        while not host.unusable:
            try:
                one = pending.get_nowait()
            except queue.Empty:
                return
            result = run_injection(host, one.row, one.seed, fail_fast=fail_fast)
            results.append(result)
            _show(result, one.row.driver, len(results), len(wanted))

    threads = [threading.Thread(target=work, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _fleet(testbed: Testbed, wanted: list[Injection]) -> list[Result]:
    """Run the injections into one stack of all hosts, one after the other."""
    if not wanted:
        return []
    fleet = testbed.fleet()
    results = []
    for number, one in enumerate(wanted, start=1):
        results.append(fleet.run_injection(one.row, one.seed))
        _show(results[-1], one.row.driver, number, len(wanted))
    return results


def _show(one: Result, driver: Driver, number: int, of: int) -> None:
    mark_fault = "ok  " if one.ok else "FAIL"
    outcome = f"{one.outcome} in {one.seconds:.1f} s" if one.seconds else str(one.outcome)
    line = f"{mark_fault} {one.id:6} seed {one.seed:<6} {one.host} {driver:8} {outcome:16}"
    detail = one.detail.replace("\n", "; ") if one.ok else f"\n{one.detail}"
    _say(f"[{number}/{of}] {line} ({one.total:.0f} s) {detail}")


def _say(text: str) -> None:
    _print(f"{time.strftime('%H:%M:%S')} {text}")


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 output of a command


if __name__ == "__main__":
    sys.exit(main())
