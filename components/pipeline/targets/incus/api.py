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

from ...errors import IncusAwayError, IncusError, message, printable
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
            IncusError: refused; `code` 404 where there is nothing.
            IncusAwayError: no server answers.
        """
        return (await self._request("GET", path))["metadata"]

    async def find(self, path: str) -> Any | None:
        """What is at a path, or None where there is nothing."""
        try:
            return await self.get(path)
        except IncusError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def tagged(self, path: str) -> tuple[Any, str]:
        """What is at a path, with its ETag for `change`."""
        answer = await self._send("GET", path)
        return self._opened(answer)["metadata"], answer.headers.get("ETag", "")

    async def raw(self, path: str) -> bytes:
        """A file's bytes: of an instance, or of what a command has printed."""
        answer = await self._send("GET", path)
        if answer.status_code != HTTPStatus.OK:
            self._opened(answer)
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

        With `tag` it is refused (`code` 412) where somebody else was faster. What an instance is
        busy with, for whoever was cut off, is waited for, and so is a server that has just begun.

        Raises:
            IncusError: refused, or failed in the background.
            IncusAwayError: no server answers; what was asked for may be done, or not.
        """
        headers = {"If-Match": tag} if tag else {}
        began = time.monotonic()
        while True:
            try:
                answer = await self._request(method, path, json=body, headers=headers)
                return await self._ended(answer, seconds)
            except IncusError as error:
                if time.monotonic() - began >= _patience(str(error), seconds):
                    raise
            await asyncio.sleep(PAUSE)

    async def upload(self, path: str, files: Mapping[str, Path], headers: Mapping[str, str]) -> Any:
        """Send files as one form, and wait for what the server makes of them."""
        with contextlib.ExitStack() as stack:
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
            with contextlib.suppress(IncusError):
                await self._request("DELETE", place)
            msg = f"it has not ended after {seconds:.0f} s"
            raise IncusError(msg)
        raise IncusError(_text(ended.get("err")), code=ended["status_code"])

    async def _request(self, method: str, path: str, **words: Any) -> dict[str, Any]:
        return self._opened(await self._send(method, path, **words))

    def _opened(self, answer: httpx.Response) -> dict[str, Any]:
        """An answer without its envelope; without a code where it is a whole message."""
        try:
            return _envelope(answer)
        except IncusError as error:
            if not any(words in str(error) for words in MEMBER_AWAY):
                raise
            remedy = f"wait until `incus cluster list {self.remote.name}:` shows all as online"
            what = "a member of the cluster does not answer"
            raise IncusError(message(what, self.where, str(error), remedy)) from error

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
        if answer.status_code == HTTPStatus.FORBIDDEN:
            raise self._not_let_in(answer)
        return answer

    def _not_let_in(self, answer: httpx.Response) -> IncusError:
        try:
            _envelope(answer)
            why = ""
        except IncusError as error:
            why = str(error)
        remedy = f"check that `incus list {self.remote.name}: --project {self.project}` works here"
        return IncusError(message("the server does not let us", self.where, why, remedy))

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
        return IncusError(message("the certificate is not the pinned one", name, detail, remedy))


async def steadily(incus: Incus, work: Callable[[], Awaitable[T]]) -> T:
    """Do what may be done again, also where the server is restarted in the middle of it.

    Raises:
        IncusAwayError: it was away for longer than a restart takes, or goes each time it comes.
    """
    return await retry.retry_through_restart(incus, work, IncusAwayError)


@contextlib.contextmanager
def suppress_missing() -> Iterator[None]:
    """What is gone already need not be removed."""
    try:
        yield
    except IncusError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise


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
        text = f"an answer that is none of Incus's (http status {answer.status_code})"
        raise IncusError(text, code=answer.status_code)
    if content["type"] == "error":
        raise IncusError(_text(content.get("error")), code=int(content.get("error_code") or 0))
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
