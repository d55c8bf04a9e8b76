"""A client of a Docker daemon: its address, and calls to its REST interface."""

import contextlib
import io
import json
import tarfile
import time
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
from ...process import retry
from ...process.socket_bridge import bridge
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
_FRAME_HEADER: Final = 8
_KINDS: Final[Mapping[int, type[DockerRefusedError]]] = {
    HTTPStatus.NOT_FOUND: DockerNotFoundError,
    HTTPStatus.CONFLICT: DockerConflictError,
    HTTPStatus.FORBIDDEN: DockerForbiddenError,
}


class ApiError(Exception):
    """An error as the daemon words it; only this module sees it, and makes a message of it."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


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
            timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
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
            return _content(await self._send("GET", path))

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
        timeout = httpx.Timeout(seconds, connect=CONNECT_TIMEOUT)
        with self._errors():
            return _content(await self._send(method, path, json=body, timeout=timeout))

    async def load(self, archive: AsyncIterator[bytes]) -> list[str]:
        """Stream an image archive to the daemon, and return the lines that it prints.

        Raises:
            DockerRefusedError: the archive is not an image, or is truncated.
        """
        timeout = httpx.Timeout(TRANSFER_TIMEOUT, connect=CONNECT_TIMEOUT)
        headers = {"Content-Type": "application/x-tar"}
        path = "/images/load?quiet=1"
        with self._errors():
            lines = _progress(
                await self._send("POST", path, content=archive, headers=headers, timeout=timeout)
            )
        return [str(line.get("stream", "")).strip() for line in lines]

    async def pull(self, name: str, tag: str, registry_auth: str) -> None:
        """Pull an image from its registry; `registry_auth` is the header `X-Registry-Auth`.

        Raises:
            DockerRefusedError: the daemon cannot reach the registry, or is refused by it.
        """
        timeout = httpx.Timeout(TRANSFER_TIMEOUT, connect=CONNECT_TIMEOUT)
        path = f"/images/create?{urlencode({'fromImage': name, 'tag': tag})}"
        headers = {"X-Registry-Auth": registry_auth}
        with self._errors():
            _progress(await self._send("POST", path, headers=headers, timeout=timeout))

    async def put(
        self, container: str, folder: str, files: Mapping[str, str], *, mode: int = 0o644
    ) -> None:
        """Write text files into a folder of a container, running or not."""
        path = f"/containers/{segment(container)}/archive?{urlencode({'path': folder})}"
        headers = {"Content-Type": "application/x-tar"}
        with self._errors():
            _content(await self._send("PUT", path, content=_tar(files, mode), headers=headers))

    async def execute(self, container: str, *argv: str) -> tuple[int, str]:
        """Run a command in a container, and return its exit code and output."""
        wanted = {"Cmd": list(argv), "AttachStdout": True, "AttachStderr": True, "Tty": True}
        created = await self.change("POST", f"/containers/{segment(container)}/exec", wanted)
        path = f"/exec/{created['Id']}"
        with self._errors():
            answer = await self._send("POST", f"{path}/start", json={"Detach": False, "Tty": True})
            output = _content(answer, parse=False)
        state = await self.get(f"{path}/json")
        return int(state["ExitCode"] or 0), printable(output, 2000, lines=True)

    async def logs(self, container: str, lines: int) -> str:
        """Return the last lines of a container's log; empty if it has none."""
        query = urlencode({"stdout": 1, "stderr": 1, "tail": lines})
        answer = await self._send("GET", f"/containers/{segment(container)}/logs?{query}")
        return printable(_demultiplexed(answer.content), 2000, lines=True)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the daemon's words into an error whose message is a whole sentence."""
        try:
            yield
        except ApiError as error:
            text = message("Docker refused the request", self.host, error.text)
            kind = _KINDS.get(error.status, DockerRefusedError)
            raise kind(text, reason=error.text) from error

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        began = time.monotonic()
        try:
            answer = await self._http.request(method, path, **options)
        except httpx.TimeoutException as error:
            raise self._unavailable(str(error) or TIMED_OUT) from error
        except httpx.TransportError as error:
            if self._ssh and self._ssh_failure and self._ssh_failure[0] >= began:
                raise self._ssh.explain(self._ssh_failure[1]) from error
            raise self._unavailable(str(error) or type(error).__name__) from error
        self.last_response = time.monotonic()
        return answer

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


def _content(answer: httpx.Response, *, parse: bool = True) -> Any:
    # 304: a container that is to be stopped has stopped already.
    if not answer.is_success and answer.status_code != HTTPStatus.NOT_MODIFIED:
        text = ""
        with contextlib.suppress(ValueError, KeyError, TypeError):
            text = str(answer.json()["message"])
        text = printable(text or f"http status {answer.status_code}", 500)
        raise ApiError(answer.status_code, text)
    if not parse:
        return answer.text
    return answer.json() if answer.content else None


def _progress(answer: httpx.Response) -> list[Any]:
    """Return the lines of a long operation; a failure is one of them, after a good status."""
    _content(answer, parse=False)
    lines = [json.loads(line) for line in answer.text.splitlines() if line.strip()]
    for line in lines:
        if "error" in line:
            raise ApiError(answer.status_code, printable(str(line["error"]), 500))
    return lines


def _tar(files: Mapping[str, str], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            content = text.encode()
            info.size, info.mode = len(content), mode
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _demultiplexed(content: bytes) -> str:
    """Return the output in a log without a terminal, where each piece has a header."""
    pieces, rest = [], content
    while len(rest) >= _FRAME_HEADER and rest[0] in (0, 1, 2) and rest[1:4] == b"\0\0\0":
        end = _FRAME_HEADER + int.from_bytes(rest[4:_FRAME_HEADER], "big")
        pieces.append(rest[_FRAME_HEADER:end])
        rest = rest[end:]
    return b"".join([*pieces, rest]).decode(errors="replace").strip()
