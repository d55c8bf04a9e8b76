"""Which lines of an activation's log a failure shows."""

from collections.abc import Iterable

import pytest

from components.pipeline.activation.log_excerpt import LIMIT, LogExcerpt

ROLLBACK = "--- flakeup: rolling back to /nix/store/x"
STATUS = (
    "\N{MULTIPLICATION SIGN} broken.service - A unit that fails",
    "     Loaded: loaded (/etc/systemd/system/broken.service; enabled)",
    "     Active: failed (Result: exit-code)",
)


def shown(lines: Iterable[str]) -> list[str]:
    excerpt = LogExcerpt()
    for line in lines:
        excerpt.add(line)
    return list(excerpt.lines)


def test_the_end_of_the_log() -> None:
    lines = [f"line {number}" for number in range(50)]
    assert shown(lines) == lines[-LIMIT:]
    assert shown([]) == []


def test_what_the_rollback_prints_is_left_out() -> None:
    old = ["--- flakeup: activating /nix/store/x", "activating the configuration...", "of OLD"]
    assert shown(["of NEW", ROLLBACK, *old]) == ["of NEW"]
    assert shown([ROLLBACK, *old]) == []


def test_only_the_last_activation_of_new_is_shown() -> None:
    """The runner starts it again while somebody else holds NixOS's lock."""
    again = "--- flakeup: activating /nix/store/x"
    assert shown([again, "Could not acquire lock", *STATUS, again, "of NEW"]) == ["of NEW"]


@pytest.mark.parametrize("sign", "●○x*")
def test_the_lines_before_the_status_of_units(sign: str) -> None:
    status = [f"{sign} broken.service - A unit that fails", *[f"     {n}" for n in range(30)]]
    said = ["Failed to run activate script", "warning: the following units failed: broken.service"]
    assert shown([*said, *status]) == said


def test_a_line_that_only_looks_like_a_status() -> None:
    lines = ["a sentence about a.service", "- a list of things", "x y"]
    assert shown(lines) == lines


def test_the_status_if_nothing_was_said_before() -> None:
    assert shown(["", *STATUS]) == list(STATUS)
