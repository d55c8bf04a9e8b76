"""A proxy of a Docker daemon's socket that records requests, and goes away or delays on demand.

It parses only the heads and lengths of requests, and forwards bytes, so that responses which end
with the connection (`exec`, `logs`) work as well.
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
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to the next `times` requests that match."""

    pattern: re.Pattern[str]
    kind: str
    """Go away `before` the request, in the `middle`, or `after` it is done; or be `slow`."""
    times: int
    seconds: float
    met: threading.Event = field(default_factory=threading.Event)
    dropped: threading.Event = field(default_factory=threading.Event)
    """Once set, a delayed request is not forwarded."""

    def wait(self, seconds: float = 60) -> None:
        """Wait until it has hit the first request."""
        assert self.met.wait(seconds), f"no {self.pattern.pattern} in {seconds:g} s"


class _DroppedError(Exception):
    """The connection has to be dropped."""


@dataclass(slots=True)
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


class DockerProxy:
    """A context manager; `place` is the path of its own socket."""

    def __init__(self, place: Path, daemon: str) -> None:
        self.place = place
        self._daemon = daemon.removeprefix("unix://")
        self._faults: list[Fault] = []
        self._seen: list[str] = []
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._listener: socket.socket | None = None
        self._ended = False

    @property
    def host(self) -> str:
        """As in DOCKER_HOST."""
        return f"unix://{self.place}"

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

    # --- for tests -------------------------------------------------------------------------

    def requests(self, pattern: str = "") -> list[str]:
        """The requests so far that match, such as `POST /v1.41/containers/create?…`."""
        return [one for one in list(self._seen) if re.search(pattern, one)]

    def changes(self) -> list[str]:
        """The requests so far that may change something."""
        return [one for one in list(self._seen) if one.split(" ")[0] not in SAFE_METHODS]

    def reset(self) -> None:
        """Clear the record and all faults; delayed requests are dropped."""
        self._seen.clear()
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.dropped.set()

    def disconnect(
        self, pattern: str, *, when: str = "after", seconds: float = 5.0, times: int = 1
    ) -> Fault:
        """Go away for some seconds at the next request that matches."""
        return self._expect(_fault(pattern, when, times, seconds))

    def delay(self, pattern: str, seconds: float, *, times: int = 1) -> Fault:
        """Delay a request that matches, after its first chunk if it has a body."""
        return self._expect(_fault(pattern, "slow", times, seconds))

    @contextmanager
    def down(self) -> Iterator[None]:
        """Accept no connections during the block."""
        self._leave()
        try:
            yield
        finally:
            self._listen()

    def _expect(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    # --- listening -------------------------------------------------------------------------

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
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.close()
        if listener:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _go_away(self, fault: Fault) -> None:
        fault.met.set()
        self._leave()

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
                self._pairs.append(pair)
            threading.Thread(target=self._serve, args=(pair,), daemon=True).start()

    def _serve(self, pair: _Pair) -> None:
        with pair.client, pair.daemon:
            with suppress(OSError, ValueError, _DroppedError):
                pair.daemon.connect(self._daemon)
                back = threading.Thread(target=self._answer, args=(pair,), daemon=True)
                back.start()
                with pair.client.makefile("rb") as near, pair.daemon.makefile("wb") as far:
                    while self._one(pair, near, far):
                        pass
                # A client may have closed its sending side, and still read.
                pair.daemon.shutdown(socket.SHUT_WR)
                back.join()
            pair.close()

    def _answer(self, pair: _Pair) -> None:
        with suppress(OSError):
            while piece := pair.daemon.recv(CHUNK):
                if pair.dropping:
                    self._go_away(pair.dropping)
                    return
                pair.client.sendall(piece)
            pair.client.shutdown(socket.SHUT_WR)

    def _one(self, pair: _Pair, near: BinaryIO, far: BinaryIO) -> bool:
        """Forward one request; False if the client has sent no more."""
        head = _head(near)
        if not head:
            return False
        request = " ".join(head[0].decode().split(" ")[:2])
        self._seen.append(request)
        fault = self._fault(request)
        if fault and fault.kind == "before":
            self._go_away(fault)
            raise _DroppedError
        if fault and fault.kind == "after":
            pair.dropping = fault
        far.write(b"".join(head))
        halfway = fault if fault and fault.kind in {"middle", "slow"} else None
        for count, piece in enumerate(_body(near, head)):
            far.write(piece)
            if halfway and count == 1:
                far.flush()
                self._halt(halfway)
                halfway = None
        if halfway:
            self._halt(halfway)
        far.flush()
        return True

    def _halt(self, fault: Fault) -> None:
        """Apply a fault in the middle of a request."""
        if fault.kind == "middle":
            self._go_away(fault)
            raise _DroppedError
        fault.met.set()
        if fault.dropped.wait(fault.seconds):
            raise _DroppedError

    def _fault(self, request: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.pattern.search(request):
                    fault.times -= 1
                    return fault
        return None


def _fault(pattern: str, kind: str, times: int, seconds: float) -> Fault:
    return Fault(pattern=re.compile(pattern), kind=kind, times=times, seconds=seconds)


def _head(stream: BinaryIO) -> list[bytes]:
    """The lines of a request's head with the empty one; none if there is no request."""
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


def _body(stream: BinaryIO, head: list[bytes]) -> Iterator[bytes]:
    """The chunks of a request's body, as sent by the client."""
    if _field(head, "transfer-encoding") != "chunked":
        left = int(_field(head, "content-length") or 0)
        while left and (piece := stream.read(min(left, CHUNK))):
            left -= len(piece)
            yield piece
        return
    while size := stream.readline():
        yield size + stream.read(int(size, 16) + 2)
        if int(size, 16) == 0:
            return
