"""HTTP over a Unix socket, as local daemons speak it.

This module, docker_api and incus_api are the only clients of the daemons outside the product. They
use the standard library alone, as tools/bootstrap needs them before any package is installed; they
share no code with the product, so that tests do not share its faults.
"""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

Json = Any


class ApiError(Exception):
    """The daemon answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        """`status` is that of HTTP, `text` the daemon's message."""
        super().__init__(f"{status}: {text}")
        self.status = status


class UnixConnection(http.client.HTTPConnection):
    """A connection to the socket at `path`."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def exchange(  # noqa: PLR0913 a request has that many parts
    socket_path: Path,
    method: str,
    path: str,
    body: Json = None,
    *,
    timeout: float,
    headers: dict[str, str],
) -> tuple[int, bytes]:
    """Send one request, and return the status and the body of the response.

    A `body` that is not bytes is sent as JSON.

    Raises:
        OSError: there is no daemon, or no permission to talk to it.
        http.client.HTTPException: the response is not HTTP.
    """
    connection = UnixConnection(socket_path, timeout=timeout)
    try:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
