"""dockerd's REST interface over its local socket: as much of it as the bootstrap uses."""

import http.client
import json
import os
from pathlib import Path
from typing import Any, Final

from toolchain.unix_http import Connection

_ANSWER: Final = 10.0
"""Seconds for an answer."""
_SCHEME: Final = "unix://"


def socket_path() -> Path:
    """The daemon's socket on this machine; a DOCKER_HOST elsewhere is not ours to use."""
    host = os.environ.get("DOCKER_HOST", "")
    return Path(host.removeprefix(_SCHEME) if host.startswith(_SCHEME) else "/var/run/docker.sock")


def host() -> str:
    return f"{_SCHEME}{socket_path()}"


def running() -> bool:
    """Whether a daemon answers us."""
    try:
        return _get("/_ping") == b"OK"
    except (OSError, http.client.HTTPException):
        return False


def get(path: str) -> Any:
    """An answer.

    Raises:
        OSError: no daemon, or no right to talk to it.
    """
    return json.loads(_get(path))


def _get(path: str) -> bytes:
    connection = Connection(socket_path(), timeout=_ANSWER)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
