"""Runs the rows that need no hosts, each kind on a daemon of its own, in parallel."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from tests.faults import docker_target, incus_target
from tests.faults.plan import Injection
from tests.faults.row import Driver, Outcome
from tests.faults.run import Result
from tests.faults.target import ERRORS, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of target."""

    why_unavailable: Callable[[Mapping[str, Any]], str]
    """Why this machine cannot run it; empty if it can."""
    start: Callable[[Mapping[str, Any]], AbstractContextManager[Target]]


KINDS: Final = {
    Driver.SERVICE: Kind(
        why_unavailable=docker_target.why_unavailable, start=docker_target.ServiceTarget.start
    ),
    Driver.INSTANCE: Kind(
        why_unavailable=incus_target.why_unavailable, start=incus_target.InstanceTarget.start
    ),
}


def skipped(wanted: Sequence[Injection], parts: Mapping[str, Any]) -> dict[str, str]:
    """Why this machine cannot run some rows, by their ids."""
    why = {driver: kind.why_unavailable(parts) for driver, kind in KINDS.items()}
    return {one.row.id: reason for one in wanted if (reason := why.get(one.row.driver, ""))}


def run_all(
    wanted: Sequence[Injection],
    parts: Mapping[str, Any],
    show: Callable[[Result, Driver], None],
) -> list[Result]:
    """Run the injections, one at a time on each daemon."""
    results: list[Result] = []
    interrupted = threading.Event()

    def work(driver: Driver) -> None:
        mine = [one for one in wanted if one.row.driver is driver]
        if not mine:
            return
        left = list(mine)
        try:
            with KINDS[driver].start(parts) as target:
                while left and not interrupted.is_set():
                    results.append(target.run_injection(left[0].row, left[0].seed))
                    show(results[-1], driver)
                    left.pop(0)
        except ERRORS as error:
            # The results of the other daemon are kept.
            for one in left or mine[-1:]:
                results.append(_not_run(one, str(error)))
                show(results[-1], driver)

    with ThreadPoolExecutor(max_workers=len(KINDS)) as pool:
        try:
            for future in [pool.submit(work, driver) for driver in KINDS]:
                future.result()
        finally:
            # After Ctrl-C, injections in progress finish, and what was created is removed.
            interrupted.set()
    return results


def _not_run(one: Injection, why: str) -> Result:
    """The result of an injection whose daemon or stack could not be created or removed."""
    return Result(
        id=one.row.id,
        seed=one.seed,
        host=str(one.row.driver),
        expected=one.row.expected,
        outcome=Outcome.BETWEEN,
        seconds=0.0,
        ok=False,
        detail=f"daemon or stack: {why}",
        total=0.0,
    )
