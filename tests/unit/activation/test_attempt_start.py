"""How an attempt starts, on usable and unusable hosts."""

import re
from datetime import UTC, datetime

import pytest

from components.pipeline.activation import protocol, runner
from components.pipeline.activation.attempt import Absent, new_id
from components.pipeline.activation.protocol import State
from components.pipeline.errors import HostError, HostKeyError, ReplyError, UnreachableError
from tests.unit.activation.attempt_host import (
    ID,
    NEW,
    NO_ROUTE,
    OLD,
    REQUEST,
    STARTED,
    WAITS,
    Host,
    Make,
    failure,
    line,
    result,
)


async def test_start_to_awaiting_confirm(web1: Host, make: Make, progress: list[str]) -> None:
    web1.answers(
        STARTED,
        line("state", state="activating", stage="", offset="0"),
        line("log", text="stopping the following units: app"),
        line("progress", state="activating", offset="34"),
        line("state", state="checking", stage="", offset="34"),
        line("state", state="checking", stage="2/3", offset="34"),
        line("state", state="awaiting-confirm", stage="2/3", offset="90"),
        WAITS,
    )
    assert await make().run() is State.AWAITING
    assert progress == ["activating", "checking", "checking 2/3", "awaiting-confirm"]
    (words,) = web1.arguments()
    assert words[:2] == ["/bin/sh", "-c"]
    name = protocol.runner_name(runner.text())
    assert words[3:] == [
        "flakeup", str(len(runner.text())), name, "start", ID, OLD.path, NEW.path,
    ]  # fmt: skip
    assert web1.stdin(1) == runner.text() + REQUEST.text


async def test_as_a_user_with_sudo(web1: Host, make: Make) -> None:
    web1.answers(STARTED, WAITS)
    await make(user="deploy").run()
    assert web1.arguments()[0][:5] == ["sudo", "-n", "--", "/bin/sh", "-c"]


@pytest.mark.parametrize("state", ["committing", "committed"])
async def test_a_host_that_is_already_committing_is_fine(
    web1: Host, make: Make, state: str
) -> None:
    web1.answers(line("attached", id="x-1"), result(state, id="x-1"))
    assert await make().run() is State(state)


async def test_unchanged_is_none(web1: Host, make: Make) -> None:
    web1.answers(line("unchanged", new=NEW.path))
    assert await make().run() is None


async def test_absent(web1: Host, make: Make) -> None:
    web1.answers(line("absent", new=NEW.path), code=11)
    with pytest.raises(Absent):
        await make().run()
    assert web1.calls == 1


async def test_after_a_copy_the_same_attempt_starts_again(web1: Host, make: Make) -> None:
    web1.answers(line("absent", new=NEW.path), code=11)
    web1.answers(STARTED, WAITS)
    one = make()
    with pytest.raises(Absent):
        await one.run()
    assert await one.run() is State.AWAITING
    assert web1.verbs == [["start", ID, OLD.path, NEW.path]] * 2
    assert web1.stdin(2) == runner.text() + REQUEST.text


# --- before the attempt has started, an unusable host is reported soon ----------------------


async def test_an_unreachable_host_is_called_three_times(web1: Host, make: Make) -> None:
    web1.always(f"{NO_ROUTE}; exit 255\n")
    assert (await failure(make(), UnreachableError)).startswith("cannot reach the host: web1 (")
    assert web1.verbs == [["start", ID, OLD.path, NEW.path]] * 3


async def test_a_host_that_answers_on_the_third_call(web1: Host, make: Make) -> None:
    web1.answers(then=NO_ROUTE, code=255)
    web1.answers(then=NO_ROUTE, code=255)
    web1.answers(STARTED, WAITS)
    assert await make().run() is State.AWAITING
    assert web1.stdin(3) == runner.text() + REQUEST.text


@pytest.mark.parametrize(
    ("stderr", "kind", "message"),
    [
        ("Host key verification failed.", HostKeyError, "host key mismatch: web1"),
        ("Permission denied (publickey).", HostError, "the login was refused: web1"),
        ("sudo: a password is required", HostError, "sudo was refused: web1"),
    ],
)
async def test_a_wrong_key_or_a_refused_login_is_not_retried(
    web1: Host, make: Make, stderr: str, kind: type[HostError], message: str
) -> None:
    web1.answers(then=f"echo '{stderr}' >&2", code=255)
    assert (await failure(make(), kind)).startswith(message)
    assert web1.calls == 1


async def test_a_host_that_cannot_take_the_runner(web1: Host, make: Make) -> None:
    web1.answers(then="echo 'head: write error: No space left on device' >&2", code=1)
    assert "No space left on device" in await failure(make(), HostError)
    assert web1.calls == 1


async def test_a_login_shell_that_prints(web1: Host, make: Make) -> None:
    web1.answers("Welcome!")
    assert "not JSON: 'Welcome!'" in await failure(make(), ReplyError)
    assert web1.calls == 1


async def test_a_login_shell_that_runs_nothing(web1: Host, make: Make) -> None:
    web1.answers()
    assert await failure(make(), ReplyError) == (
        "no reply: web1: it printed nothing. log in by hand: does its login shell run commands?"
    )
    assert web1.calls == 1


# --- ids -----------------------------------------------------------------------------------


def test_ids_sort_by_time_and_differ() -> None:
    early, late = (
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
    )
    assert re.fullmatch(r"20260102T030405-[0-9a-f]{8}", new_id(early))
    assert new_id(early) < new_id(late)
    assert new_id(early) != new_id(early)
