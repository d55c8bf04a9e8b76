"""What a commit printed: the runner's event, among whatever else its login shell prints."""

import json

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from components.pipeline.activation import commit_reply, protocol
from components.pipeline.errors import ReplyError
from tests.unit.hosts import toplevel

OLD, NEW = toplevel("a"), toplevel("b")


def line(**fields: object) -> str:
    return json.dumps({"schema": 1, "event": "committed"} | fields)


def outcome(stdout: object) -> str:
    return commit_reply.outcome(commit_reply.parse("web1", stdout))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"event": "committed", "outcome": "committed"}, "committed"),
        (
            {"event": "committed", "outcome": "committed, for the next start"},
            "committed, for the next start",
        ),
        ({"event": "committed"}, "committed"),
        ({"event": "unchanged", "outcome": "unchanged"}, "unchanged"),
    ],
)
def test_outcome(fields: dict[str, str], expected: str) -> None:
    assert outcome(line(**fields)) == expected


@pytest.mark.parametrize(
    "stdout",
    [
        f"Welcome to web1!\n{line()}",
        f"Welcome to web1!\n\n{line()}\n\nbye\n",
        f"\x1b[32mweb1\x1b[0m {line()}",
        f'{{"event":"of another tool"}}\n{line()}\n{{"schema":1,"event":',
        f"{line(event='refused')}\n{line()}",
        "motd\n" * 1_000_000 + line(),
    ],
    ids=["before", "around", "in the same line", "other JSON", "two events", "a flood"],
)
def test_what_a_login_shell_prints_does_no_harm(stdout: str) -> None:
    assert outcome(stdout) == "committed"


@pytest.mark.parametrize(
    "event",
    ["started", "attached", "state", "progress", "result", "refused", "failed", "absent", "danced"],
)
def test_only_two_events_are_a_successful_commit(event: str) -> None:
    with pytest.raises(ReplyError) as caught:
        outcome(line(event=event, outcome="committed", state="committed", new=NEW.path))
    assert str(caught.value) == (
        f"unusable reply: web1: the commit printed '{event}'."
        " check which program answers on that host"
    )


@pytest.mark.parametrize(
    ("stdout", "detail"),
    [
        (None, "the commit printed nothing"),
        (7, "the commit printed nothing"),
        ("\n ", "the commit printed nothing"),
        ("committed", "the commit printed no reply: 'committed'"),
        ('{"event":"committed"}', 'the commit printed no reply: \'{"event":"committed"}\''),
        (line(schema=2), 'the commit printed no reply: \'{"schema": 2, '),
        ("\x1b[2J" * 1_000_000, "the commit printed no reply: '\\x1b[2J"),
    ],
)
def test_output_without_an_event_is_not_a_commit(stdout: object, detail: str) -> None:
    with pytest.raises(ReplyError) as caught:
        outcome(stdout)
    text = str(caught.value)
    assert text.startswith(f"unusable reply: web1: {detail}")
    assert text.isprintable()
    assert len(text) < 300


@examples(max_examples=200, deadline=None)
@given(st.text(max_size=40).filter(lambda event: event not in {"committed", "unchanged"}))
def test_any_other_event_is_not_a_commit(event: str) -> None:
    with pytest.raises(ReplyError) as caught:
        outcome(line(event=event, outcome="committed"))
    assert str(caught.value).isprintable()


def test_the_commit_of_another_system_is_none_of_this_one() -> None:
    assert commit_reply.parse("web1", line(toplevel=NEW.path), NEW).event == "committed"
    for other in (OLD.path, "", "/etc"):
        with pytest.raises(ReplyError, match=f"it committed '{other}', not {NEW.path}"):
            commit_reply.parse("web1", line(toplevel=other), NEW)


# --- a commit that failed -------------------------------------------------------------------


@pytest.mark.parametrize("after", ["and no more", "\nConnection closed.\n"])
def test_the_reason_of_a_failed_commit(after: str) -> None:
    refusal = line(event="refused", reason="no attempt awaits confirmation", current=OLD.path)
    text = f"Process exited with status 31: running x:\nWelcome!\n{refusal}\n{after}"
    assert commit_reply.failure("web1", text) == (
        "not deployed: web1: no attempt awaits confirmation;"
        f" it runs {OLD.path} now; run `pulumi up` again"
    )


@pytest.mark.parametrize(
    "text",
    ["", "Process exited with status 1", '{"schema":1,"event":', line(event="refused")],
)
def test_a_failed_commit_without_a_reason(text: str) -> None:
    assert commit_reply.failure("web1", text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 error occurred:\n\t* dial: connection refused\n\n", "* dial: connection refused"),
        ("", "no reason given"),
        ("a\x1b[31m", "a\\x1b[31m"),
    ],
)
def test_the_last_line_of_an_error(text: str, expected: str) -> None:
    assert commit_reply.last_line(text) == expected


def test_the_end_of_what_was_printed_is_searched() -> None:
    text = line() + "x" * protocol.SEARCHED
    with pytest.raises(ReplyError):
        outcome(text)
