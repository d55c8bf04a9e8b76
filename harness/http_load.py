"""HTTP clients that keep asking a service, and record the answers and the failed requests."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from harness.daemons.netns import within

if TYPE_CHECKING:
    from types import TracebackType

PERIOD: Final = 0.02
"""Seconds between two requests; 50 a second keep a fifth of a core busy."""
SHORT_PERIOD: Final = 0.005
"""200 requests a second."""
CLIENTS: Final = 8
SLOW: Final = 60.0
"""Seconds after which a request is lost: a stalled machine has a slow answer, not none."""


def http_get(port: int, timeout: float = 30.0, network: str = "") -> str:
    """GET / of a local port; `network` is the file of a network namespace, if not our own.

    Raises:
        OSError: no connection, or not a 200.
        http.client.HTTPException: the response is not HTTP.
    """
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
    """Clients that keep asking during a block."""

    port: int
    period: float = PERIOD
    network: str = ""
    answers: list[tuple[float, str]] = field(default_factory=list)
    """The time and the text of each answer."""
    asked: list[tuple[float, str]] = field(default_factory=list)
    """The time of each request that was answered, and the text that it got."""
    lost: list[tuple[float, str]] = field(default_factory=list)
    """The time and the error of each failed request."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
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
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * SLOW)

    def _run(self, number: int) -> None:
        began, every = time.monotonic() + number * self.period, self.period * CLIENTS
        for count in itertools.count():
            if self._stop.wait(max(0.0, began + count * every - time.monotonic())):
                return
            asked = time.monotonic()
            try:
                text = http_get(self.port, SLOW, network=self.network)
                self.answers.append((time.monotonic(), text))
                self.asked.append((asked, text))
            except (OSError, http.client.HTTPException) as error:
                self.lost.append((time.monotonic(), repr(error)))

    def first(self, answer: str) -> float:
        """The time of the first such answer."""
        return min(at for at, text in self.answers if text == answer)

    def gap(self) -> float:
        """The longest time without an answer, in seconds."""
        times = sorted(at for at, _ in self.answers)
        return max(after - before for before, after in itertools.pairwise(times))
