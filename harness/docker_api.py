"""A small client of Docker's REST API, for everything but the product."""

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
_SCHEME: Final = "unix://"
_DEFAULT: Final = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerApi:
    """A daemon with a Unix socket."""

    host: str
    """As in DOCKER_HOST: `unix://PATH`."""

    @classmethod
    def local(cls) -> Self:
        """The daemon on this machine: a DOCKER_HOST of another machine does not count."""
        host = os.environ.get("DOCKER_HOST", "")
        return cls(host=host if host.startswith(_SCHEME) else _DEFAULT)

    @property
    def socket_path(self) -> Path:
        """The daemon's socket."""
        return Path(self.host.removeprefix(_SCHEME))

    def is_running(self) -> bool:
        """Whether the daemon answers."""
        try:
            return self.request_bytes("GET", "/_ping", timeout=_PING_TIMEOUT) == b"OK"
        except (OSError, http.client.HTTPException, ApiError):
            return False

    def request(
        self, method: str, path: str, body: Json = None, *, content_type: str = "application/json"
    ) -> Json:
        """Send one request; returns the JSON of the response, or of its last line if it streams.

        Raises:
            ApiError: the daemon answered with an error.
            OSError: there is no daemon, or no permission to talk to it.
        """
        text = self.request_bytes(method, path, body, content_type=content_type).decode().strip()
        lines = text.splitlines()
        return json.loads(text if len(lines) == 1 else lines[-1]) if lines else None

    def request_bytes(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        content_type: str = "application/json",
        timeout: float = TIMEOUT,
    ) -> bytes:
        """Send one request; returns the body of the response as it came.

        Raises:
            ApiError: the daemon answered with an error.
            OSError: there is no daemon, or no permission to talk to it.
        """
        # The daemon wants a login with each push; the registries of tests need none.
        headers = {"Content-Type": content_type, "X-Registry-Auth": "e30="}
        status, content = exchange(
            self.socket_path, method, path, body, timeout=timeout, headers=headers
        )
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise ApiError(status, content.decode(errors="replace").strip())
        return content
