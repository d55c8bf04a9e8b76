"""Following an attempt, over as many connections as it takes, until its deadline."""

import time

import pytest

from components.pipeline.activation import attempt, log_excerpt, runner
from components.pipeline.activation.protocol import State
from components.pipeline.activation.request import AttemptRequest
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


async def test_following_resumes_where_the_connection_broke(
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
async def test_after_the_start_no_transport_error_ends_the_attempt(
    web1: Host, make: Make, trouble: str
) -> None:
    """NEW may have broken each of them; the rollback repairs it, and says what happened."""
    web1.answers(STARTED, code=255)
    for _ in range(5):
        web1.answers(then=trouble, code=255)
    web1.answers(result("rolled-back", exit="22", reason="not confirmed in time"), code=22)
    text = await failure(make())
    assert text.startswith("not deployed: web1: not confirmed in time (")
    assert text.endswith(f"it runs {OLD.path} now; fix the release, then run `pulumi up` again")
    assert web1.calls == 7


async def test_an_attached_attempt_is_followed_by_its_own_id(web1: Host, make: Make) -> None:
    web1.answers(line("attached", id="20260101T000000-other"), code=255)
    web1.answers(result("awaiting-confirm", id="20260101T000000-other"))
    await make().run()
    assert web1.verbs[1] == ["follow", "20260101T000000-other", "0"]


async def test_a_hostile_id_stays_one_argument(web1: Host, make: Make) -> None:
    web1.answers(line("attached", id="x; reboot $(id)"), code=255)
    web1.answers(result("awaiting-confirm", id="x; reboot $(id)"))
    await make().run()
    assert web1.verbs[1] == ["follow", "x; reboot $(id)", "0"]


async def test_an_empty_follow_is_repeated(web1: Host, make: Make) -> None:
    web1.answers(STARTED)
    web1.answers()
    web1.answers(WAITS)
    assert await make().run() is State.AWAITING


# --- timeouts ------------------------------------------------------------------------------


def test_the_deadline_covers_all_of_the_hosts_timeouts(make: Make) -> None:
    times = Activation(
        timeout=Duration("10s"), check_deadline=Duration("200s"), confirm=Duration("3000s")
    )
    assert make(request=AttemptRequest(activation=times)).bound == 10 + 200 + 3000 + 10 + 30


IN_TWO_SECONDS = AttemptRequest(
    activation=Activation(
        timeout=Duration("0s"), check_deadline=Duration("0s"), confirm=Duration("2s")
    )
)
SILENT = (
    "not deployed: web1: no result from the host after 2 s{}."
    " its own timer rolls it back; once it answers, run `pulumi up` again"
)


async def test_an_attempt_that_never_ends_times_out(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "GRACE", 0.0)
    web1.answers(STARTED, line("progress", state="activating", offset="0"), code=10)
    web1.always(f"echo '{line('progress', state='activating', offset='0')}'; exit 10\n")
    began = time.monotonic()
    assert await failure(make(request=IN_TWO_SECONDS)) == SILENT.format("")
    assert 1.9 < time.monotonic() - began < 30


async def test_an_unreachable_host_is_followed_until_the_deadline(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "GRACE", 0.0)
    web1.answers(STARTED, code=255)
    web1.always(f"{NO_ROUTE}; exit 255\n")
    began = time.monotonic()
    text = await failure(make(request=IN_TWO_SECONDS))
    assert 1.9 < time.monotonic() - began < 30
    assert text.startswith(SILENT.split("{}", maxsplit=1)[0])
    assert "No route to host" in text


async def test_a_hanging_call_times_out(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "CALL_TIMEOUT", 5.0)
    web1.answers(STARTED, line("state", state="activating", offset="5"), then="exec sleep 60")
    web1.answers(WAITS)
    assert await make().run() is State.AWAITING
    assert web1.verbs[1] == ["follow", ID, "5"]


async def test_an_endless_log_does_not_fill_memory(web1: Host, make: Make) -> None:
    flood = f"yes '{line('log', text='x' * 200)}' | head -n 5000"
    web1.answers(STARTED, then=f"{flood}; echo '{WAITS}'")
    one = make()
    assert await one.run() is State.AWAITING
    assert len(one._log.lines) == log_excerpt.LIMIT


async def test_a_rollback_that_goes_on_is_told_from_silence(
    web1: Host, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "GRACE", 0.0)
    web1.answers(line("progress", state="rolling-back", offset="0"), code=10)
    web1.always(f"{NO_ROUTE}; exit 255\n")
    last = await make(request=IN_TWO_SECONDS).abort_and_wait("why")
    assert last
    assert last.state is State.ROLLING_BACK
