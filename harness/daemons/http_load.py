"""Clients that ask an edge all the time, and remember when they were answered, and by whom."""

from __future__ import annotations

import http.client
import itertools
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from harness.daemons.netns import within

if TYPE_CHECKING:
    from types import TracebackType

PERIOD: Final = 0.02
"""Seconds between two requests: 50 a second, which is a fifth of a core."""
OFTEN: Final = 0.005
"""200 a second."""
CLIENTS: Final = 8


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def ask(port: int, timeout: float = 5.0, network: str = "") -> str:
    """What a service answers, by way of its edge; `network` is the file of the one it is in."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        with within(network):
            connection.connect()
        connection.request("GET", "/", headers={"Connection": "close"})
        answer = connection.getresponse()
        text = answer.read().decode().strip()
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        msg = f"status {answer.status}"
        raise OSError(msg)
    return text


@dataclass(slots=True)
class Load:
    """Clients that ask all the time, from the beginning of a block to its end."""

    port: int
    period: float = PERIOD
    network: str = ""
    answers: list[tuple[float, str]] = field(default_factory=list)
    """When each answer came, and what it was."""
    lost: list[tuple[float, str]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=self._ask, args=(number,), daemon=True)
            for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self, number: int) -> None:
        began, every = time.monotonic() + number * self.period, self.period * CLIENTS
        for count in itertools.count():
            if self._ended.wait(max(0.0, began + count * every - time.monotonic())):
                return
            try:
                self.answers.append((time.monotonic(), ask(self.port, network=self.network)))
            except (OSError, http.client.HTTPException) as error:
                self.lost.append((time.monotonic(), repr(error)))

    def first(self, answer: str) -> float:
        """When an answer came for the first time."""
        return min(at for at, text in self.answers if text == answer)

    def gap(self) -> float:
        """The longest time without an answer."""
        times = sorted(at for at, _ in self.answers)
        return max(after - before for before, after in itertools.pairwise(times))
