"""Repeat an idempotent operation while its daemon restarts."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

RESTART: Final = 20.0
"""Seconds that a daemon may take to restart."""
MAX_OUTAGES: Final = 5
"""Times that it may go away during one operation."""
PAUSE: Final = 0.5


class DaemonClient(Protocol):
    """A client of a daemon."""

    last_response: float
    """When the daemon last responded (`time.monotonic`)."""


async def retry_through_restart(
    daemon: DaemonClient,
    work: Callable[[], Awaitable[T]],
    unavailable: type[Exception],
    *,
    restart: float | None = None,
) -> T:
    """Repeat `work`, which must be idempotent, while the daemon is unavailable.

    `unavailable` is what `work` raises when the daemon does not respond. `restart` is how many
    seconds that may last; the default is RESTART.

    Raises:
        Exception: `unavailable`: for longer than a restart takes, or after too many outages.
    """
    outages, since, longest = 0, 0.0, RESTART if restart is None else restart
    while True:
        began = time.monotonic()
        try:
            return await work()
        except unavailable:
            if not outages or daemon.last_response > began:  # it responded during this try
                outages, since = outages + 1, time.monotonic()
            if outages > MAX_OUTAGES or time.monotonic() - since > longest:
                raise
            await asyncio.sleep(PAUSE)
