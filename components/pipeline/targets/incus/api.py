"""Incus's REST interface: requests, operations in the background, and files sent to it.

Answers are a server's, not a host's: it is trusted with its own state, and with no more.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode

import httpx

from ...errors import (
    IncusAwayError,
    IncusConflictError,
    IncusError,
    IncusNotFoundError,
    IncusPermissionError,
    IncusRefusedError,
    message,
    printable,
)
from ...process import retry
from . import certificate
from .remote import Remote

T = TypeVar("T")

CONNECT: Final = 5.0
PAUSE: Final = 0.5
BUSY: Final = "Instance is busy running a"
"""What the server says where an operation of before is still under way; it has done nothing."""
STARTING: Final = "unavailable on this server"
"""What it says of a network or a pool that it has not come to yet, after its own start."""
MEMBER_AWAY: Final = (
    "Missing event connection with target cluster member",
    "Server isn't ready yet",
    "Unable to connect to: ",
)
"""What a cluster says of what is on a member of it that does not answer; nothing was done then."""
ANSWER: Final = 30.0
"""Seconds for a plain answer."""
OPERATION: Final = 600.0
"""Seconds for what the server does in the background: unpacking an image can take minutes."""
UPLOAD: Final = 3600.0
ALL_PROJECTS: Final = "all-projects=true"
"""A question about all of them, which names none."""
TIMED_OUT: Final = "no answer in time"


class ApiError(Exception):
    """An error of the server as it words it; only `Incus` sees it, and makes a message of it."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


class Incus:
    """One project on one server; used as `async with Incus(remote, project) as incus`."""

    def __init__(self, remote: Remote, project: str) -> None:
        self.remote = remote
        self.project = project
        self.last_response = 0.0
        """When the server answered last (`time.monotonic`)."""
        transport = (
            httpx.AsyncHTTPTransport(uds=str(remote.socket))
            if remote.socket
            else httpx.AsyncHTTPTransport(verify=remote.trust())
        )
        self._http = httpx.AsyncClient(
            transport=transport,
            base_url=remote.url,
            timeout=httpx.Timeout(ANSWER, connect=CONNECT),
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
        """What is at a path.

        Raises:
            IncusNotFoundError: nothing is there.
            IncusError: refused.
            IncusAwayError: no server answers.
        """
        with self._errors():
            return (await self._request("GET", path))["metadata"]

    async def find(self, path: str) -> Any | None:
        """What is at a path, or None where there is nothing."""
        try:
            return await self.get(path)
        except IncusNotFoundError:
            return None

    async def tagged(self, path: str) -> tuple[Any, str]:
        """What is at a path, with its ETag for `change`."""
        with self._errors():
            answer = await self._send("GET", path)
            return _envelope(answer)["metadata"], answer.headers.get("ETag", "")

    async def raw(self, path: str) -> bytes:
        """A file's bytes: of an instance, or of what a command has printed."""
        with self._errors():
            answer = await self._send("GET", path)
            if answer.status_code != HTTPStatus.OK:
                _envelope(answer)
            return answer.content

    async def change(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        tag: str = "",
        seconds: float = OPERATION,
    ) -> Any:
        """Change something, and wait for the end of what the server does for it.

        With `tag` it is refused where it was changed since. What an instance is busy with, for
        whoever was cut off, is waited for, and so is a server that has just begun.

        Raises:
            IncusConflictError: `tag` is not the current ETag.
            IncusError: refused, or failed in the background.
            IncusAwayError: no server answers; what was asked for may be done, or not.
        """
        headers = {"If-Match": tag} if tag else {}
        began = time.monotonic()
        with self._errors():
            while True:
                try:
                    answer = await self._request(method, path, json=body, headers=headers)
                    return await self._ended(answer, seconds)
                except ApiError as error:
                    if time.monotonic() - began >= _patience(error.text, seconds):
                        raise
                await asyncio.sleep(PAUSE)

    async def upload(self, path: str, files: Mapping[str, Path], headers: Mapping[str, str]) -> Any:
        """Send files as one form, and wait for what the server makes of them."""
        with self._errors(), contextlib.ExitStack() as stack:
            parts = [
                (part, (file.name, stack.enter_context(file.open("rb"))))
                for part, file in files.items()
            ]
            timeout = httpx.Timeout(UPLOAD, connect=CONNECT)
            answer = await self._request(
                "POST", path, files=parts, headers=dict(headers), timeout=timeout
            )
            return await self._ended(answer, UPLOAD)

    async def _ended(self, answer: dict[str, Any], seconds: float) -> Any:
        if answer["type"] != "async":
            return answer["metadata"]
        # The operation's own address names the project already.
        place = answer["operation"].partition("?")[0]
        timeout = httpx.Timeout(seconds + ANSWER, connect=CONNECT)
        waiting = asked(f"{place}/wait", timeout=f"{seconds:.0f}")
        answer = await self._request("GET", waiting, timeout=timeout)
        ended: dict[str, Any] = answer["metadata"]
        if ended["status_code"] == HTTPStatus.OK:
            return ended.get("metadata")
        if ended["status_code"] < HTTPStatus.OK:
            with contextlib.suppress(ApiError, IncusError):
                await self._request("DELETE", place)
            detail = f"it was still running after {seconds:.0f} s, and was cancelled"
            raise IncusError(message("operation timed out", self.where, detail))
        raise ApiError(ended["status_code"], _text(ended.get("err")))

    async def _request(self, method: str, path: str, **words: Any) -> dict[str, Any]:
        return _envelope(await self._send(method, path, **words))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what the server says into an error whose message is a whole sentence."""
        try:
            yield
        except ApiError as error:
            raise self._error(error) from error

    def _error(self, error: ApiError) -> IncusError:
        name, project = self.remote.name, self.project
        if error.status == HTTPStatus.FORBIDDEN:
            remedy = f"check that `incus list {name}: --project {project}` works here"
            what = "permission denied by the server"
            return IncusPermissionError(message(what, self.where, error.text, remedy))
        if any(words in error.text for words in MEMBER_AWAY):
            return IncusError(member_offline(name, project, error.text))
        text = message("Incus refused the request", self.where, error.text)
        match error.status:
            case HTTPStatus.NOT_FOUND:
                return IncusNotFoundError(text, reason=error.text)
            case HTTPStatus.PRECONDITION_FAILED:
                return IncusConflictError(text, reason=error.text)
            case _:
                return IncusRefusedError(text, reason=error.text)

    async def _send(self, method: str, path: str, **words: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, self._in_project(path), **words)
        except httpx.TimeoutException as error:
            raise self._away(_text(error) or TIMED_OUT) from error
        except httpx.TransportError as error:
            if refused := _refused_certificate(error):
                raise await self._not_trusted(refused) from error
            raise self._away(_text(error) or type(error).__name__) from error
        self.last_response = time.monotonic()
        return answer

    def _in_project(self, path: str) -> str:
        if ALL_PROJECTS in path:
            return path
        return f"{path}{'&' if '?' in path else '?'}project={segment(self.project)}"

    def _away(self, why: str) -> IncusAwayError:
        remedy = "check that incusd runs, and that `incus list` works for you"
        if self.remote.socket is None:
            remedy = f"check the network, and that `incus list {self.remote.name}:` works for you"
        where = f"{self.remote.name} ({self.remote.socket or self.remote.url})"
        return IncusAwayError(message("cannot reach Incus", where, why, remedy))

    async def _not_trusted(self, why: str) -> IncusError:
        name, url, file = self.remote.name, self.remote.url, self.remote.server
        both = await asyncio.to_thread(certificate.unlike, url, file)
        detail = ": ".join(part for part in (url, why, both) if part)
        places = f"{file} and `incus.fingerprints`" if self.remote.pinned else f"{file}"
        remedy = f"find out why it changed; only then pin the new one: put it into {places}"
        return IncusError(message("certificate mismatch", name, detail, remedy))


async def steadily(incus: Incus, work: Callable[[], Awaitable[T]]) -> T:
    """Do what may be done again, also where the server is restarted in the middle of it.

    Raises:
        IncusAwayError: it was away for longer than a restart takes, or goes each time it comes.
    """
    return await retry.retry_through_restart(incus, work, IncusAwayError)


def member_offline(remote: str, project: str, detail: str) -> str:
    """The message about a cluster member that does not answer."""
    remedy = f"wait until `incus cluster list {remote}:` shows all as online"
    return message("cluster member offline", f"{remote}, project {project}", detail, remedy)


def asked(path: str, /, **query: str) -> str:
    """A path with a question to it; a `_` in a word stands for its `-`."""
    return f"{path}?{urlencode({word.replace('_', '-'): text for word, text in query.items()})}"


def segment(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe="")


def _envelope(answer: httpx.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("type") not in {"sync", "async", "error"}:
        text = f"the response is not Incus's (HTTP status {answer.status_code})"
        raise ApiError(answer.status_code, text)
    if content["type"] == "error":
        status = int(content.get("error_code") or answer.status_code)
        raise ApiError(status, _text(content.get("error")))
    return content


def _patience(said: str, seconds: float) -> float:
    """How long the reason of an error may last; nothing was done then."""
    if BUSY in said:
        return seconds
    return retry.RESTART if STARTING in said else 0.0


def _refused_certificate(error: BaseException | None) -> str:
    """Why the server's certificate was refused, where that is the reason."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return _text(error.verify_message)
        error = error.__cause__ or error.__context__
    return ""


def _text(said: object) -> str:
    return printable(str(said), 500)
