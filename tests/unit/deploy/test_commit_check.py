"""What a host says of a commit whose answer cannot be used."""

import pytest

from components.pipeline.activation.request import AttemptRequest
from components.pipeline.config.activation import Activation, Mode
from components.pipeline.deploy import commit_check
from components.pipeline.errors import ActivationError
from tests.unit.activation.attempt_host import (
    ID,
    NEW,
    NO_ROUTE,
    OLD,
    OTHER,
    Host,
    Make,
    line,
    result,
)

NOW = "fix the release, then run `pulumi up` again"


def observed(current: str, profile: str, **fields: str) -> str:
    return line("observed", current=current, profile=profile, **fields)


async def test_a_host_that_runs_and_boots_new_has_committed(web1: Host, make: Make) -> None:
    web1.answers("Welcome!", observed(NEW.path, NEW.path))
    await commit_check.ask_attempt(make(), "why")
    assert web1.calls == 1


async def test_a_host_that_awaits_is_aborted(web1: Host, make: Make) -> None:
    web1.answers(observed(NEW.path, OLD.path, attempt=ID))
    web1.answers(line("progress", state="rolling-back"), code=10)
    web1.answers(result("rolled-back", exit="21"), code=21)
    with pytest.raises(ActivationError) as caught:
        await commit_check.ask_attempt(make(), "why")
    assert str(caught.value) == (
        "not deployed: web1: why: rolled back to the previous system."
        f" it runs {OLD.path} now; {NOW}"
    )
    assert web1.calls == 3


async def test_a_commit_that_ends_meanwhile_counts(web1: Host, make: Make) -> None:
    """The attempt is under way while the profile is NEW already."""
    web1.answers(observed(NEW.path, NEW.path, attempt=ID))
    web1.answers(line("refused", id=ID, state="committing"), code=31)
    web1.answers(line("refused", id=ID, state="committed", current=NEW.path), code=31)
    await commit_check.ask_attempt(make(), "why")
    assert web1.calls == 3


async def test_a_host_that_was_rebooted_says_so_at_once(web1: Host, make: Make) -> None:
    web1.answers(observed(OLD.path, OLD.path))
    web1.answers(result("rolled-back", exit="23", reason="the host was rebooted"), code=23)
    with pytest.raises(ActivationError, match="why: the host was rebooted: rolled back to the"):
        await commit_check.ask_attempt(make(), "why")
    assert web1.calls == 2


async def test_a_host_that_is_away_for_a_moment_is_asked_again(web1: Host, make: Make) -> None:
    for _ in range(3):
        web1.answers(then=NO_ROUTE, code=255)
    web1.answers(result("rolled-back", exit="22"), code=22)
    with pytest.raises(ActivationError, match="why: rolled back to the previous system"):
        await commit_check.ask_attempt(make(), "why")


async def test_in_mode_boot_new_has_not_run_yet(web1: Host, make: Make) -> None:
    web1.answers(observed(OLD.path, NEW.path))
    boot = AttemptRequest(activation=Activation(mode=Mode.BOOT))
    await commit_check.ask_attempt(make(request=boot), "why")


# --- without an attempt ---------------------------------------------------------------------


async def test_an_unchanged_host(web1: Host, make: Make) -> None:
    web1.answers(observed(NEW.path, NEW.path))
    await commit_check.ask_host(make().transport, NEW, "why", "what to do")


@pytest.mark.parametrize(
    ("reply", "detail"),
    [
        (observed(OLD.path, OLD.path), f"it runs {OLD.path}, and boots {OLD.path}"),
        (observed(NEW.path, OTHER.path), f"it runs {NEW.path}, and boots {OTHER.path}"),
        (
            observed(NEW.path, NEW.path, attempt=ID),
            f"it runs {NEW.path}, and boots {NEW.path}",
        ),
        (observed("", ""), "it runs no known system, and boots no known system"),
    ],
)
async def test_a_host_that_runs_something_else(
    web1: Host, make: Make, reply: str, detail: str
) -> None:
    web1.answers(reply)
    with pytest.raises(ActivationError) as caught:
        await commit_check.ask_host(make().transport, NEW, "why", "what to do")
    assert str(caught.value) == f"not deployed: web1: why; {detail}. what to do"


async def test_a_host_that_cannot_be_asked(web1: Host, make: Make) -> None:
    web1.answers(then=NO_ROUTE, code=255)
    with pytest.raises(ActivationError, match=r"why; cannot reach the host: .*\. what to do"):
        await commit_check.ask_host(make().transport, NEW, "why", "what to do")
