"""Runs the program: expected errors become one message."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final

import pulumi
from pulumi.runtime import stack

from ..pipeline.errors import FlakeupError

ERROR_SHOWN: Final = 32
"""Exit status that tells Pulumi's Python host that the error has been reported."""


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` as the Pulumi program; a FlakeupError ends in its message alone."""

    async def program() -> None:
        # Pulumi interrupts the program at the end of a failed update. Its Python host would then
        # wait for a registration that is never answered, until it is killed after 5 s.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, os._exit, ERROR_SHOWN)
        try:
            await main()
        except FlakeupError as error:
            # A RunError is followed by "program exited with non-zero exit code", any other
            # exception by a traceback.
            pulumi.log.error(str(error))
            raise SystemExit(ERROR_SHOWN) from None

    # Each debug line of the SDK is a blocking call to the engine, about ten per resource: 50 ms of
    # a preview per host. The engine drops them unless it was started with `--debug`.
    if "FLAKEUP_DEBUG" not in os.environ:
        pulumi.log.debug = _drop
    pulumi.run(program)


async def finish(outputs: pulumi.Inputs, check: Callable[[], None]) -> None:
    """Export the outputs, and call `check` once all resources are done; it may raise.

    The engine counts a resource as done once its provider says so. What the program finds out
    later can only fail the program itself, and nothing else must be under way then.
    """
    for name, value in outputs.items():
        pulumi.export(name, value)
    if not pulumi.runtime.is_dry_run():
        await stack.wait_for_rpcs()
        check()


def _drop(*_: object, **__: object) -> None:
    """Drop a debug line."""
