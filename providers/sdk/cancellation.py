"""Ends what an operation waits for: at its timeout, or when the engine cancels."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .errors import OperationError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")
_CANCELLED: Final = "context canceled"
_TIMED_OUT: Final = "context deadline exceeded"


class Cancellation:
    """The cancellation of one operation: it ends the waits, not the processes behind them."""

    def __init__(self) -> None:
        """Needs a running event loop."""
        self._cancelled: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def cancel(self, reason: str) -> None:
        """End all waits, current and future; the first reason wins."""
        if not self._cancelled.done():
            self._cancelled.set_result(reason)

    @property
    def reason(self) -> str:
        """Why the operation was cancelled; empty while it was not."""
        return self._cancelled.result() if self._cancelled.done() else ""

    async def race(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled if the operation is cancelled first.

        Raises:
            OperationError: cancelled; the text is the reason.
        """
        task = asyncio.ensure_future(work)
        either: set[asyncio.Future[Any]] = {task, self._cancelled}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        raise OperationError(self.reason)

    async def sleep(self, seconds: float) -> None:
        """Sleep; raises OperationError if cancelled meanwhile."""
        await self.race(asyncio.sleep(seconds))


class Cancellations:
    """Those of all running operations, so that one `Cancel` of the engine reaches them all."""

    def __init__(self) -> None:
        self._running: set[Cancellation] = set()
        self._cancelled = False

    def cancel(self) -> None:
        """Cancel every running operation, and each later one as soon as it starts."""
        self._cancelled = True
        for cancellation in self._running:
            cancellation.cancel(_CANCELLED)

    @contextmanager
    def operation(self, timeout: float) -> Iterator[Cancellation]:
        """The cancellation of one operation; `timeout` is in seconds, 0 for none."""
        cancellation = Cancellation()
        if self._cancelled:
            cancellation.cancel(_CANCELLED)
        self._running.add(cancellation)
        timer = None
        if timeout:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(int(timeout), cancellation.cancel, _TIMED_OUT)
        try:
            yield cancellation
        finally:
            self._running.discard(cancellation)
            if timer is not None:
                timer.cancel()
