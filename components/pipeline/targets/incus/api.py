"""Incus's REST API: requests, background operations, and uploads.

A response comes from a server, not from a host: it is trusted about the server's own state, and
about nothing else.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode

import httpx

from ...errors import (
    IncusConflictError,
    IncusError,
    IncusForbiddenError,
    IncusNotFoundError,
    IncusRefusedError,
    IncusUnavailableError,
    message,
    printable,
)
from ...process import bounded, retry
from .. import replies
from ..replies import HttpReply
from . import certificate
from .remote import Remote

T = TypeVar("T")

CONNECT_TIMEOUT: Final = 5.0
PAUSE: Final = 0.5
BUSY: Final = "Instance is busy running a"
"""The server's error while an earlier operation is still running; the request had no effect."""
STARTING: Final = "unavailable on this server"
"""The server's error about a network or pool that it has not set up yet after its own start."""
MEMBER_OFFLINE: Final = (
    "Missing event connection with target cluster member",
    "Server isn't ready yet",
    "Unable to connect to: ",
)
"""Errors of a cluster about anything on a member that is offline; the request had no effect."""
RESPONSE_TIMEOUT: Final = 30.0
"""Seconds for a plain response."""
OPERATION_TIMEOUT: Final = 600.0
"""Seconds for a background operation: unpacking an image can take minutes."""
UPLOAD_TIMEOUT: Final = 3600.0
ALL_PROJECTS: Final = "all-projects=true"
"""A query across all projects, which must not name one."""
TIMED_OUT: Final = "the request timed out"


class ApiError(Exception):
    """An error in the server's words; it never leaves this module: `Incus` makes it a message."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


class Incus:
    """A client for one project on one server: `async with Incus(remote, project) as incus`."""

    def __init__(self, remote: Remote, project: str) -> None:
        self.remote = remote
        self.project = project
        self.last_response = 0.0
        """When the server last responded (`time.monotonic`)."""
        transport = (
            httpx.AsyncHTTPTransport(uds=str(remote.socket))
            if remote.socket
            else httpx.AsyncHTTPTransport(verify=remote.tls_context())
        )
        self._http = httpx.AsyncClient(
            transport=transport,
            base_url=remote.url,
            headers=replies.IDENTITY,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    @property
    def where(self) -> str:
        """The server and project, as messages name them."""
        return f"{self.remote.name}, project {self.project}"

    async def get(self, path: str) -> Any:
        """Get the object at a path.

        Raises:
            IncusNotFoundError: there is none.
            IncusError: the request was refused.
            IncusUnavailableError: the server does not respond.
        """
        with self._errors():
            return (await self._request("GET", path))["metadata"]

    async def find(self, path: str) -> Any | None:
        """Get the object at a path, or None if there is none."""
        try:
            return await self.get(path)
        except IncusNotFoundError:
            return None

    async def get_with_etag(self, path: str) -> tuple[Any, str]:
        """Get the object at a path, and its ETag for `change`."""
        with self._errors():
            response = await self._send("GET", path)
            return _envelope(response)["metadata"], response.etag

    async def get_bytes(self, path: str, *, limit: int) -> bytes:
        """Get a file of an instance, or the recorded output of a command.

        Raises:
            IncusRefusedError: it has more than `limit` bytes: an instance may send anything.
        """
        with self._errors():
            response = await self._send("GET", path, limit=limit)
            if response.status != HTTPStatus.OK:
                _envelope(response)
            return response.content

    async def get_beginning(self, path: str, *, limit: int) -> bytes:
        """Get the first `limit` bytes of a file."""
        with self._errors():
            async with self._open("GET", path, RESPONSE_TIMEOUT) as response:
                if response.status_code == HTTPStatus.OK:
                    async with asyncio.timeout(RESPONSE_TIMEOUT):
                        return await bounded.beginning(response.aiter_raw(), limit)
                _envelope(await replies.read(response, limit=limit, seconds=RESPONSE_TIMEOUT))
        return b""

    async def change(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        etag: str = "",
        seconds: float = OPERATION_TIMEOUT,
    ) -> Any:
        """Make a change, and wait until the server has carried it out.

        Retries while the instance is busy with an earlier operation, such as that of an
        interrupted `up`, and while the server is still starting.

        Raises:
            IncusConflictError: `etag` is not the current ETag.
            IncusError: the change was refused, or failed in the background.
            IncusUnavailableError: the server does not respond; the change may have been made.
        """
        headers = {"If-Match": etag} if etag else {}
        began = time.monotonic()
        with self._errors():
            while True:
                try:
                    response = await self._request(method, path, json=body, headers=headers)
                    return await self._wait_for_result(response, seconds)
                except ApiError as error:
                    if time.monotonic() - began >= _retry_seconds(error.text, seconds):
                        raise
                await asyncio.sleep(PAUSE)

    async def upload(self, path: str, files: Mapping[str, Path], headers: Mapping[str, str]) -> Any:
        """Upload files as one multipart form, and wait until the server has processed them."""
        with self._errors(), contextlib.ExitStack() as stack:
            parts = [
                (part, (file.name, stack.enter_context(file.open("rb"))))
                for part, file in files.items()
            ]
            response = await self._request(
                "POST", path, files=parts, headers=dict(headers), seconds=UPLOAD_TIMEOUT
            )
            return await self._wait_for_result(response, UPLOAD_TIMEOUT)

    async def _wait_for_result(self, response: dict[str, Any], seconds: float) -> Any:
        if response["type"] != "async":
            return response["metadata"]
        # The operation's URL already names the project.
        url = response["operation"].partition("?")[0]
        wait_path = with_query(f"{url}/wait", timeout=f"{seconds:.0f}")
        response = await self._request("GET", wait_path, seconds=seconds + RESPONSE_TIMEOUT)
        operation: dict[str, Any] = response["metadata"]
        if operation["status_code"] == HTTPStatus.OK:
            return operation.get("metadata")
        if operation["status_code"] < HTTPStatus.OK:
            with contextlib.suppress(ApiError, IncusError):
                await self._request("DELETE", url)
            detail = f"still running after {seconds:.0f} s, so it was cancelled"
            raise IncusError(message("operation timed out", self.where, detail))
        raise ApiError(operation["status_code"], _text(operation.get("err")))

    async def _request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        return _envelope(await self._send(method, path, **options))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise an ApiError as an IncusError: a complete message, with the server in it."""
        try:
            yield
        except ApiError as error:
            raise self._error(error) from error

    def _error(self, error: ApiError) -> IncusError:
        name, project = self.remote.name, self.project
        if error.status == HTTPStatus.FORBIDDEN:
            remedy = f"check that `incus list {name}: --project {project}` works here"
            what = "permission denied by the server"
            return IncusForbiddenError(message(what, self.where, error.text, remedy))
        if any(text in error.text for text in MEMBER_OFFLINE):
            return IncusError(member_offline(name, project, error.text))
        text = message("Incus refused the request", self.where, error.text)
        match error.status:
            case HTTPStatus.NOT_FOUND:
                return IncusNotFoundError(text, reason=error.text)
            case HTTPStatus.PRECONDITION_FAILED:
                return IncusConflictError(text, reason=error.text)
            case _:
                return IncusRefusedError(text, reason=error.text)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        limit: int = bounded.OBJECT_LIMIT,
        seconds: float = RESPONSE_TIMEOUT,
        **options: Any,
    ) -> HttpReply:
        """Send a request, and read the whole reply, at most `limit` bytes; raises as `_open`."""
        async with self._open(method, path, seconds, **options) as response:
            return await replies.read(response, limit=limit, seconds=seconds)

    @contextlib.asynccontextmanager
    async def _open(
        self, method: str, path: str, seconds: float, **options: Any
    ) -> AsyncIterator[httpx.Response]:
        """Send a request; its reply is read in the block.

        Raises:
            ApiError: the reply is larger than the block reads.
            IncusUnavailableError: it does not come, or does not end.
        """
        options["timeout"] = httpx.Timeout(seconds, connect=CONNECT_TIMEOUT)
        try:
            async with self._http.stream(method, self._in_project(path), **options) as response:
                yield response
        except bounded.OversizeError as error:
            raise ApiError(HTTPStatus.BAD_GATEWAY, str(error)) from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise self._unavailable(_text(error) or TIMED_OUT) from error
        except httpx.TransportError as error:
            if reason := _certificate_error(error):
                raise await self._certificate_mismatch(reason) from error
            raise self._unavailable(_text(error) or type(error).__name__) from error
        self.last_response = time.monotonic()

    def _in_project(self, path: str) -> str:
        if ALL_PROJECTS in path:
            return path
        return f"{path}{'&' if '?' in path else '?'}project={segment(self.project)}"

    def _unavailable(self, why: str) -> IncusUnavailableError:
        remedy = "check that incusd is running, and that `incus list` works for you"
        if self.remote.socket is None:
            remedy = f"check the network, and that `incus list {self.remote.name}:` works for you"
        where = f"{self.remote.name} ({self.remote.socket or self.remote.url})"
        return IncusUnavailableError(message("cannot reach Incus", where, why, remedy))

    async def _certificate_mismatch(self, why: str) -> IncusError:
        name, url, file = self.remote.name, self.remote.url, self.remote.server
        mismatch = await asyncio.to_thread(certificate.describe_mismatch, url, file)
        detail = ": ".join(part for part in (url, why, mismatch) if part)
        places = f"{file} and `incus.fingerprints`" if self.remote.pinned else f"{file}"
        remedy = f"find out why it changed before you pin the new one in {places}"
        return IncusError(message("certificate mismatch", name, detail, remedy))


async def retry_through_restart(incus: Incus, work: Callable[[], Awaitable[T]]) -> T:
    """Run idempotent work, and repeat it if the server restarts meanwhile.

    Raises:
        IncusUnavailableError: for longer than a restart takes, or after too many outages.
    """
    return await retry.retry_through_restart(incus, work, IncusUnavailableError)


def member_offline(remote: str, project: str, detail: str) -> str:
    """The message about a cluster member that does not respond."""
    remedy = f"wait until `incus cluster list {remote}:` shows all as online"
    return message("cluster member offline", f"{remote}, project {project}", detail, remedy)


def with_query(path: str, /, **query: str) -> str:
    """Append a query string; `_` in a keyword becomes `-`."""
    return f"{path}?{urlencode({key.replace('_', '-'): text for key, text in query.items()})}"


def segment(text: str) -> str:
    """Quote a name as one segment of a path."""
    return quote(text, safe="")


def _envelope(response: HttpReply) -> dict[str, Any]:
    try:
        content = response.parse()
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("type") not in {"sync", "async", "error"}:
        text = f"not a response of Incus (HTTP status {response.status})"
        raise ApiError(response.status, text)
    if content["type"] == "error":
        status = int(content.get("error_code") or response.status)
        raise ApiError(status, _text(content.get("error")))
    return content


def _retry_seconds(text: str, seconds: float) -> float:
    """How long to retry after an error: only after those where the request had no effect."""
    if BUSY in text:
        return seconds
    return retry.RESTART if STARTING in text else 0.0


def _certificate_error(error: BaseException | None) -> str:
    """Why TLS verification of the server failed, or nothing if another error occurred."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return _text(error.verify_message)
        error = error.__cause__ or error.__context__
    return ""


def _text(value: object) -> str:
    return printable(str(value), 500)
