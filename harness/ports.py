"""Free ports for the daemons of tests, which no other test and no outgoing connection takes.

The kernel's own choice (a bind to port 0) comes from the range that outgoing connections use too:
before the daemon binds it, any of them may have taken the port, and so may another worker.
"""

from __future__ import annotations

import atexit
import random
import socket
from pathlib import Path
from typing import Final

_FIRST: Final = 20_000
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_reserved: Final[dict[int, socket.socket]] = {}


@atexit.register
def _release_all() -> None:
    for reservation in _reserved.values():
        reservation.close()


def free_port(count: int = 1) -> int:
    """The first of `count` adjacent TCP ports that are free on all addresses of this machine.

    They are reserved for this process until it ends, by sockets in the abstract namespace
    (unix(7)), and lie below the range of outgoing connections.

    Raises:
        OSError: none was found.
    """
    end = int(_EPHEMERAL.read_text().split()[0]) - count
    for _ in range(1000):
        first = random.randrange(_FIRST, end)  # noqa: S311 not a secret
        if all(map(_reserve, range(first, first + count))):
            return first
    msg = f"no {count} adjacent free ports from {_FIRST} to {end}"
    raise OSError(msg)


def _reserve(port: int) -> bool:
    if port in _reserved:
        return False
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0flakeup-port-{port}")
        with socket.create_server(("", port)):
            pass
    except OSError:
        reservation.close()
        return False
    _reserved[port] = reservation
    return True
