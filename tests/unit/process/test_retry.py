"""What is done again, and for how long, where a daemon is restarted."""

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
    """How many tries it is away for."""
    answers: bool = False
    """Whether it answers something in each try, before it goes."""

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


async def test_done_at_once() -> None:
    daemon = Daemon()
    assert await retry_through_restart(daemon, daemon.work, AwayError) == "done"
    assert daemon.tries == 1


async def test_done_again_until_the_daemon_is_back() -> None:
    daemon = Daemon(away=7)
    assert await retry_through_restart(daemon, daemon.work, AwayError) == "done"
    assert daemon.tries == 8


async def test_away_for_too_long() -> None:
    daemon = Daemon(away=1_000_000)
    with pytest.raises(AwayError):
        await retry_through_restart(daemon, daemon.work, AwayError)


async def test_a_daemon_that_goes_each_time_it_comes_is_given_up() -> None:
    daemon = Daemon(away=1_000_000, answers=True)
    with pytest.raises(AwayError):
        await retry_through_restart(daemon, daemon.work, AwayError)
    assert daemon.tries == retry.MAX_OUTAGES + 1


async def test_anything_else_is_raised_at_once() -> None:
    tries = []

    async def refused() -> None:
        tries.append(1)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 it has no text
        await retry_through_restart(Daemon(), refused, AwayError)
    assert len(tries) == 1
