"""A proxy before an Incus daemon's socket: counts requests, and is away, slow or wrong on demand.

The program reads its socket's place from INCUS_SOCKET, so a test can put this in between without
touching the daemon, which others use.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

PIECE: Final = 1 << 16
HARMLESS: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(slots=True, kw_only=True)
class Trouble:
    """What is to happen to the next `times` requests that match."""

    pattern: re.Pattern[str]
    kind: str
    """`before`, `middle` and `after` are away then; `answer` and `slow` say what they do."""
    times: int = 1
    seconds: float = 0.0
    text: str = ""
    met: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float = 60) -> None:
        """Wait until it has happened to the first request."""
        assert self.met.wait(seconds), f"no {self.pattern.pattern} in {seconds:g} s"


class _AwayError(Exception):
    """The connection is to be dropped."""


class _End:
    """One end of a connection, to be read by lines and bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self.send = connection.sendall
        reader = connection.makefile("rb")
        self.readline = reader.readline
        self.read = reader.read


class IncusProxy:
    """Used as `with IncusProxy(socket, daemon) as proxy`; `socket` is a place for its own."""

    def __init__(self, place: Path, daemon: Path) -> None:
        self.place = place
        self._daemon = daemon
        self._troubles: list[Trouble] = []
        self._seen: list[Request] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._ended = False

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        self._leave()

    # --- what a test asks of it ------------------------------------------------------------

    def seen(self, pattern: str = "") -> list[str]:
        """The requests that match so far, as `GET /1.0/instances?…`."""
        return [str(one) for one in list(self._seen) if re.search(pattern, str(one))]

    def changes(self) -> list[str]:
        """The requests that are more than a question."""
        return [str(one) for one in list(self._seen) if one.method not in HARMLESS]

    def forget(self) -> None:
        """Count from here on."""
        self._seen.clear()
        self._troubles.clear()

    def away(self, pattern: str, *, when: str = "after", seconds: float = 5.0) -> Trouble:
        """Be gone for some seconds at the next such request.

        `before`: the daemon has not heard of it; `middle`: of half of it; `after`: it is doing it.
        """
        return self._expect(Trouble(pattern=re.compile(pattern), kind=when, seconds=seconds))

    def answer(self, pattern: str, text: str, *, times: int = 1 << 30) -> Trouble:
        """Answer such requests with an error, instead of the daemon."""
        trouble = Trouble(pattern=re.compile(pattern), kind="answer", times=times, text=text)
        return self._expect(trouble)

    def slow(self, pattern: str, seconds: float, *, times: int = 1) -> Trouble:
        """Wait before such a request is passed on; half of it, where it has a body, is by then."""
        trouble = Trouble(pattern=re.compile(pattern), kind="slow", times=times, seconds=seconds)
        return self._expect(trouble)

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Not there at all, for as long as the block takes."""
        self._leave()
        try:
            yield
        finally:
            self._listen()

    def _expect(self, trouble: Trouble) -> Trouble:
        self._troubles.append(trouble)
        return trouble

    # --- coming and going ------------------------------------------------------------------

    def _listen(self) -> None:
        self.place.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.place))
        listener.listen(128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _leave(self) -> None:
        listener, self._listener = self._listener, None
        self.place.unlink(missing_ok=True)
        with self._lock:
            ends = [*self._open, *([listener] if listener else [])]
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if listener:
            listener.close()

    def _be_away(self, seconds: float) -> None:
        self._leave()

        def back() -> None:
            if not self._ended:
                self._listen()

        timer = threading.Timer(seconds, back)
        timer.daemon = True
        timer.start()

    # --- passing on ------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        daemon = socket.socket(socket.AF_UNIX)
        with client, daemon:
            with self._lock:
                self._open |= {client, daemon}
            try:
                daemon.connect(str(self._daemon))
                near, far = _End(client), _End(daemon)
                while self._one(near, far):
                    pass
            except (OSError, ValueError, _AwayError):
                pass
            finally:
                with self._lock:
                    self._open -= {client, daemon}

    def _one(self, near: _End, far: _End) -> bool:
        """Pass on one request and its answer; False where the client has no more."""
        head = _head(near)
        if not head:
            return False
        method, path, _ = head[0].decode().split(" ", 2)
        request = Request(method=method, path=path)
        self._seen.append(request)
        trouble = self._trouble(request)
        if trouble and trouble.kind == "before":
            self._drop(trouble)
        if trouble and trouble.kind == "answer":
            trouble.met.set()
            _skip(near, head)
            near.send(_refusal(trouble.text))
            return True
        far.send(b"".join(head))
        half = _length(head) // 2
        for piece in _body(near, head):
            far.send(piece)
            half -= len(piece)
            if trouble and half <= 0 and not trouble.met.is_set():
                self._halt(trouble)
        if trouble and not trouble.met.is_set():
            self._halt(trouble)
        answer = _head(far)
        if trouble and trouble.kind == "after":
            self._drop(trouble)
        near.send(b"".join(answer))
        for piece in _body(far, answer, to=method):
            near.send(piece)
        return bool(answer)

    def _halt(self, trouble: Trouble) -> None:
        """What is to happen while a request is passed on."""
        if trouble.kind == "middle":
            self._drop(trouble)
        if trouble.kind == "slow":
            trouble.met.set()
            time.sleep(trouble.seconds)

    def _drop(self, trouble: Trouble) -> None:
        trouble.met.set()
        self._be_away(trouble.seconds)
        raise _AwayError

    def _trouble(self, request: Request) -> Trouble | None:
        with self._lock:
            for trouble in self._troubles:
                if trouble.times > 0 and trouble.pattern.search(str(request)):
                    trouble.times -= 1
                    return trouble
        return None


def _head(stream: _End) -> list[bytes]:
    """The lines of a message's head, with the empty one; none where there is no message."""
    lines: list[bytes] = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return lines
    return []


def _field(head: list[bytes], name: str) -> str:
    for line in head[1:]:
        key, _, value = line.decode().partition(":")
        if key.lower() == name:
            return value.strip().lower()
    return ""


def _length(head: list[bytes]) -> int:
    return int(_field(head, "content-length") or 0)


def _body(stream: _End, head: list[bytes], to: str = "") -> Iterator[bytes]:
    """The pieces of a message's body, as they are on the wire; `to` is what it answers."""
    status = head[0].split(b" ")[1] if head and head[0].startswith(b"HTTP/") else b""
    if to == "HEAD" or status in {b"204", b"304"}:
        return
    if _field(head, "transfer-encoding") != "chunked":
        left = _length(head)
        while left:
            piece = _some(stream.read(min(left, PIECE)))
            left -= len(piece)
            yield piece
        return
    while True:
        size = _some(stream.readline())
        yield size + _some(stream.read(int(size, 16) + 2))
        if int(size, 16) == 0:
            return


def _some(piece: bytes) -> bytes:
    """What was read; whoever ends in the middle of a message is gone."""
    if not piece:
        raise _AwayError
    return piece


def _skip(stream: _End, head: list[bytes]) -> None:
    for _ in _body(stream, head):
        pass


def _refusal(text: str) -> bytes:
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    content = {"type": "error", "error": text, "error_code": int(status), "metadata": None}
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 {int(status)} {status.phrase}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
