"""A proxy for the socket of a daemon: records requests, and holds, delays or disconnects them.

A test puts it between the program and a Docker or Incus daemon, without touching the daemon, which
others use. It parses only the heads and lengths of requests; responses are forwarded as bytes, so
that those which end with the connection (`exec`, `logs`) work as well.
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

CHUNK: Final = 1 << 16
SMALL: Final = 1 << 12
"""Bytes of a body that is sent in one piece; an image is larger."""
READ_ONLY: Final = frozenset({"GET", "HEAD"})
LONG: Final = 300.0
"""Seconds after which a held request is forwarded, so that no test waits for ever."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """What to do to the next `times` requests that match."""

    pattern: re.Pattern[str]
    kind: str
    """`before`, `middle` and `after` disconnect at that point; `hold` waits."""
    times: int
    seconds: float
    """For which the proxy is away, or a request is held."""
    triggered: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False
    """Whether a request is not forwarded once it is released."""

    def wait(self, seconds: float = 60) -> None:
        """Wait until it has hit the first request."""
        assert self.triggered.wait(seconds), f"no {self.pattern.pattern} in {seconds:g} s"


class _DroppedError(Exception):
    """Ends the connection."""


@dataclass(slots=True, eq=False)
class _Pair:
    """A client's connection, and its connection to the daemon."""

    client: socket.socket
    daemon: socket.socket
    dropping: Fault | None = None
    """The fault that begins once the daemon has answered."""

    def close(self) -> None:
        for end in (self.client, self.daemon):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class DaemonProxy:
    """Used as `with DaemonProxy(path, daemon) as proxy`; it listens on a socket at `path`."""

    def __init__(self, path: Path, daemon: Path) -> None:
        self.path = path
        self._daemon = daemon
        self._faults: list[Fault] = []
        self._requests: list[str] = []
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._listener: socket.socket | None = None
        self._ended = False

    @property
    def host(self) -> str:
        """As in DOCKER_HOST."""
        return f"unix://{self.path}"

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
        self.reset()
        self._close()

    # --- for tests -------------------------------------------------------------------------

    def requests(self, pattern: str = "") -> list[str]:
        """The matching requests so far, such as `GET /1.0/instances?…`."""
        return [one for one in list(self._requests) if re.search(pattern, one)]

    def changes(self) -> list[str]:
        """The requests so far that may change something."""
        return [one for one in list(self._requests) if one.split(" ")[0] not in READ_ONLY]

    def reset(self) -> None:
        """Forget requests and faults so far; requests that are held are dropped."""
        self._requests.clear()
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.dropped = True
            fault.released.set()

    def disconnect(
        self, pattern: str, *, when: str = "after", seconds: float = 5.0, times: int = 1
    ) -> Fault:
        """Go away for some seconds at the next such request.

        `before` it reaches the daemon, in the `middle` of it, or `after` the daemon has answered.
        """
        return self._add(pattern, when, times, seconds)

    def delay(self, pattern: str, seconds: float, *, times: int = 1) -> Fault:
        """Hold such a request for a time.

        The daemon has nothing of it by then; of a body larger than SMALL, the first part.
        """
        return self._add(pattern, "hold", times, seconds)

    @contextmanager
    def hold(self, pattern: str) -> Iterator[Fault]:
        """Hold the next such request until the end of the block, as `delay` does.

        For what must happen before the daemon gets the request, however slow the machine is.
        """
        fault = self.delay(pattern, LONG)
        try:
            yield fault
        finally:
            fault.released.set()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Accept no connections in the block."""
        self._close()
        try:
            yield
        finally:
            self._listen()

    def _add(self, pattern: str, kind: str, times: int, seconds: float) -> Fault:
        fault = Fault(pattern=re.compile(pattern), kind=kind, times=times, seconds=seconds)
        with self._lock:
            self._faults.append(fault)
        return fault

    # --- listening -------------------------------------------------------------------------

    def _listen(self) -> None:
        # Under its name only once it listens: a client that sees it is accepted.
        new = self.path.with_name(f"{self.path.name}.new")
        new.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(new))
        listener.listen(128)
        new.replace(self.path)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _close(self) -> None:
        self.path.unlink(missing_ok=True)
        with self._lock:
            listener, self._listener = self._listener, None
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            pair.close()
        if listener:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _go_away(self, fault: Fault) -> None:
        fault.triggered.set()
        self._close()

        def back() -> None:
            if not self._ended:
                self._listen()

        timer = threading.Timer(fault.seconds, back)
        timer.daemon = True
        timer.start()

    # --- forwarding ------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            pair = _Pair(client, socket.socket(socket.AF_UNIX))
            with self._lock:
                closed = self._listener is not listener
                if not closed:
                    self._pairs.add(pair)
            if closed:
                client.close()
                pair.daemon.close()
                return
            threading.Thread(target=self._serve, args=(pair,), daemon=True).start()

    def _serve(self, pair: _Pair) -> None:
        with pair.client, pair.daemon:
            with suppress(OSError, ValueError, _DroppedError):
                pair.daemon.connect(str(self._daemon))
                back = threading.Thread(target=self._answer, args=(pair,), daemon=True)
                back.start()
                with pair.client.makefile("rb") as near:
                    while self._forward(pair, near):
                        pass
                # A client may have closed its sending side, and still read.
                pair.daemon.shutdown(socket.SHUT_WR)
                back.join()
            pair.close()
            with self._lock:
                self._pairs.discard(pair)

    def _answer(self, pair: _Pair) -> None:
        """Forward what the daemon sends, until it sends no more."""
        with suppress(OSError):
            while piece := pair.daemon.recv(CHUNK):
                if pair.dropping:
                    self._go_away(pair.dropping)
                    return
                pair.client.sendall(piece)
        with suppress(OSError):
            pair.client.shutdown(socket.SHUT_WR)

    def _forward(self, pair: _Pair, near: BinaryIO) -> bool:
        """Forward one request; False if the client has sent no more."""
        head = _head(near)
        if not head:
            return False
        request = " ".join(head[0].decode().split(" ")[:2])
        self._requests.append(request)
        fault = self._next_fault(request)
        if fault and fault.kind == "after":
            pair.dropping, fault = fault, None
        large = _is_large(head)
        if fault and (fault.kind == "before" or not large):
            self._apply(fault)
            fault = None
        pair.daemon.sendall(b"".join(head))
        for piece in _body(near, head):
            pair.daemon.sendall(piece)
            if fault:
                self._apply(fault)
                fault = None
        return True

    def _apply(self, fault: Fault) -> None:
        if fault.kind != "hold":
            self._go_away(fault)
            raise _DroppedError
        fault.triggered.set()
        fault.released.wait(fault.seconds)
        if fault.dropped:
            raise _DroppedError

    def _next_fault(self, request: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.pattern.search(request):
                    fault.times -= 1
                    return fault
        return None


def _head(stream: BinaryIO) -> list[bytes]:
    """The lines of a request's head, including the empty one; none at the end of the stream."""
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


def _is_chunked(head: list[bytes]) -> bool:
    return _field(head, "transfer-encoding") == "chunked"


def _is_large(head: list[bytes]) -> bool:
    """Whether the body has more than one piece."""
    return _is_chunked(head) or _length(head) > SMALL


def _body(stream: BinaryIO, head: list[bytes]) -> Iterator[bytes]:
    """The pieces of a request's body, as on the wire."""
    if not _is_chunked(head):
        left = length = _length(head)
        most = min(CHUNK, length // 2 if length > SMALL else length)
        while left:
            yield (piece := _read(stream, min(left, most)))
            left -= len(piece)
        return
    while True:
        size = stream.readline()
        yield size + _read(stream, int(size, 16) + 2)
        if int(size, 16) == 0:
            return


def _read(stream: BinaryIO, size: int) -> bytes:
    """Exactly that much; a client that has gone in the middle of it ends the connection."""
    piece = stream.read(size)
    if len(piece) < size:
        raise _DroppedError
    return piece
