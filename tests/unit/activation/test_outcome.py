"""The message for each result of an attempt that did not reach NEW."""

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from components.pipeline.activation import outcome
from components.pipeline.activation.protocol import Reply
from components.pipeline.errors import UnreachableError
from tests.unit.hosts import toplevel

OLD, NEW, OTHER = (toplevel(letter).path for letter in "abc")
AGAIN = "fix the release, then run `pulumi up` again"
ANYWAY = (
    "to deploy this release anyway, `pulumi up --replace` web1-switch (the URN is in the preview)"
)
GOES_ON = (
    "goes on trying to roll back by itself; log in and look (`journalctl -u 'flakeup-*'`),"
    f" or {AGAIN}"
)
AWAY = UnreachableError("cannot reach the host: web1: No route to host. check address")


def reply(event: str, **fields: str) -> Reply:
    return Reply(event=event, fields=fields)


def result(state: str, **fields: str) -> Reply:
    return reply("result", **({"state": state, "current": OLD, "old": OLD, "new": NEW} | fields))


def text(last: Reply, log: tuple[str, ...] = (), trouble: UnreachableError | None = None) -> str:
    return str(outcome.failure("web1", last, log, trouble))


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(
            result("rolled-back", exit="20", reason="the activation exited with status 2"),
            "the activation exited with status 2: rolled back to the previous system."
            f" it runs {OLD} now; {AGAIN}",
            id="rolled back",
        ),
        pytest.param(
            result("rolled-back", exit="21", reason="check web: expected status 200, got 500"),
            "check web: expected status 200, got 500: rolled back to the previous system."
            f" it runs {OLD} now; {AGAIN}",
            id="a check",
        ),
        pytest.param(
            result("rolled-back", exit="20"),
            f"no reason given: rolled back to the previous system. it runs {OLD} now; {AGAIN}",
            id="no reason",
        ),
        pytest.param(
            result("rollback-failed", exit="50", current=NEW, reason="the activation failed"),
            "the activation failed: the rollback has not succeeded: the previous system could not"
            f" be activated. it runs {NEW} now, and {GOES_ON}",
            id="rollback failed",
        ),
        pytest.param(
            result("rollback-failed", old="", current=NEW, reason="check web: no answer in 5 s"),
            "check web: no answer in 5 s: and there is no previous system to roll back to."
            f" it runs {NEW} now; {AGAIN}",
            id="nothing to go back to",
        ),
        pytest.param(
            result("rollback-failed", exit="50", current="", reason="the activation failed"),
            "the activation failed: the rollback has not succeeded: the previous system could not"
            f" be activated. it runs no known system now, and {GOES_ON}",
            id="no known system",
        ),
        pytest.param(
            result(
                "rollback-failed",
                exit="50",
                reason="the commit was terminated (timeout)",
                trouble="the boot loader could not be restored (status 1)",
                tries="3",
            ),
            "the commit was terminated (timeout): the rollback has not succeeded after 3 tries:"
            f" the boot loader could not be restored (status 1). it runs {OLD} now, and {GOES_ON}",
            id="boot loader not put back",
        ),
        pytest.param(
            result("rollback-failed", current=NEW, reason="why", trouble="it runs x", tries="1"),
            f"why: the rollback has not succeeded after 1 try: it runs x. it runs {NEW} now, and"
            f" {GOES_ON}",
            id="the first try failed",
        ),
        pytest.param(
            result("superseded", exit="31", current=OTHER, reason=f"somebody activated {OTHER}"),
            f"somebody activated {OTHER}: that was left as it is. it runs {OTHER} now; {ANYWAY}",
            id="superseded",
        ),
        pytest.param(
            result("superseded", exit="31", current=NEW, profile=OTHER, reason="the default is x"),
            "the default is x: that was left as it is."
            f" it runs {NEW} and boots {OTHER} now; {ANYWAY}",
            id="another boot default",
        ),
        pytest.param(
            result("blocked", exit="30", reason="the init interface changed"),
            "refused: the init interface changed. nothing was changed",
            id="blocked while it was activated",
        ),
        pytest.param(
            reply("blocked", reason="built for aarch64-linux, and this host is x86_64"),
            "refused: built for aarch64-linux, and this host is x86_64. nothing was changed",
            id="blocked before",
        ),
        pytest.param(
            reply("refused", reason="another flakeup call holds the lock"),
            "refused: another flakeup call holds the lock. nothing was changed",
            id="refused",
        ),
        pytest.param(
            reply("held", id="x", new=OTHER, by="ci@runner (pid 1)", state="activating"),
            f"it is being deployed by ci@runner (pid 1) (activating, to {OTHER})."
            " wait until it ends, then run `pulumi up` again",
            id="held",
        ),
        pytest.param(
            reply("held", by="another switch-to-configuration", new=""),
            "it is being deployed by another switch-to-configuration."
            " wait until it ends, then run `pulumi up` again",
            id="held by a switch",
        ),
        pytest.param(
            reply("held"),
            "it is being deployed by somebody else. wait until it ends, then run `pulumi up` again",
            id="held by nobody knows",
        ),
        pytest.param(
            reply("drifted", current=OTHER, old=OLD, new=NEW),
            f"it runs {OTHER}, and the last deployment was {OLD}."
            " to deploy this release anyway, `pulumi up --replace` web1-switch"
            " (the URN is in the preview)",
            id="drifted",
        ),
        pytest.param(
            reply("died", state="activating", current=NEW),
            "the activation stopped in state activating."
            f" the host runs {NEW}; run `pulumi up` again",
            id="died",
        ),
        pytest.param(
            reply("danced"),
            "unknown reply: danced. update flakeup",
            id="unknown",
        ),
    ],
)
def test_endings(last: Reply, expected: str) -> None:
    assert text(last) == f"not deployed: web1: {expected}"


# --- why it was not confirmed ---------------------------------------------------------------


def test_the_connection_error_explains_a_missing_confirmation() -> None:
    last = result("rolled-back", exit="22", reason="not confirmed in time")
    assert text(last, trouble=AWAY) == (
        "not deployed: web1: not confirmed in time (cannot reach the host: web1:"
        " No route to host. check address): rolled back to the previous system."
        f" it runs {OLD} now; {AGAIN}"
    )


@pytest.mark.parametrize("code", ["", "0", "20", "21", "23", "24", "30", "31", "50"])
def test_the_connection_error_explains_no_other_result(code: str) -> None:
    """A connection that broke meanwhile did no harm."""
    last = result("rolled-back", exit=code, reason="why")
    assert text(last, trouble=AWAY) == text(last)
    assert "No route" not in text(last, trouble=AWAY)


# --- what is shown of the unit, or of the log -----------------------------------------------


def test_journal_lines_of_the_unit() -> None:
    last = result("rolled-back", exit="21", reason="unit a.service failed")
    assert text(last, ("one", "two")) == (
        "not deployed: web1: unit a.service failed: rolled back to the previous system\n"
        "  one\n"
        "  two\n"
        f"it runs {OLD} now; {AGAIN}"
    )


@pytest.mark.parametrize("state", ["rolled-back", "rollback-failed", "blocked"])
def test_lines_are_shown_for_each_final_state(state: str) -> None:
    shown = text(result(state, reason="why"), ("one", "two")).splitlines()
    assert shown[1:-1] == ["  one", "  two"]


def test_a_long_reason_keeps_its_end() -> None:
    shown = text(result("rolled-back", reason="why"), (f"{'x' * 5000}the end",))
    assert len(shown) < outcome.DETAIL_LIMIT + 300
    assert "the end" in shown


# --- no result ------------------------------------------------------------------------------


def test_no_result() -> None:
    assert str(outcome.no_result("web1", 870.4, None)) == (
        "not deployed: web1: no result from the host after 870 s."
        " its own timer rolls it back; once it answers, run `pulumi up` again"
    )
    assert "after 870 s (cannot reach the host: web1: No route" in str(
        outcome.no_result("web1", 870.4, AWAY)
    )


# --- any reply ------------------------------------------------------------------------------

FIELDS = st.dictionaries(
    st.sampled_from(
        ["state", "exit", "reason", "current", "trouble", "tries", "profile", "by", "new", "old"]
    ),
    st.text(max_size=30) | st.sampled_from(["rolled-back", "rollback-failed", "blocked", "22"]),
)
EVENTS = st.sampled_from(["result", "held", "drifted", "blocked", "refused", "died", "danced"])


@examples(max_examples=300, deadline=None)
@given(EVENTS, FIELDS)
def test_any_reply_gives_one_message_about_the_host(event: str, fields: dict[str, str]) -> None:
    """A parsed reply is printable; its message stays so, and names the host first."""
    printed = {key: value.encode("unicode_escape").decode() for key, value in fields.items()}
    shown = text(reply(event, **printed), ("a line",), AWAY)
    assert shown.startswith("not deployed: web1: ")
    assert all(line.isprintable() for line in shown.split("\n"))


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (None, "why. the host could not be told; its own timer rolls it back; " + AGAIN),
        (
            result("rolled-back"),
            f"why: rolled back to the previous system. it runs {OLD} now; {AGAIN}",
        ),
        (
            reply("refused", state="committed", current=NEW),
            f"why. it runs {NEW}: it had already committed; run `pulumi up` again",
        ),
        (
            result("rollback-failed", current=NEW, trouble="its bus is gone"),
            (
                "why: the rollback has not succeeded: its bus is gone."
                f" it runs {NEW} now, and {GOES_ON}"
            ),
        ),
        (
            result("superseded", current=OTHER),
            (f"why: that was left as it is. it runs {OTHER} now; {ANYWAY}"),
        ),
        (
            reply("progress", state="rolling-back"),
            (
                "why: it is still rolling back."
                " it goes on by itself; once it has ended, run `pulumi up` again"
            ),
        ),
        (
            result("rolled-back", exit="23", reason="the host was rebooted"),
            (
                "why: the host was rebooted: rolled back to the previous system."
                f" it runs {OLD} now; {AGAIN}"
            ),
        ),
    ],
    ids=[
        "no answer",
        "rolled back",
        "committed",
        "rollback failed",
        "superseded",
        "going on",
        "rebooted",
    ],
)
def test_aborted(last: Reply | None, expected: str) -> None:
    assert str(outcome.aborted("web1", "why", last)) == f"not deployed: web1: {expected}"
