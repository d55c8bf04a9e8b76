"""An attempt that is under way: over as many connections as it takes, within its bounds."""

import time

import pytest

from components.pipeline.activation import attempt, runner
from components.pipeline.activation.protocol import State
from components.pipeline.activation.request import AttemptSpec
from components.pipeline.config.activation import Activation
from components.pipeline.values import Duration
from tests.unit.activation.attempt_host import (
    ID,
    NO_ROUTE,
    OLD,
    STARTED,
    WAITS,
    Host,
    Make,
    failure,
    line,
    result,
)


async def test_a_broken_connection_is_opened_again_where_it_broke(
    web1: Host, make: Make, progress: list[str]
) -> None:
    web1.answers(
        STARTED,
        line("state", state="activating", offset="10"),
        line("log", text="one"),
        line("progress", state="activating", offset="14"),
        then="echo 'Connection to 192.0.2.10 closed by remote host.' >&2",
        code=255,
    )
    web1.answers(then=NO_ROUTE, code=255)
    web1.answers(line("progress", state="activating", offset="4711"), code=10)
    web1.answers(line("state", state="awaiting-confirm", offset="4800"), WAITS)
    assert await make().run() is State.AWAITING
    assert web1.verbs[1:] == [
        ["follow", ID, "14"],
        ["follow", ID, "14"],
        ["follow", ID, "4711"],
    ]
    assert progress == ["activating", "awaiting-confirm"]
    assert [web1.stdin(call) for call in (2, 3, 4)] == [runner.text()] * 3


@pytest.mark.parametrize(
    "trouble",
    [
        NO_ROUTE,
        "echo 'Host key verification failed.' >&2",
        "echo 'root@192.0.2.10: Permission denied (publickey).' >&2",
        "echo 'sudo: a password is required' >&2",
    ],
    ids=["away", "another key", "no login", "no sudo"],
)
async def test_once_started_no_transport_error_is_a_verdict(
    web1: Host, make: Make, trouble: str
) -> None:
    """NEW may have broken each of them; the way back mends it, and says what happened."""
    web1.answers(STARTED, code=255)
    for _ in range(5):
        web1.answers(then=trouble, code=255)
    web1.answers(result("rolled-back", exit="22", reason="not confirmed in time"), code=22)
    text = await failure(make())
    assert text.startswith("not deployed: web1: not confirmed in time (")
    assert text.endswith(f"it runs {OLD.path} now; fix the release, then run `pulumi up` again")
    assert web1.calls == 7


async def test_an_attempt_under_way_is_followed_by_its_own_id(web1: Host, make: Make) -> None:
    web1.answers(line("attached", id="20260101T000000-other"), code=255)
    web1.answers(result("awaiting-confirm", id="20260101T000000-other"))
    await make().run()
    assert web1.verbs[1] == ["follow", "20260101T000000-other", "0"]


async def test_a_hostile_id_stays_one_word(web1: Host, make: Make) -> None:
    web1.answers(line("attached", id="x; reboot $(id)"), code=255)
    web1.answers(result("awaiting-confirm", id="x; reboot $(id)"))
    await make().run()
    assert web1.verbs[1] == ["follow", "x; reboot $(id)", "0"]


async def test_a_follow_that_says_nothing_is_asked_again(web1: Host, make: Make) -> None:
    web1.answers(STARTED)
    web1.answers()
    web1.answers(WAITS)
    assert await make().run() is State.AWAITING


# --- bounds --------------------------------------------------------------------------------


def test_the_bound_counts_all_that_the_host_may_take(make: Make) -> None:
    times = Activation(
        timeout=Duration("10s"), check_deadline=Duration("200s"), confirm=Duration("3000s")
    )
    assert make(spec=AttemptSpec(activation=times)).bound == 10 + 200 + 3000 + 10 + 30


IN_TWO_SECONDS = AttemptSpec(
    activation=Activation(
        timeout=Duration("0s"), check_deadline=Duration("0s"), confirm=Duration("2s")
    )
)
SILENT = (
    "not deployed: web1: no result from the host after 2 s{}."
    " its own timer rolls it back; once it answers, run `pulumi up` again"
)


async def test_an_attempt_that_never_rests_is_bounded(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "GRACE", 0.0)
    web1.answers(STARTED, line("progress", state="activating", offset="0"), code=10)
    web1.always(f"echo '{line('progress', state='activating', offset='0')}'; exit 10\n")
    began = time.monotonic()
    assert await failure(make(spec=IN_TWO_SECONDS)) == SILENT.format("")
    assert 1.9 < time.monotonic() - began < 30


async def test_a_host_that_stays_away_is_followed_until_the_bound(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "GRACE", 0.0)
    web1.answers(STARTED, code=255)
    web1.always(f"{NO_ROUTE}; exit 255\n")
    began = time.monotonic()
    text = await failure(make(spec=IN_TWO_SECONDS))
    assert 1.9 < time.monotonic() - began < 30
    assert text.startswith(SILENT.split("{}", maxsplit=1)[0])
    assert "No route to host" in text


async def test_a_call_that_hangs_is_bounded(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "CALL_TIMEOUT", 2.0)
    web1.answers(STARTED, line("state", state="activating", offset="5"), then="exec sleep 60")
    web1.answers(WAITS)
    assert await make().run() is State.AWAITING
    assert web1.verbs[1] == ["follow", ID, "5"]


async def test_a_log_without_end_does_not_fill_memory(web1: Host, make: Make) -> None:
    flood = f"yes '{line('log', text='x' * 200)}' | head -n 5000"
    web1.answers(STARTED, then=f"{flood}; echo '{WAITS}'")
    one = make()
    assert await one.run() is State.AWAITING
    assert len(one._log) == attempt.LOG_LINES
