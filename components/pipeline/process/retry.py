"""What may be done again is done again, where a daemon is restarted in the middle of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

RESTART: Final = 20.0
"""Seconds that a daemon may be away."""
CUTS: Final = 5
"""Times that it may come back, and go again, while one thing is done."""
PAUSE: Final = 0.5


class Heard(Protocol):
    """Whoever speaks with a daemon."""

    heard: float
    """When it answered last (`time.monotonic`)."""


async def steadily(
    daemon: Heard,
    work: Callable[[], Awaitable[T]],
    away: type[Exception],
    *,
    restart: float | None = None,
) -> T:
    """Do what may be done again; `away` is what it raises where the daemon does not answer.

    `restart` is how long that may be, RESTART where nothing is said.

    Raises:
        Exception: `away`: it was so for longer than a restart takes, or goes each time it comes.
    """
    cuts, gone, longest = 0, 0.0, RESTART if restart is None else restart
    while True:
        began = time.monotonic()
        try:
            return await work()
        except away:
            if not cuts or daemon.heard > began:  # it was there in this try
                cuts, gone = cuts + 1, time.monotonic()
            if cuts > CUTS or time.monotonic() - gone > longest:
                raise
            await asyncio.sleep(PAUSE)
