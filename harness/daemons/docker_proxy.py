"""A proxy before a Docker daemon's socket: counts requests, and is away or slow on demand.

What it passes on is bytes: only the heads and lengths of requests are looked at, so an answer that
has no end but the connection's (`exec`, `logs`) goes through as well.
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

PIECE: Final = 1 << 16
HARMLESS: Final = frozenset({"GET", "HEAD"})


@dataclass(slots=True, kw_only=True)
class Fault:
    """What is to happen to the next `times` requests that match."""

    pattern: re.Pattern[str]
    kind: str
    """Away `before` the daemon hears of it, in the `middle`, or `after` it is done; or `slow`."""
    times: int
    seconds: float
    met: threading.Event = field(default_factory=threading.Event)
    dropped: threading.Event = field(default_factory=threading.Event)
    """Set: what is held up never comes to the daemon."""

    def wait(self, seconds: float = 60) -> None:
        """Wait until it has happened to the first request."""
        assert self.met.wait(seconds), f"no {self.pattern.pattern} in {seconds:g} s"


class _AwayError(Exception):
    """The connection is to be dropped."""


@dataclass(slots=True)
class _Pair:
    """A client's connection, and that to the daemon for it."""

    client: socket.socket
    daemon: socket.socket
    dropping: Fault | None = None
    """What to be away for as soon as the daemon has answered."""

    def close(self) -> None:
        for end in (self.client, self.daemon):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class DockerProxy:
    """Used as `with DockerProxy(place, daemon) as proxy`; `place` is for its own socket."""

    def __init__(self, place: Path, daemon: str) -> None:
        self.place = place
        self._daemon = daemon.removeprefix("unix://")
        self._troubles: list[Fault] = []
        self._seen: list[str] = []
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._listener: socket.socket | None = None
        self._ended = False

    @property
    def host(self) -> str:
        """As DOCKER_HOST has it."""
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

    # --- what a test asks of it ------------------------------------------------------------

    def requests(self, pattern: str = "") -> list[str]:
        """The requests that match so far, as `POST /v1.41/containers/create?…`."""
        return [one for one in list(self._seen) if re.search(pattern, one)]

    def changes(self) -> list[str]:
        """The requests that are more than a question."""
        return [one for one in list(self._seen) if one.split(" ")[0] not in HARMLESS]

    def reset(self) -> None:
        """Count from here on; no trouble is left, and what is held up is dropped."""
        self._seen.clear()
        with self._lock:
            troubles, self._troubles = self._troubles, []
        for trouble in troubles:
            trouble.dropped.set()

    def disconnect(
        self, pattern: str, *, when: str = "after", seconds: float = 5.0, times: int = 1
    ) -> Fault:
        """Be gone for some seconds at the next such request."""
        return self._expect(_trouble(pattern, when, times, seconds))

    def delay(self, pattern: str, seconds: float, *, times: int = 1) -> Fault:
        """Wait before such a request is passed on; half of its body, if it has one, is by then."""
        return self._expect(_trouble(pattern, "slow", times, seconds))

    @contextmanager
    def down(self) -> Iterator[None]:
        """Not there at all, for as long as the block takes."""
        self._leave()
        try:
            yield
        finally:
            self._listen()

    def _expect(self, trouble: Fault) -> Fault:
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
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.close()
        if listener:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _be_away(self, trouble: Fault) -> None:
        trouble.met.set()
        self._leave()

        def back() -> None:
            if not self._ended:
                self._listen()

        timer = threading.Timer(trouble.seconds, back)
        timer.daemon = True
        timer.start()

    # --- passing on ------------------------------------------------------------------------

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
            with suppress(OSError, ValueError, _AwayError):
                pair.daemon.connect(self._daemon)
                back = threading.Thread(target=self._answer, args=(pair,), daemon=True)
                back.start()
                with pair.client.makefile("rb") as near, pair.daemon.makefile("wb") as far:
                    while self._one(pair, near, far):
                        pass
                # A client may have said all that it has to say, and still listen.
                pair.daemon.shutdown(socket.SHUT_WR)
                back.join()
            pair.close()

    def _answer(self, pair: _Pair) -> None:
        with suppress(OSError):
            while piece := pair.daemon.recv(PIECE):
                if pair.dropping:
                    self._be_away(pair.dropping)
                    return
                pair.client.sendall(piece)
            pair.client.shutdown(socket.SHUT_WR)

    def _one(self, pair: _Pair, near: BinaryIO, far: BinaryIO) -> bool:
        """Pass on one request; False where the client has no more."""
        head = _head(near)
        if not head:
            return False
        request = " ".join(head[0].decode().split(" ")[:2])
        self._seen.append(request)
        trouble = self._trouble(request)
        if trouble and trouble.kind == "before":
            self._be_away(trouble)
            raise _AwayError
        if trouble and trouble.kind == "after":
            pair.dropping = trouble
        far.write(b"".join(head))
        halfway = trouble if trouble and trouble.kind in {"middle", "slow"} else None
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

    def _halt(self, trouble: Fault) -> None:
        """What is to happen while a request is passed on."""
        if trouble.kind == "middle":
            self._be_away(trouble)
            raise _AwayError
        trouble.met.set()
        if trouble.dropped.wait(trouble.seconds):
            raise _AwayError

    def _trouble(self, request: str) -> Fault | None:
        with self._lock:
            for trouble in self._troubles:
                if trouble.times > 0 and trouble.pattern.search(request):
                    trouble.times -= 1
                    return trouble
        return None


def _trouble(pattern: str, kind: str, times: int, seconds: float) -> Fault:
    return Fault(pattern=re.compile(pattern), kind=kind, times=times, seconds=seconds)


def _head(stream: BinaryIO) -> list[bytes]:
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


def _body(stream: BinaryIO, head: list[bytes]) -> Iterator[bytes]:
    """The pieces of a request's body, as they are on the wire."""
    if _field(head, "transfer-encoding") != "chunked":
        left = int(_field(head, "content-length") or 0)
        while left and (piece := stream.read(min(left, PIECE))):
            left -= len(piece)
            yield piece
        return
    while size := stream.readline():
        yield size + stream.read(int(size, 16) + 2)
        if int(size, 16) == 0:
            return
