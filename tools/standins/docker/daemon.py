"""The daemon's API: versions, errors in its own words, images."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from providers.sdk.errors import OperationError

from standins.docker.wire import Answer, Wire, WireError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from standins.docker.roads import Road

    Query = Mapping[str, str | int]

Version = tuple[int, ...]
_NEWEST: Final[Version] = (1, 51)
"""Of the API, as the release's client knows it."""
_JSON: Final = "application/json"


class DaemonError(OperationError):
    """The daemon refused; the text is its own."""

    def __init__(self, status: int, said: str) -> None:
        """`said` is made one line."""
        super().__init__(f"Error response from daemon: {' '.join(said.split())}")
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """How to log in at a registry; secrets are kept out of its `repr`."""

    username: str
    password: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Daemon:
    """One daemon, connected to when it is first asked something."""

    address: str
    road: Road
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    """By the registry's host."""
    _wire: Wire | None = None
    _version: Version = ()
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def version(self) -> Version:
        """The version of the API that both sides know.

        Raises:
            OperationError: it cannot be reached.
        """
        async with self._lock:
            if not self._version:
                self._version = await self._greet()
        return self._version

    async def _greet(self) -> Version:
        try:
            answer = await self._send("GET", "/_ping", {}, b"")
            if answer.status != HTTPStatus.OK:
                raise DaemonError(answer.status, _message(answer))
        except OperationError as error:
            msg = (
                f"Error pinging Docker server, please make sure that {self.address} is reachable "
                f"and has a  '_ping' endpoint. Error: {error}"
            )
            raise OperationError(msg) from error
        told = answer.headers.get("api-version", "1.24")
        return min(_NEWEST, tuple(int(part) for part in told.split(".")))

    async def get(self, path: str) -> Any:
        """An object."""
        return await self.call("GET", path)

    async def post(
        self,
        path: str,
        body: object = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Have something done."""
        content = b"" if body is None else json.dumps(body).encode()
        return await self.call("POST", path, query, content=content, headers=headers)

    async def call(  # noqa: PLR0913 as HTTP has it
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        content: bytes = b"",
        kind: str = _JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One request; returns what the answer's JSON says, None for an empty one.

        Raises:
            DaemonError: refused.
            OperationError: it cannot be reached.
        """
        version = ".".join(map(str, await self.version()))
        told = urlencode(query or {})
        target = f"/v{version}{path}{'?' if told else ''}{told}"
        sent = {**(headers or {}), **({"Content-Type": kind} if content else {})}
        answer = await self._send(method, target, sent, content)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise DaemonError(answer.status, _message(answer))
        return _last_json(answer.body)

    async def _send(
        self, method: str, target: str, headers: dict[str, str], content: bytes
    ) -> Answer:
        self._wire = self._wire or Wire(self.road)
        try:
            return await self._wire.ask(method, target, headers=headers, body=content)
        except WireError as error:
            msg = (
                f"Cannot connect to the Docker daemon at {self.address} ({error}). "
                "Is the docker daemon running?"
            )
            raise OperationError(msg) from error

    async def ensure_image(self, name: str) -> None:
        """Make sure of an image: one that is there is not asked for again.

        Raises:
            OperationError: neither there nor to be pulled.
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
            # That it failed half-way is the last line of an answer that began well.
            why = last.get("error") if isinstance(last, dict) else None
        except DaemonError as error:
            why = str(error)
        if why:
            msg = f"unable to pull image {name}: error pulling image {name}: {why}"
            raise OperationError(msg)

    def login(self, image: str) -> dict[str, str]:
        """The header for a registry that is known by its host."""
        host = image.partition("/")[0] if "/" in image else ""
        known = self.credentials.get(host)
        if known is None:
            return {}
        told = {"username": known.username, "password": known.password, "serveraddress": host}
        packed = base64.urlsafe_b64encode(json.dumps(told).encode()).decode()
        return {"X-Registry-Auth": packed}


def _message(answer: Answer) -> str:
    try:
        return str(json.loads(answer.body)["message"])
    except (ValueError, KeyError, TypeError):
        return answer.body.decode("utf-8", "replace") or HTTPStatus(answer.status).phrase


def _last_json(body: bytes) -> Any:
    """The answer, or the last line of one that reported on its progress."""
    lines = body.strip().splitlines()
    if not lines:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return json.loads(lines[-1])
