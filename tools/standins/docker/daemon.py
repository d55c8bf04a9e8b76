"""The daemon's API: version negotiation, errors, images."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from providers.sdk.errors import OperationError

from standins.docker.transport import TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from standins.docker.transport import Transport

    Query = Mapping[str, str | int]

Version = tuple[int, ...]
_NEWEST: Final[Version] = (1, 51)
"""The newest API version that the released plugin's client knows."""
_JSON: Final = "application/json"


class DaemonError(OperationError):
    """The daemon answered with an error; the text is its message on one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Error response from daemon: {' '.join(message.split())}")
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A login for a registry; the password is kept out of its `repr`."""

    username: str
    password: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Daemon:
    """One daemon; the first request negotiates the version of its API."""

    address: str
    """As error messages name it."""
    transport: Transport
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    """By the registry's host."""
    _version: Version = ()
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def version(self) -> Version:
        """The newest version of the API that both sides know.

        Raises:
            OperationError: it cannot be reached.
        """
        async with self._lock:
            if not self._version:
                self._version = await self._ping()
        return self._version

    async def _ping(self) -> Version:
        try:
            response = await self._send("GET", "/_ping")
            if response.status_code != HTTPStatus.OK:
                raise DaemonError(response.status_code, _message(response))
        except OperationError as error:
            msg = (
                f"Error pinging Docker server, please make sure that {self.address} is reachable "
                f"and has a  '_ping' endpoint. Error: {error}"
            )
            raise OperationError(msg) from error
        version = response.headers.get("api-version", "1.24")
        return min(_NEWEST, tuple(int(part) for part in version.split(".")))

    async def get(self, path: str) -> Any:
        """Inspect an object."""
        return await self.call("GET", path)

    async def post(
        self,
        path: str,
        body: object = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send a JSON body, or none."""
        content = b"" if body is None else json.dumps(body).encode()
        return await self.call("POST", path, query, content=content, headers=headers)

    async def call(  # noqa: PLR0913 as HTTP has it
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        content: bytes = b"",
        content_type: str = _JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request; returns the JSON of the response, None for an empty one.

        Raises:
            DaemonError: it answered with an error.
            OperationError: it cannot be reached.
        """
        version = ".".join(map(str, await self.version()))
        all_headers = {**(headers or {}), **({"Content-Type": content_type} if content else {})}
        response = await self._send(
            method, f"/v{version}{path}", query=query, headers=all_headers, content=content
        )
        if response.is_error:
            raise DaemonError(response.status_code, _message(response))
        return _last_json(response.content)

    async def _send(self, method: str, path: str, **details: Any) -> httpx.Response:
        try:
            return await self.transport.request(method, path, **details)
        except TransportError as error:
            msg = (
                f"Cannot connect to the Docker daemon at {self.address} ({error}). "
                "Is the docker daemon running?"
            )
            raise OperationError(msg) from error

    async def ensure_image(self, name: str) -> None:
        """Pull an image unless the daemon has it.

        Raises:
            OperationError: it cannot be pulled.
        """
        try:
            await self.get(f"/images/{quote(name)}/json")
        except DaemonError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            await self._pull(name)

    async def _pull(self, name: str) -> None:
        query = {"fromImage": name}
        if "@" not in name and ":" not in name.rpartition("/")[2]:
            query["tag"] = "latest"
        try:
            last = await self.call("POST", "/images/create", query, headers=self.login(name))
            # A pull that fails half-way says so in the last line of a successful response.
            reason = last.get("error") if isinstance(last, dict) else None
        except DaemonError as error:
            reason = str(error)
        if reason:
            msg = f"unable to pull image {name}: error pulling image {name}: {reason}"
            raise OperationError(msg)

    def login(self, image: str) -> dict[str, str]:
        """The authentication header for the image's registry; empty without a login for it."""
        host = image.partition("/")[0] if "/" in image else ""
        login = self.credentials.get(host)
        if login is None:
            return {}
        auth = {"username": login.username, "password": login.password, "serveraddress": host}
        encoded = base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()
        return {"X-Registry-Auth": encoded}


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.text or response.reason_phrase


def _last_json(body: bytes) -> Any:
    """The document, or the last one of a progress stream with one a line."""
    lines = body.strip().splitlines()
    if not lines:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return json.loads(lines[-1])
