"""HTTP over a socket in the file system, as local daemons speak it."""

import http.client
import socket
from pathlib import Path


class Connection(http.client.HTTPConnection):
    """One connection to the socket at a path."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
