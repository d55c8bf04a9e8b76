"""A Docker daemon: where it is, and calls to its REST interface."""

import contextlib
import io
import json
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import httpx

from ...errors import DockerAwayError, DockerError, ProcessError, message, printable
from ...process import retry
from ...process.socket_bridge import bridge
from .remote import Remote

T = TypeVar("T")

CONNECT: Final = 5.0
ANSWER: Final = 60.0
"""Seconds for a plain answer."""
LOAD: Final = 3600.0
RESTART: Final = 30.0
"""Seconds that a daemon may be away: before it ends, it waits for containers that do not stop."""
HERE: Final = Path()
POOL: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20)
FAR_POOL: Final = httpx.Limits(
    max_connections=100, max_keepalive_connections=20, keepalive_expiry=60.0
)
"""Over ssh a new connection is a handshake: one is kept longer."""
TIMED_OUT: Final = "no answer in time"
_OK: Final = range(200, 300)


class Daemon:
    """One daemon; used as `async with Daemon(host) as docker`.

    `folder` has the files of ssh, for a daemon on another machine.
    """

    def __init__(self, host: str, folder: Path = HERE) -> None:
        self.host = host
        self.last_response = 0.0
        """When the daemon answered last (`time.monotonic`)."""
        self._place = urlsplit(host)
        self._remote = Remote.find(host, folder) if self._place.scheme == "ssh" else None
        if self._place.scheme not in {"unix", "tcp", "ssh"}:
            remedy = "write unix:///var/run/docker.sock or tcp://127.0.0.1:2375"
            raise DockerError(message("no such daemon", printable(host), "", remedy))
        self._broken: tuple[float, ProcessError] | None = None
        """When and how an ssh has failed last."""
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        base, limits = "http://docker", POOL
        uds: str | None = self._place.path
        if self._remote:
            uds = str(await self._open.enter_async_context(bridge(self._remote.argv, self._note)))
            limits = FAR_POOL
        elif self._place.scheme == "tcp":
            base, uds = f"http://{self._place.netloc}", None
        client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=uds, limits=limits),
            base_url=base,
            timeout=httpx.Timeout(ANSWER, connect=CONNECT),
            trust_env=False,
        )
        self._http = await self._open.enter_async_context(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def _note(self, error: ProcessError) -> None:
        self._broken = time.monotonic(), error

    async def get(self, path: str) -> Any:
        """What is at a path.

        Raises:
            DockerError: refused; `code` 404 where there is nothing.
            DockerAwayError: no daemon answers.
        """
        return _content(await self._send("GET", path))

    async def find(self, path: str) -> Any | None:
        """What is at a path, or None where there is nothing."""
        try:
            return await self.get(path)
        except DockerError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def change(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float = ANSWER,
    ) -> Any:
        """Change something; what the daemon answers, if it does."""
        timeout = httpx.Timeout(seconds, connect=CONNECT)
        return _content(await self._send(method, path, json=body, timeout=timeout))

    async def load(self, archive: AsyncIterator[bytes]) -> list[str]:
        """Send an image archive, as it comes; gives the lines that the daemon says.

        Raises:
            DockerError: it is no image, or is cut short.
        """
        timeout = httpx.Timeout(LOAD, connect=CONNECT)
        headers = {"Content-Type": "application/x-tar"}
        path = "/images/load?quiet=1"
        answer = await self._send("POST", path, content=archive, headers=headers, timeout=timeout)
        return [str(line.get("stream", "")).strip() for line in _progress(answer)]

    async def pull(self, name: str, tag: str, login: str) -> None:
        """Have it pull an image from its registry; `login` is what it is told of who asks.

        Raises:
            DockerError: it cannot, or the registry refuses.
        """
        timeout = httpx.Timeout(LOAD, connect=CONNECT)
        path = f"/images/create?{urlencode({'fromImage': name, 'tag': tag})}"
        headers = {"X-Registry-Auth": login}
        _progress(await self._send("POST", path, headers=headers, timeout=timeout))

    async def put(
        self, container: str, folder: str, files: Mapping[str, str], *, mode: int = 0o644
    ) -> None:
        """Write text files into a folder of a container, whether it runs or not."""
        path = f"/containers/{segment(container)}/archive?{urlencode({'path': folder})}"
        headers = {"Content-Type": "application/x-tar"}
        _content(await self._send("PUT", path, content=_tar(files, mode), headers=headers))

    async def read(self, container: str, path: str) -> str | None:
        """The text of a file in a container; None where there is none."""
        query = urlencode({"path": path})
        answer = await self._send("GET", f"/containers/{segment(container)}/archive?{query}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        _content(answer, parse=False)
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
            file = tar.extractfile(tar.next() or "")
            return file.read().decode(errors="replace") if file else None

    async def execute(self, container: str, *argv: str) -> tuple[int, str]:
        """Run a command in a container to its end: its exit code, and what it printed."""
        wanted = {"Cmd": list(argv), "AttachStdout": True, "AttachStderr": True, "Tty": True}
        made = await self.change("POST", f"/containers/{segment(container)}/exec", wanted)
        place = f"/exec/{made['Id']}"
        answer = await self._send("POST", f"{place}/start", json={"Detach": False, "Tty": True})
        said = _content(answer, parse=False)
        ended = await self.get(f"{place}/json")
        return int(ended["ExitCode"] or 0), printable(said, 2000, lines=True)

    async def logs(self, container: str, lines: int) -> str:
        """The last lines that a container has printed."""
        query = urlencode({"stdout": 1, "stderr": 1, "tail": lines})
        answer = await self._send("GET", f"/containers/{segment(container)}/logs?{query}")
        return printable(_unframed(answer.content), 2000, lines=True)

    async def _send(self, method: str, path: str, **words: Any) -> httpx.Response:
        began = time.monotonic()
        try:
            answer = await self._http.request(method, path, **words)
        except httpx.TimeoutException as error:
            raise self._away(error, TIMED_OUT) from error
        except httpx.TransportError as error:
            if self._remote and self._broken and self._broken[0] >= began:
                raise self._remote.explain(self._broken[1]) from error
            raise self._away(error, type(error).__name__) from error
        self.last_response = time.monotonic()
        return answer

    def _away(self, error: Exception, otherwise: str) -> DockerAwayError:
        why = printable(str(error)) or otherwise
        remedy = f"check that dockerd runs, and that `docker -H {self.host} version` works for you"
        if self._remote:
            remedy = "check that dockerd runs there"
        return DockerAwayError(message("cannot reach Docker", self.host, why, remedy))


async def steadily(docker: Daemon, work: Callable[[], Awaitable[T]]) -> T:
    """Do what may be done again, also where the daemon is restarted in the middle of it.

    Raises:
        DockerAwayError: it was away for longer than a restart takes, or goes each time it comes.
    """
    return await retry.retry_through_restart(docker, work, DockerAwayError, restart=RESTART)


def segment(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe="")


def _content(answer: httpx.Response, *, parse: bool = True) -> Any:
    if answer.status_code not in _OK:
        said = ""
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = str(answer.json()["message"])
        text = printable(said or f"http status {answer.status_code}", 500)
        raise DockerError(text, code=answer.status_code)
    if not parse:
        return answer.text
    return answer.json() if answer.content else None


def _progress(answer: httpx.Response) -> list[Any]:
    """The lines of what takes long: a failure is in them, as the answer has begun well."""
    _content(answer, parse=False)
    lines = [json.loads(line) for line in answer.text.splitlines() if line.strip()]
    for line in lines:
        if "error" in line:
            raise DockerError(printable(str(line["error"]), 500))
    return lines


def _tar(files: Mapping[str, str], mode: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            content = text.encode()
            info.size, info.mode = len(content), mode
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def _unframed(content: bytes) -> str:
    """What a container without a terminal has printed: each piece comes with 8 bytes before it."""
    pieces, rest = [], content
    while len(rest) >= 8 and rest[0] in (0, 1, 2) and rest[1:4] == b"\0\0\0":  # noqa: PLR2004
        size = int.from_bytes(rest[4:8], "big")
        pieces.append(rest[8 : 8 + size])
        rest = rest[8 + size :]
    return b"".join([*pieces, rest]).decode(errors="replace").strip()
