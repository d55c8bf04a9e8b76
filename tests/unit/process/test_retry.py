"""What is retried, and for how long, while a daemon restarts."""

from dataclasses import dataclass

import pytest

from components.pipeline.process import retry
from components.pipeline.process.retry import retry_through_restart


class AwayError(Exception):
    pass


@dataclass
class Daemon:
    last_response: float = 0.0
    tries: int = 0
    away: int = 0
    """The number of tries during which it is unavailable."""
    answers: bool = False
    """Whether it responds in each try before it goes away."""

    async def work(self) -> str:
        self.tries += 1
        if self.answers:
            self.last_response = float("inf")
        if self.tries <= self.away:
            raise AwayError
        return "done"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PAUSE", 0.001)
    monkeypatch.setattr(retry, "RESTART", 0.1)


async def test_success_on_the_first_try() -> None:
    daemon = Daemon()
    assert await retry_through_restart(daemon, daemon.work, AwayError) == "done"
    assert daemon.tries == 1


async def test_it_retries_until_the_daemon_is_back() -> None:
    daemon = Daemon(away=7)
    assert await retry_through_restart(daemon, daemon.work, AwayError) == "done"
    assert daemon.tries == 8


async def test_unavailable_for_too_long() -> None:
    daemon = Daemon(away=1_000_000)
    with pytest.raises(AwayError):
        await retry_through_restart(daemon, daemon.work, AwayError)


async def test_it_gives_up_after_too_many_outages() -> None:
    daemon = Daemon(away=1_000_000, answers=True)
    with pytest.raises(AwayError):
        await retry_through_restart(daemon, daemon.work, AwayError)
    assert daemon.tries == retry.MAX_OUTAGES + 1


async def test_other_errors_are_raised_at_once() -> None:
    tries = []

    async def refused() -> None:
        tries.append(1)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 it has no text
        await retry_through_restart(Daemon(), refused, AwayError)
    assert len(tries) == 1
