"""Serves a plugin on a loopback port and prints the port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc.aio

from .diagnostics import LIMITS, Engine
from .provider import Provider
from .stubs import provider_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .plugin import Plugin

_THREADS: Final = 64
"""For name look-ups and key files, so that operations do not queue behind each other."""
_CLOSE_TIMEOUT: Final = 3.0
"""Seconds for a plugin to close; the engine waits for five."""
_POLL_INTERVAL: Final = 2.0
"""Seconds between checks that the engine still runs."""


def serve(plugin: Plugin, arguments: Sequence[str]) -> int:
    """Serve until the engine ends this process or is gone; returns the exit status.

    `arguments` are the engine's: its address, and logging flags that are ignored here.
    """
    address = next((argument for argument in arguments if not argument.startswith("-")), "")
    asyncio.run(_serve(plugin, Engine(address), os.getppid()))
    return 0


async def _serve(plugin: Plugin, engine: Engine, parent: int) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    server = grpc.aio.server(options=LIMITS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(plugin, engine), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    # A killed engine does not end its plugins: without this check they would run forever.
    while not ended.is_set() and os.getppid() == parent:
        try:
            await asyncio.wait_for(ended.wait(), _POLL_INTERVAL)
        except TimeoutError:
            continue
    await server.stop(grace=0)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await plugin.close()
    # Does not wait for processes on other machines, nor for threads in a name look-up.
    os._exit(0)
