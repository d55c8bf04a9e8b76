"""How an attempt ends, and its message; more messages are in test_outcome."""

from dataclasses import replace

import pytest

from tests.unit.activation.attempt_host import (
    ID,
    NO_ROUTE,
    OLD,
    OTHER,
    REQUEST,
    STARTED,
    Host,
    Make,
    failure,
    line,
    result,
)


async def test_rolled_back(web1: Host, make: Make) -> None:
    web1.answers(
        STARTED,
        line("log", text="activating the configuration..."),
        line("state", state="rolling-back", offset="33"),
        line("journal", text="Starting A unit that fails..."),
        line("journal", text="cannot read its \x1b[31mconfiguration | table |"),
        result(
            "rolled-back",
            reason="unit broken.service failed",
            exit="21",
            units="broken.service ",
        ),
        code=21,
    )
    assert await failure(make()) == (
        "not deployed: web1: unit broken.service failed: rolled back to the previous system\n"
        "  Starting A unit that fails...\n"
        "  cannot read its \\x1b[31mconfiguration | table |\n"
        f"it runs {OLD.path} now; fix the release, then run `pulumi up` again"
    )
    assert web1.calls == 1


async def test_at_most_twenty_journal_lines_are_shown(web1: Host, make: Make) -> None:
    web1.answers(
        STARTED,
        *(line("journal", text=f"line {number}") for number in range(1, 31)),
        result("rolled-back", reason="unit broken.service failed", exit="21"),
        code=21,
    )
    shown = (await failure(make())).splitlines()
    assert shown[1:-1] == [f"  line {number}" for number in range(11, 31)]


async def test_the_output_of_a_host_may_be_kept_out_of_messages(web1: Host, make: Make) -> None:
    web1.answers(
        STARTED,
        line("log", text="password: 1234"),
        line("journal", text="password: 5678"),
        result("rolled-back", reason="unit broken.service failed", exit="21"),
        code=21,
    )
    quiet = replace(REQUEST, activation=replace(REQUEST.activation, show_output=False))
    assert await failure(make(request=quiet)) == (
        "not deployed: web1: unit broken.service failed: rolled back to the previous system. "
        f"it runs {OLD.path} now; fix the release, then run `pulumi up` again"
    )


async def test_without_a_failed_unit_the_end_of_the_log_is_shown(web1: Host, make: Make) -> None:
    web1.answers(
        STARTED,
        *(line("log", text=f"line {number}") for number in range(1, 40)),
        result("rolled-back", reason="the activation exited with status 2", exit="20"),
        code=20,
    )
    text = await failure(make())
    assert text.startswith(
        "not deployed: web1: the activation exited with status 2:"
        " rolled back to the previous system\n"
        "  line 20\n"
    )
    assert text.endswith(
        f"  line 39\nit runs {OLD.path} now; fix the release, then run `pulumi up` again"
    )


@pytest.mark.parametrize(
    ("last", "code", "expected"),
    [
        (result("blocked", reason="another lock"), 30, "refused: another lock. nothing was"),
        (result("rollback-failed", reason="why"), 50, "why: the rollback has not succeeded"),
        (line("blocked", id=ID, reason="its own checks"), 30, "refused: its own checks. nothing"),
        (line("refused", reason="the lock"), 75, "refused: the lock. nothing was changed"),
        (line("held", id="x", by="ci"), 75, "it is being deployed by ci"),
        (line("drifted", current=OTHER.path), 31, f"it runs {OTHER.path}, and the last"),
        (line("died", state="activating"), 50, "the activation stopped in state activating"),
        (line("danced"), 0, "unknown reply: danced"),
    ],
)
async def test_final_replies(web1: Host, make: Make, last: str, code: int, expected: str) -> None:
    web1.answers(last, code=code)
    assert (await failure(make())).startswith(f"not deployed: web1: {expected}")
    assert web1.calls == 1


async def test_a_broken_connection_is_not_added_to_another_reason(web1: Host, make: Make) -> None:
    web1.answers(STARTED, then=NO_ROUTE, code=255)
    web1.answers(result("rolled-back", exit="21", reason="check web: got 500"), code=21)
    assert await failure(make()) == (
        "not deployed: web1: check web: got 500: rolled back to the previous system."
        f" it runs {OLD.path} now; fix the release, then run `pulumi up` again"
    )


async def test_units_that_failed_before_are_reported(web1: Host, make: Make) -> None:
    web1.answers(STARTED, result("awaiting-confirm", failedBefore="old.service"))
    one = make()
    await one.run()
    assert one.failed_before == "old.service"


async def test_warnings_of_the_activation_are_kept(web1: Host, make: Make) -> None:
    warnings = "warning: user activation for deploy failed | Failed to reload x: \x1b[2J"
    web1.answers(STARTED, result("awaiting-confirm", warnings=warnings))
    one = make()
    await one.run()
    assert one.warnings == warnings.replace("\x1b", "\\x1b")


async def test_the_rollback_is_not_quoted(web1: Host, make: Make) -> None:
    web1.answers(
        STARTED,
        line("log", text="--- flakeup: activating NEW"),
        line("log", text="Failed to run activate script"),
        line("log", text="x broken.service - A unit that fails"),
        line("log", text="     Loaded: loaded"),
        line("log", text="--- flakeup: rolling back"),
        line("log", text="--- flakeup: activating OLD"),
        line("log", text="a line of OLD"),
        result("rolled-back", reason="the activation exited with status 2", exit="20"),
        code=20,
    )
    shown = (await failure(make())).splitlines()
    assert shown[1:-1] == ["  Failed to run activate script"]
