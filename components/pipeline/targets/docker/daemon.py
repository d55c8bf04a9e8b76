"""A client of a Docker daemon: its address, and calls to its REST interface."""

import asyncio
import contextlib
import io
import tarfile
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import httpx

from ...errors import (
    DockerConflictError,
    DockerError,
    DockerForbiddenError,
    DockerNotFoundError,
    DockerRefusedError,
    DockerUnavailableError,
    ProcessError,
    message,
    printable,
)
from ...process import bounded, retry
from ...process.socket_bridge import bridge
from .. import replies
from ..replies import HttpReply
from .answers import ApiError, content_of, demultiplexed, progress_of, require_success
from .remote import SshEndpoint

T = TypeVar("T")

CONNECT_TIMEOUT: Final = 5.0
TIMEOUT: Final = 60.0
"""Seconds for an ordinary request."""
TRANSFER_TIMEOUT: Final = 3600.0
"""Seconds to load or pull an image."""
RESTART: Final = 30.0
"""Seconds that a restart may take: dockerd waits for containers that do not stop."""
POOL: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20)
SSH_POOL: Final = httpx.Limits(
    max_connections=100, max_keepalive_connections=20, keepalive_expiry=60.0
)
"""Over ssh every new connection is a handshake: idle ones are kept longer."""
TIMED_OUT: Final = "no answer in time"
_PROGRESS_LINES: Final = 20
"""Lines of a long operation that are kept: the last ones."""
_KINDS: Final[Mapping[int, type[DockerRefusedError]]] = {
    HTTPStatus.NOT_FOUND: DockerNotFoundError,
    HTTPStatus.CONFLICT: DockerConflictError,
    HTTPStatus.FORBIDDEN: DockerForbiddenError,
}


class Daemon:
    """One daemon; used as `async with Daemon(host) as docker`.

    `folder` has the ssh files for a daemon on another machine.
    """

    def __init__(self, host: str, folder: Path = Path()) -> None:
        self.host = host
        self.last_response = 0.0
        """When the daemon last responded (`time.monotonic`)."""
        self._url = urlsplit(host)
        self._ssh = SshEndpoint.find(host, folder) if self._url.scheme == "ssh" else None
        if self._url.scheme not in {"unix", "tcp", "ssh"}:
            remedy = "write unix:///var/run/docker.sock or tcp://127.0.0.1:2375"
            raise DockerError(message("invalid Docker host", printable(host), "", remedy))
        self._ssh_failure: tuple[float, ProcessError] | None = None
        """When ssh last failed, and how."""
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        base, limits = "http://docker", POOL
        uds: str | None = self._url.path
        if self._ssh:
            socket = bridge(self._ssh.argv, self._record_ssh_failure)
            uds, limits = str(await self._stack.enter_async_context(socket)), SSH_POOL
        elif self._url.scheme == "tcp":
            base, uds = f"http://{self._url.netloc}", None
        client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=uds, limits=limits),
            base_url=base,
            headers=replies.IDENTITY,
            trust_env=False,
        )
        self._http = await self._stack.enter_async_context(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _record_ssh_failure(self, error: ProcessError) -> None:
        self._ssh_failure = time.monotonic(), error

    async def get(self, path: str) -> Any:
        """Return what is at a path.

        Raises:
            DockerNotFoundError: nothing is there.
            DockerRefusedError: any other error of the daemon.
            DockerUnavailableError: the daemon does not respond.
        """
        with self._errors():
            return content_of(await self._send("GET", path))

    async def find(self, path: str) -> Any | None:
        """Return what is at a path, or None if nothing is there."""
        try:
            return await self.get(path)
        except DockerNotFoundError:
            return None

    async def change(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float = TIMEOUT,
    ) -> Any:
        """Change something, and return the content of the response, if it has any.

        Raises:
            DockerRefusedError: as `get`; DockerConflictError where it is in use.
            DockerUnavailableError: the daemon does not respond; the change may be done, or not.
        """
        with self._errors():
            return content_of(await self._send(method, path, json=body, seconds=seconds))

    async def load(self, archive: AsyncIterator[bytes]) -> list[str]:
        """Stream an image archive to the daemon, and return the last lines that it prints.

        Raises:
            DockerRefusedError: the archive is not an image, or is truncated.
        """
        headers = {"Content-Type": "application/x-tar"}
        with self._errors():
            lines = await self._progress("/images/load?quiet=1", content=archive, headers=headers)
        return [str(line.get("stream", "")).strip() for line in lines]

    async def pull(self, name: str, tag: str, registry_auth: str) -> None:
        """Pull an image from its registry; `registry_auth` is the header `X-Registry-Auth`.

        `tag` may be a digest.

        Raises:
            DockerRefusedError: the daemon cannot reach the registry, or is refused by it.
        """
        path = f"/images/create?{urlencode({'fromImage': name, 'tag': tag})}"
        with self._errors():
            await self._progress(path, headers={"X-Registry-Auth": registry_auth})

    async def put(
        self, container: str, folder: str, files: Mapping[str, str], *, mode: int = 0o644
    ) -> None:
        """Write text files into a folder of a container, running or not."""
        path = f"/containers/{segment(container)}/archive?{urlencode({'path': folder})}"
        headers = {"Content-Type": "application/x-tar"}
        with self._errors():
            content_of(await self._send("PUT", path, content=_tar(files, mode), headers=headers))

    async def execute(self, container: str, *argv: str) -> tuple[int, str]:
        """Run a command in a container, and return its exit code and output.

        Raises:
            DockerRefusedError: it cannot be run, or prints more than REPLY_LIMIT bytes.
        """
        wanted = {"Cmd": list(argv), "AttachStdout": True, "AttachStderr": True, "Tty": True}
        created = await self.change("POST", f"/containers/{segment(container)}/exec", wanted)
        path = f"/exec/{created['Id']}"
        with self._errors():
            body, limit = {"Detach": False, "Tty": True}, bounded.REPLY_LIMIT
            answer = await self._send("POST", f"{path}/start", json=body, limit=limit)
            require_success(answer)
        state = await self.get(f"{path}/json")
        output = answer.content.decode(errors="replace")
        return int(state["ExitCode"] or 0), printable(output, 2000, lines=True)

    async def logs(self, container: str, lines: int) -> str:
        """Return the last lines of a container's log; empty if it has none.

        A line can have any length: of more than FILE_LIMIT bytes the first ones are read.
        """
        query = urlencode({"stdout": 1, "stderr": 1, "tail": lines})
        path = f"/containers/{segment(container)}/logs?{query}"
        async with self._open("GET", path, TIMEOUT) as answer, asyncio.timeout(TIMEOUT):
            if not answer.is_success:
                return ""
            content = await bounded.beginning(answer.aiter_raw(), bounded.FILE_LIMIT)
        return printable(demultiplexed(content), 2000, lines=True)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the daemon's words into an error whose message is a whole sentence."""
        try:
            yield
        except ApiError as error:
            text = message("Docker refused the request", self.host, error.text)
            kind = _KINDS.get(error.status, DockerRefusedError)
            raise kind(text, reason=error.text) from error

    async def _send(
        self,
        method: str,
        path: str,
        *,
        limit: int = bounded.OBJECT_LIMIT,
        seconds: float = TIMEOUT,
        **options: Any,
    ) -> HttpReply:
        """Send a request, and read the whole reply, at most `limit` bytes; raises as `_open`."""
        async with self._open(method, path, seconds, **options) as answer:
            return await replies.read(answer, limit=limit, seconds=seconds)

    async def _progress(self, path: str, **options: Any) -> deque[Any]:
        """Post a long operation, and return its last lines; a failure may be one of them.

        Raises:
            ApiError: it failed; the status that came before may have been a good one.
        """
        last: deque[Any] = deque(maxlen=_PROGRESS_LINES)
        async with self._open("POST", path, TRANSFER_TIMEOUT, **options) as answer:
            if not answer.is_success:
                limit = bounded.FILE_LIMIT
                require_success(await replies.read(answer, limit=limit, seconds=TIMEOUT))
            async with asyncio.timeout(TRANSFER_TIMEOUT):
                async for line in bounded.lines(answer.aiter_raw(), bounded.FILE_LIMIT):
                    last.append(progress_of(line))
        return last

    @contextlib.asynccontextmanager
    async def _open(
        self, method: str, path: str, seconds: float, **options: Any
    ) -> AsyncIterator[httpx.Response]:
        """Send a request; its reply is read in the block.

        Raises:
            ApiError: the reply is larger than the block reads.
            DockerUnavailableError: it does not come, or does not end.
        """
        began = time.monotonic()
        timeout = httpx.Timeout(seconds, connect=CONNECT_TIMEOUT)
        try:
            async with self._http.stream(method, path, timeout=timeout, **options) as answer:
                yield answer
        except bounded.OversizeError as error:
            raise ApiError(HTTPStatus.BAD_GATEWAY, f"the reply has {error}") from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise self._unavailable(str(error) or TIMED_OUT) from error
        except httpx.TransportError as error:
            if self._ssh and self._ssh_failure and self._ssh_failure[0] >= began:
                raise self._ssh.explain(self._ssh_failure[1]) from error
            raise self._unavailable(str(error) or type(error).__name__) from error
        self.last_response = time.monotonic()

    def _unavailable(self, why: str) -> DockerUnavailableError:
        remedy = f"check that dockerd runs, and that `docker -H {self.host} version` works for you"
        if self._ssh:
            remedy = "check that dockerd runs there"
        text = message("cannot reach Docker", self.host, printable(why), remedy)
        return DockerUnavailableError(text)


async def retry_through_restart(docker: Daemon, work: Callable[[], Awaitable[T]]) -> T:
    """Repeat `work`, which must be idempotent, while the daemon restarts.

    Raises:
        DockerUnavailableError: for longer than a restart takes, or after too many outages.
    """
    return await retry.retry_through_restart(docker, work, DockerUnavailableError, restart=RESTART)


def segment(text: str) -> str:
    """Quote a name as one segment of a path."""
    return quote(text, safe="")


def _tar(files: Mapping[str, str], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            content = text.encode()
            info.size, info.mode = len(content), mode
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
