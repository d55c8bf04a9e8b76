"""A small client of Incus's REST API, for everything but the product.

What needs a websocket or a tar stream (`exec`, `file push`) is left to the `incus` command, which
`harness.incus` runs.
"""

import http.client
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from harness.unix_http import ApiError, Json, exchange

TIMEOUT: Final = 60.0
"""Seconds for a response."""
_PING_TIMEOUT: Final = 10.0
OPERATION_TIMEOUT: Final = 180.0
"""Seconds for an operation in the background."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncusApi:
    """A daemon with a Unix socket."""

    socket_path: Path

    @classmethod
    def local(cls) -> Self:
        """The daemon on this machine."""
        folder = os.environ.get("INCUS_DIR") or "/var/lib/incus"
        return cls(socket_path=Path(os.environ.get("INCUS_SOCKET") or f"{folder}/unix.socket"))

    def is_running(self) -> bool:
        """Whether the daemon answers, and lets us administer it."""
        try:
            return bool(self.request("GET", "/1.0", timeout=_PING_TIMEOUT)["auth"] == "trusted")
        except (OSError, http.client.HTTPException, ApiError, ValueError):
            return False

    def request(
        self, method: str, path: str, body: Json = None, *, timeout: float = TIMEOUT
    ) -> Json:
        """Send one request, and wait for the operation that it starts; returns the metadata.

        Raises:
            ApiError: the request was refused, or the operation failed.
            OSError: there is no daemon, or no permission to talk to it.
        """
        _, content = exchange(self.socket_path, method, path, body, timeout=timeout, headers={})
        answer = json.loads(content)
        if answer["type"] == "error":
            raise ApiError(answer["error_code"], answer["error"])
        if answer["type"] != "async":
            return answer["metadata"]
        operation = answer["operation"].partition("?")[0]
        wait = f"{operation}/wait?timeout={OPERATION_TIMEOUT:.0f}"
        ended = self.request("GET", wait, timeout=OPERATION_TIMEOUT + TIMEOUT)
        if ended["status_code"] != http.HTTPStatus.OK:
            raise ApiError(ended["status_code"], ended["err"])
        return ended["metadata"]

    def find(self, path: str) -> Json:
        """An object, or None if there is none of that name.

        Raises:
            ApiError: the request was refused for another reason.
            OSError: there is no daemon, or no permission to talk to it.
        """
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return None
            raise
