"""Unusable replies: they are not trusted, and the attempt is aborted."""

import pytest

from components.pipeline.activation import runner
from components.pipeline.activation.protocol import State
from components.pipeline.activation.request import AttemptRequest
from components.pipeline.config.activation import Activation, Mode
from components.pipeline.errors import ReplyError
from tests.unit.activation.attempt_host import (
    ABORTED,
    ID,
    NEW,
    OLD,
    OTHER,
    STARTED,
    WAITS,
    Host,
    Make,
    failure,
    line,
    result,
)


@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        ("\x1b[2Jnonsense", "not JSON: '\\x1b[2Jnonsense'"),
        ('["result"]', "not an event: '[\"result\"]'"),
        (f"{WAITS} {WAITS}", 'not JSON: \'{"schema": 1, '),
        (line("result").replace("1", "2", 1), "unknown schema: "),
    ],
    ids=["not JSON", "no event", "two in one line", "future schema"],
)
async def test_garbage_instead_of_the_result_aborts_the_attempt(
    web1: Host, make: Make, garbage: str, why: str
) -> None:
    web1.answers(STARTED, line("state", state="activating"), garbage)
    web1.answers(ABORTED, code=31)
    text = await failure(make(), ReplyError)
    assert text.startswith(f"unusable reply: web1: {why}")
    assert text.endswith("the host is not confirmed; check what its login shell prints")
    assert web1.verbs[1:] == [["abort", ID, f"an unusable reply: {text}"]]
    assert web1.stdin(2) == runner.text()


async def test_garbage_in_a_later_call_aborts_it_too(web1: Host, make: Make) -> None:
    web1.answers(STARTED, code=255)
    web1.answers("Welcome!")
    web1.answers(ABORTED, code=31)
    assert "not JSON: 'Welcome!'" in await failure(make(), ReplyError)
    assert [words[0] for words in web1.verbs] == ["start", "follow", "abort"]


async def test_garbage_is_reported_even_if_the_host_cannot_be_told(web1: Host, make: Make) -> None:
    web1.answers(STARTED, "nonsense")
    web1.answers("more nonsense", code=255)
    assert "not JSON: 'nonsense'" in await failure(make(), ReplyError)
    assert web1.calls == 2


@pytest.mark.parametrize("code", [1, 126])
async def test_garbage_of_a_call_that_fails_is_quoted(web1: Host, make: Make, code: int) -> None:
    web1.answers("This account is not available.", code=code)
    assert "not JSON: 'This account is not available.'" in await failure(make(), ReplyError)


# --- a login shell that prints --------------------------------------------------------------


async def test_a_greeting_does_no_harm(web1: Host, make: Make) -> None:
    greeting = ("Welcome to web1!", "", "\x1b[32m5 updates\x1b[0m", '{"a": "tool"}')
    progress = line("progress", state="checking", offset="7")
    web1.answers(*greeting, STARTED, "", progress, "bye", code=10)
    web1.answers(*greeting, line("state", state="awaiting-confirm"), WAITS, "bye")
    assert await make().run() is State.AWAITING
    assert [words[0] for words in web1.verbs] == ["start", "follow"]


async def test_a_greeting_without_a_newline_hides_one_event(web1: Host, make: Make) -> None:
    web1.answers(f"Welcome! {STARTED}", WAITS)
    assert await make().run() is State.AWAITING


async def test_an_abort_is_answered_below_a_greeting(web1: Host, make: Make) -> None:
    web1.answers("Welcome!", result("rolled-back", exit="21"), "bye", code=21)
    last = await make().abort("why")
    assert last
    assert last.state is State.ROLLED_BACK


async def test_endless_greetings_abort_the_attempt(web1: Host, make: Make) -> None:
    web1.answers(STARTED, then="yes Welcome!")
    web1.answers(ABORTED, code=31)
    assert "not JSON: 'Welcome!'" in await failure(make(), ReplyError)
    assert [words[0] for words in web1.verbs] == ["start", "abort"]


async def test_an_endless_line_aborts_it(web1: Host, make: Make) -> None:
    """This is no broken connection: whatever prints such a line is not the runner."""
    web1.answers(STARTED, then="head -c 1000000 /dev/zero | tr '\\0' x; echo")
    web1.answers(result("rolled-back", exit="21"), code=21)
    text = await failure(make(), ReplyError)
    assert text.startswith("unusable reply: web1: a line of more than 65536 bytes. the host is not")
    assert [words[0] for words in web1.verbs] == ["start", "abort"]


# --- replies about something else ----------------------------------------------------------


FOREIGN = "the host is not confirmed; find out what else replies there"


@pytest.mark.parametrize(
    ("last", "detail"),
    [
        pytest.param(
            result("awaiting-confirm", id="20260101T000000-other"),
            f"it reports attempt '20260101T000000-other', not {ID}",
            id="another attempt",
        ),
        pytest.param(
            result("awaiting-confirm", id=""),
            f"it reports attempt '', not {ID}",
            id="no attempt",
        ),
        pytest.param(
            result("committed", new=OTHER.path, current=OTHER.path),
            f"it reports '{OTHER.path}', not {NEW.path}",
            id="another system",
        ),
        pytest.param(
            result("rolled-back", new="/etc/passwd"),
            f"it reports '/etc/passwd', not {NEW.path}",
            id="no system",
        ),
        pytest.param(
            result("awaiting-confirm", current=OLD.path),
            f"it awaits confirmation, but runs '{OLD.path}'",
            id="waits, and runs OLD",
        ),
        pytest.param(
            result("committing", current=OTHER.path),
            f"it awaits confirmation, but runs '{OTHER.path}'",
            id="commits, and runs another",
        ),
        pytest.param(
            result("committed", current=""),
            "it awaits confirmation, but runs ''",
            id="committed, and runs nothing of ours",
        ),
    ],
)
async def test_a_reply_about_something_else_is_refused(
    web1: Host, make: Make, last: str, detail: str
) -> None:
    web1.answers(STARTED, last)
    web1.answers(ABORTED, code=31)
    text = await failure(make(), ReplyError)
    assert text == f"unusable reply: web1: {detail}. {FOREIGN}"
    assert web1.verbs[1:] == [["abort", ID, f"an unusable reply: {text}"]]


@pytest.mark.parametrize(
    "first",
    [
        line("started", id="20260102T030405-ffffffff", new=NEW.path),
        line("started", id=ID, new=OTHER.path),
        line("unchanged", new=OTHER.path),
    ],
    ids=["another attempt", "another system", "unchanged of another system"],
)
async def test_a_start_of_another_attempt_is_refused(web1: Host, make: Make, first: str) -> None:
    web1.answers(first)
    web1.answers(result("rolled-back", exit="21"), code=21)
    assert "unusable reply: web1: it reports " in await failure(make(), ReplyError)


async def test_two_results_are_refused(web1: Host, make: Make) -> None:
    web1.answers(STARTED, result("rolled-back", exit="20"), WAITS)
    web1.answers(ABORTED)
    assert await failure(make(), ReplyError) == (
        "unusable reply: web1: it reports two results, 'result' and 'result'."
        " the host is not confirmed; find out what else replies there"
    )
    assert web1.verbs[1][0] == "abort"


@pytest.mark.parametrize("state", ["awaiting-confirm", "committing", "committed"])
async def test_in_mode_boot_the_host_still_runs_the_old_system(
    web1: Host, make: Make, state: str
) -> None:
    web1.answers(STARTED, result(state, current=OLD.path))
    boot = AttemptRequest(activation=Activation(mode=Mode.BOOT))
    assert await make(request=boot).run() is State(state)
