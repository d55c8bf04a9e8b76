"""Incus's REST interface over its local socket: as much of it as the bootstrap uses."""

import http.client
import json
import os
from pathlib import Path
from typing import Any, Final

from toolchain.unix_http import Connection

ANSWER: Final = 10.0
"""Seconds for a plain answer."""
OPERATION: Final = 180.0
"""Seconds for what Incus does in the background."""


class IncusError(Exception):
    """Incus refused; the text is its own."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


def socket_path() -> Path:
    folder = os.environ.get("INCUS_DIR") or "/var/lib/incus"
    return Path(os.environ.get("INCUS_SOCKET") or f"{folder}/unix.socket")


def call(method: str, path: str, body: object = None, *, timeout: float = ANSWER) -> Any:
    """One request; a background operation is waited for. Returns the answer's metadata.

    Raises:
        IncusError: refused, or failed in the background.
        OSError: no daemon, or no right to talk to it.
    """
    connection = Connection(socket_path(), timeout=timeout)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if answer["type"] == "error":
        raise IncusError(answer["error"], code=answer["error_code"])
    if answer["type"] == "async":
        waiting = f"{answer['operation']}/wait?timeout={OPERATION:.0f}"
        ended = call("GET", waiting, timeout=OPERATION + ANSWER)
        if ended["status_code"] != http.HTTPStatus.OK:
            raise IncusError(ended["err"], code=ended["status_code"])
    return answer["metadata"]


def running() -> bool:
    """Whether a daemon answers us, with the right to administer it."""
    try:
        return bool(call("GET", "/1.0")["auth"] == "trusted")
    except (OSError, IncusError, ValueError):
        return False


def get(path: str) -> dict[str, Any] | None:
    """An object, or None where there is none of that name.

    Raises:
        IncusError: refused for another reason.
    """
    try:
        found: dict[str, Any] = call("GET", path)
    except IncusError as error:
        if error.code == http.HTTPStatus.NOT_FOUND:
            return None
        raise
    return found
