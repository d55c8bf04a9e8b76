"""A proxy for an Incus daemon's socket: records requests, and disconnects, delays or fails them.

The program reads the socket's path from INCUS_SOCKET, so a test can put the proxy in between
without touching the daemon, which others use.
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

CHUNK: Final = 1 << 16
READ_ONLY: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as received."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(slots=True, kw_only=True)
class Fault:
    """What to do to the next `times` requests that match."""

    pattern: re.Pattern[str]
    kind: str
    """`before`, `middle` and `after` disconnect at that point; else `fail` or `delay`."""
    times: int = 1
    seconds: float = 0.0
    text: str = ""
    triggered: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float = 60) -> None:
        """Wait until it was applied to the first request."""
        assert self.triggered.wait(seconds), f"no {self.pattern.pattern} in {seconds:g} s"


class _ConnectionDroppedError(Exception):
    """Ends the connection."""


class _Stream:
    """One end of a connection, read by lines and bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self.send = connection.sendall
        reader = connection.makefile("rb")
        self.readline = reader.readline
        self.read = reader.read


class IncusProxy:
    """Used as `with IncusProxy(path, daemon) as proxy`; it listens on a socket at `path`."""

    def __init__(self, path: Path, daemon: Path) -> None:
        self.path = path
        self._daemon = daemon
        self._faults: list[Fault] = []
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._closed = False

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        self._close()

    # --- for tests -------------------------------------------------------------------------

    def requests(self, pattern: str = "") -> list[str]:
        """The matching requests so far, as `GET /1.0/instances?…`."""
        return [str(one) for one in list(self._requests) if re.search(pattern, str(one))]

    def changes(self) -> list[str]:
        """The requests so far that may change something."""
        return [str(one) for one in list(self._requests) if one.method not in READ_ONLY]

    def reset(self) -> None:
        """Forget requests and faults so far."""
        self._requests.clear()
        self._faults.clear()

    def disconnect(self, pattern: str, *, when: str = "after", seconds: float = 5.0) -> Fault:
        """Go down for some seconds at the next such request.

        `before` it reaches the daemon, in the `middle` of it, or `after` the daemon has it.
        """
        return self._add(Fault(pattern=re.compile(pattern), kind=when, seconds=seconds))

    def fail(self, pattern: str, text: str, *, times: int = 1 << 30) -> Fault:
        """Answer such requests with an error, without asking the daemon."""
        fault = Fault(pattern=re.compile(pattern), kind="fail", times=times, text=text)
        return self._add(fault)

    def delay(self, pattern: str, seconds: float, *, times: int = 1) -> Fault:
        """Pause before such a request is forwarded; of one with a body, after half of it."""
        fault = Fault(pattern=re.compile(pattern), kind="delay", times=times, seconds=seconds)
        return self._add(fault)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Do not listen inside the block."""
        self._close()
        try:
            yield
        finally:
            self._listen()

    def _add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    # --- listening -------------------------------------------------------------------------

    def _listen(self) -> None:
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _close(self) -> None:
        listener, self._listener = self._listener, None
        self.path.unlink(missing_ok=True)
        with self._lock:
            ends = [*self._open, *([listener] if listener else [])]
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if listener:
            listener.close()

    def _restart_after(self, seconds: float) -> None:
        self._close()

        def back() -> None:
            if not self._closed:
                self._listen()

        timer = threading.Timer(seconds, back)
        timer.daemon = True
        timer.start()

    # --- forwarding ------------------------------------------------------------------------

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
                near, far = _Stream(client), _Stream(daemon)
                while self._forward(near, far):
                    pass
            except (OSError, ValueError, _ConnectionDroppedError):
                pass
            finally:
                with self._lock:
                    self._open -= {client, daemon}

    def _forward(self, near: _Stream, far: _Stream) -> bool:
        """Forward one request and its response; False if the client has no more."""
        head = _head(near)
        if not head:
            return False
        method, path, _ = head[0].decode().split(" ", 2)
        request = Request(method=method, path=path)
        self._requests.append(request)
        fault = self._next_fault(request)
        if fault and fault.kind == "before":
            self._drop(fault)
        if fault and fault.kind == "fail":
            fault.triggered.set()
            _discard(near, head)
            near.send(_error_response(fault.text))
            return True
        far.send(b"".join(head))
        half = _length(head) // 2
        for chunk in _body(near, head):
            far.send(chunk)
            half -= len(chunk)
            if fault and half <= 0 and not fault.triggered.is_set():
                self._apply(fault)
        if fault and not fault.triggered.is_set():
            self._apply(fault)
        answer = _head(far)
        if fault and fault.kind == "after":
            self._drop(fault)
        near.send(b"".join(answer))
        for chunk in _body(far, answer, to=method):
            near.send(chunk)
        return bool(answer)

    def _apply(self, fault: Fault) -> None:
        """Apply a fault while a request is forwarded."""
        if fault.kind == "middle":
            self._drop(fault)
        if fault.kind == "delay":
            fault.triggered.set()
            time.sleep(fault.seconds)

    def _drop(self, fault: Fault) -> None:
        fault.triggered.set()
        self._restart_after(fault.seconds)
        raise _ConnectionDroppedError

    def _next_fault(self, request: Request) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.pattern.search(str(request)):
                    fault.times -= 1
                    return fault
        return None


def _head(stream: _Stream) -> list[bytes]:
    """The lines of a message's head, including the empty one; none at the end of the stream."""
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


def _body(stream: _Stream, head: list[bytes], to: str = "") -> Iterator[bytes]:
    """The chunks of a message's body, as on the wire; `to` is the method that it responds to."""
    status = head[0].split(b" ")[1] if head and head[0].startswith(b"HTTP/") else b""
    if to == "HEAD" or status in {b"204", b"304"}:
        return
    if _field(head, "transfer-encoding") != "chunked":
        left = _length(head)
        while left:
            chunk = _read_or_drop(stream.read(min(left, CHUNK)))
            left -= len(chunk)
            yield chunk
        return
    while True:
        size = _read_or_drop(stream.readline())
        yield size + _read_or_drop(stream.read(int(size, 16) + 2))
        if int(size, 16) == 0:
            return


def _read_or_drop(chunk: bytes) -> bytes:
    """What was read; a stream that ends in the middle of a message drops the connection."""
    if not chunk:
        raise _ConnectionDroppedError
    return chunk


def _discard(stream: _Stream, head: list[bytes]) -> None:
    for _ in _body(stream, head):
        pass


def _error_response(text: str) -> bytes:
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    content = {"type": "error", "error": text, "error_code": int(status), "metadata": None}
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 {int(status)} {status.phrase}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
