"""The frame of one run of the program: errors as one message, and where the time went."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final

import pulumi

from ..pipeline.errors import FlakeupError

SHOWN: Final = 32
"""Exit status that tells Pulumi's Python host: the error has been shown, add nothing to it."""


def run(main: Callable[[], Awaitable[pulumi.Inputs]]) -> None:
    """Run `main` as the Pulumi program; what we foresee ends in its message alone."""

    async def program() -> pulumi.Inputs:
        # Pulumi interrupts the program when a failed update is over, hosts under way included. Its
        # Python host then waits for a registration that nobody answers, until it is killed: 5 s.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, os._exit, SHOWN)
        try:
            return await main()
        except FlakeupError as error:
            # A RunError would be followed by "program exited with non-zero exit code", and any
            # other exception printed with a traceback.
            pulumi.log.error(str(error))
            raise SystemExit(SHOWN) from None

    # Each debug line of the SDK is a blocking call to the engine, about ten a resource: 50 ms of
    # a preview for each host. The engine drops them all, unless it was started with `--debug`.
    if "FLAKEUP_DEBUG" not in os.environ:
        pulumi.log.debug = _unsent
    pulumi.run(program)


def _unsent(*_: object, **__: object) -> None:
    """A debug line that nobody would read."""
