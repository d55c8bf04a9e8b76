"""Plays the rows that need no hosts: each kind in a daemon of its own, side by side."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from tests.faults import instance, service
from tests.faults.plan import Injection
from tests.faults.row import By, Ending
from tests.faults.run import Result
from tests.faults.target import TROUBLES, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of target."""

    missing: Callable[[Mapping[str, Any]], str]
    """Why there is none here; empty where there is."""
    ready: Callable[[Mapping[str, Any]], AbstractContextManager[Target]]


KINDS: Final = {
    By.SERVICE: Kind(missing=service.missing, ready=service.Services.ready),
    By.INSTANCE: Kind(missing=instance.missing, ready=instance.Instances.ready),
}


def skipped(wanted: Sequence[Injection], parts: Mapping[str, Any]) -> dict[str, str]:
    """Why rows are left out on this machine, by their ids."""
    why = {by: kind.missing(parts) for by, kind in KINDS.items()}
    return {one.row.id: reason for one in wanted if (reason := why.get(one.row.by, ""))}


def play_all(
    wanted: Sequence[Injection],
    parts: Mapping[str, Any],
    show: Callable[[Result, By], None],
) -> list[Result]:
    """Play them, one at a time in each daemon."""
    results: list[Result] = []
    interrupted = threading.Event()

    def work(by: By) -> None:
        mine = [one for one in wanted if one.row.by is by]
        if not mine:
            return
        left = list(mine)
        try:
            with KINDS[by].ready(parts) as target:
                while left and not interrupted.is_set():
                    results.append(target.play(left[0].row, left[0].seed))
                    show(results[-1], by)
                    left.pop(0)
        except TROUBLES as error:
            # What others have shown is not lost for it.
            for one in left or mine[-1:]:
                results.append(_unplayed(one, str(error)))
                show(results[-1], by)

    with ThreadPoolExecutor(max_workers=len(KINDS)) as pool:
        try:
            for ended in [pool.submit(work, by) for by in KINDS]:
                ended.result()
        finally:
            # After Ctrl-C what is under way comes to its end, and what was made goes.
            interrupted.set()
    return results


def _unplayed(one: Injection, why: str) -> Result:
    """An injection whose daemon or stack could not be made, or not be taken away."""
    return Result(
        id=one.row.id,
        seed=one.seed,
        host=str(one.row.by),
        expected=one.row.expected,
        ended=Ending.BETWEEN,
        seconds=0.0,
        ok=False,
        detail=f"its daemon or its stack: {why}",
        total=0.0,
    )
