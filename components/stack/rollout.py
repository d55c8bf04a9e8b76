"""The rollout of one run: slots of a wave, and what is left untouched after a failure.

The engine orders the waves (`depends_on`). This tracks what it cannot: hosts of a wave that still
wait for a slot must not start after a failure, even with `--continue-on-error`; and the status of
each host, for the summary of a stopped rollout.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

import pulumi

from ..pipeline.errors import ActivationError, message


class HostStatus(StrEnum):
    """The status of a host in this run."""

    DISABLED = "skipped"
    UNTOUCHED = "untouched"
    COPYING = "copying"
    NOT_COPIED = "not copied"
    SWITCHING = "switching"
    UNCHANGED = "unchanged"
    COMMITTED = "committed"
    FAILED = "failed"


_ACTIVE: Final = frozenset({HostStatus.COPYING, HostStatus.SWITCHING})
_FAILED: Final = frozenset({HostStatus.NOT_COPIED, HostStatus.FAILED})


class RolloutTracker:
    """The hosts of one run; the summary appears at `component`."""

    def __init__(
        self,
        waves: Sequence[Sequence[str]],
        max_parallel: int | None,
        *,
        disabled: Sequence[str] = (),
        component: pulumi.Resource,
    ) -> None:
        self._status = {name: HostStatus.UNTOUCHED for wave in waves for name in wave}
        self._slots = asyncio.Semaphore(max_parallel or max(1, len(self._status)))
        self._status.update(dict.fromkeys(disabled, HostStatus.DISABLED))
        self._component = component
        self._last_summary = ""
        self.unnoticed: list[str] = []
        """Failed hosts whose `switch` succeeded for the engine."""

    @contextmanager
    def copying(self, name: str) -> Iterator[None]:
        """Track a copy to a host; if it fails, no further host is switched."""
        self._status[name] = HostStatus.COPYING
        try:
            yield
        except BaseException:
            self._set(name, HostStatus.NOT_COPIED)
            raise
        self._set(name, HostStatus.UNTOUCHED)

    async def acquire(self, name: str) -> None:
        """Wait for a slot.

        Raises:
            ActivationError: another host failed meanwhile; this one is left untouched.
        """
        await self._slots.acquire()
        if failed := self._failed():
            self._slots.release()
            remedy = "fix the release, then run `pulumi up` again"
            raise ActivationError(message("left untouched", name, f"{failed[0]} failed", remedy))
        self._status[name] = HostStatus.SWITCHING

    def finish(self, name: str, status: HostStatus) -> None:
        """Release the slot, and set the final status."""
        if self._status[name] is not HostStatus.SWITCHING:
            return
        self._slots.release()
        self._set(name, status)

    def skip(self, name: str) -> None:
        """Mark a host as unchanged."""
        self._status[name] = HostStatus.UNCHANGED

    def fail(self, name: str) -> None:
        """Mark a host as failed although its `switch` succeeded for the engine."""
        self.unnoticed.append(name)
        self._set(name, HostStatus.FAILED)

    def require_success(self) -> None:
        """Fail the program for hosts whose failure the engine has not noticed.

        Raises:
            ActivationError: there are some.
        """
        if self.unnoticed:
            names = ", ".join(self.unnoticed)
            raise ActivationError(message("not deployed", names, "the errors say why"))

    def _set(self, name: str, status: HostStatus) -> None:
        self._status[name] = status
        if self._failed() and not _ACTIVE.intersection(self._status.values()):
            self._log_summary()

    def _failed(self) -> list[str]:
        return [name for name, how in self._status.items() if how in _FAILED]

    def _log_summary(self) -> None:
        by_status: dict[HostStatus, list[str]] = {}
        for name, status in self._status.items():
            by_status.setdefault(status, []).append(name)
        parts = "; ".join(f"{how}: {', '.join(names)}" for how, names in by_status.items())
        if parts != self._last_summary:  # copies of later waves may go on without changing it
            pulumi.log.warn(f"the rollout stopped: {parts}", resource=self._component)
        self._last_summary = parts
