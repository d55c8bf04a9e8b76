"""Whose turn it is: places in a wave, and what is left untouched once a host has failed.

The order of the waves is the engine's (`depends_on`). What it does not know is kept here: that
hosts of a wave which still wait for a place are not to begin after a failure, also with
`--continue-on-error`; and how each host stands, for the summary of a rollout that stopped.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

import pulumi

from ..pipeline.errors import ActivationError, message


class HostStatus(StrEnum):
    """How far a host has come in this run."""

    DISABLED = "skipped"
    UNTOUCHED = "untouched"
    COPYING = "copying"
    NOT_COPIED = "not copied"
    UNDER_WAY = "under way"
    UNCHANGED = "unchanged"
    COMMITTED = "committed"
    FAILED = "failed"


_MOVING: Final = frozenset({HostStatus.COPYING, HostStatus.UNDER_WAY})
_FAILED: Final = frozenset({HostStatus.NOT_COPIED, HostStatus.FAILED})


class RolloutTracker:
    """The hosts of one run; `component` is where the summary appears."""

    def __init__(
        self,
        waves: Sequence[Sequence[str]],
        max_parallel: int | None,
        *,
        disabled: Sequence[str] = (),
        component: pulumi.Resource,
    ) -> None:
        self._status = {name: HostStatus.UNTOUCHED for wave in waves for name in wave}
        self._places = asyncio.Semaphore(max_parallel or max(1, len(self._status)))
        self._status.update(dict.fromkeys(disabled, HostStatus.DISABLED))
        self._component = component
        self._said = ""

    @contextmanager
    def copying(self, name: str) -> Iterator[None]:
        """A copy to a host, which may fail: then no host begins any more."""
        self._status[name] = HostStatus.COPYING
        try:
            yield
        except BaseException:
            self._stand(name, HostStatus.NOT_COPIED)
            raise
        self._stand(name, HostStatus.UNTOUCHED)

    async def acquire(self, name: str) -> None:
        """Wait for a place.

        Raises:
            ActivationError: another host has failed meanwhile; this one is left as it is.
        """
        await self._places.acquire()
        if failed := self._failed():
            self._places.release()
            remedy = "fix the release, then run `pulumi up` again"
            raise ActivationError(message("left untouched", name, f"{failed[0]} failed", remedy))
        self._status[name] = HostStatus.UNDER_WAY

    def finish(self, name: str, status: HostStatus) -> None:
        """Give the place back, and say how the host has ended."""
        if self._status[name] is not HostStatus.UNDER_WAY:
            return
        self._places.release()
        self._stand(name, status)

    def skip(self, name: str) -> None:
        """Note that nothing changes on a host."""
        self._status[name] = HostStatus.UNCHANGED

    def _stand(self, name: str, status: HostStatus) -> None:
        self._status[name] = status
        if self._failed() and not _MOVING.intersection(self._status.values()):
            self._say_summary()

    def _failed(self) -> list[str]:
        return [name for name, how in self._status.items() if how in _FAILED]

    def _say_summary(self) -> None:
        by_status: dict[HostStatus, list[str]] = {}
        for name, status in self._status.items():
            by_status.setdefault(status, []).append(name)
        parts = "; ".join(f"{how}: {', '.join(names)}" for how, names in by_status.items())
        if parts != self._said:  # copies of later waves may go on, and change nothing of it
            pulumi.log.warn(f"the rollout stopped: {parts}", resource=self._component)
        self._said = parts
