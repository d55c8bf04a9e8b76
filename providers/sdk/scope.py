"""How long an operation may go on: until its timeout, or until the engine cancels."""

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


class Scope:
    """The life of one operation; `stop` ends what it waits for, not what it has started."""

    def __init__(self) -> None:
        """Begin; needs a running event loop."""
        self._stopped: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def stop(self, why: str) -> None:
        """End the waits, now and from now on; the first reason counts."""
        if not self._stopped.done():
            self._stopped.set_result(why)

    @property
    def reason(self) -> str:
        """Why it was stopped; empty while it goes on."""
        return self._stopped.result() if self._stopped.done() else ""

    async def race(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of the work, which is cancelled when the scope is stopped first."""
        task = asyncio.ensure_future(work)
        either: set[asyncio.Future[Any]] = {task, self._stopped}
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
        """Wait; raises when the scope is stopped meanwhile."""
        await self.race(asyncio.sleep(seconds))


class Scopes:
    """All operations under way, so that one Cancel reaches them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._open: set[Scope] = set()
        self._cancelled = False

    def cancel(self) -> None:
        """Stop every operation; those that come later are stopped at once."""
        self._cancelled = True
        for scope in self._open:
            scope.stop(_CANCELLED)

    @contextmanager
    def operation(self, timeout: float) -> Iterator[Scope]:
        """One operation; `timeout` is in seconds, 0 for none."""
        scope = Scope()
        if self._cancelled:
            scope.stop(_CANCELLED)
        self._open.add(scope)
        timer = None
        if timeout:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(int(timeout), scope.stop, _TIMED_OUT)
        try:
            yield scope
        finally:
            self._open.discard(scope)
            if timer is not None:
                timer.cancel()
