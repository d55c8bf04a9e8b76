"""Output that `incus exec` loses."""

import os
from pathlib import Path

import pytest

from harness.incus import HarnessError, Incus

FAKE = """#!/bin/sh
# incus --project P exec INSTANCE -T -- COMMAND...: loses the output of the first LOST calls.
echo call >>"$CALLS"
shift 6
out=$("$@"; echo "status $?")
[ "$(wc -l <"$CALLS")" -gt "$LOST" ] && printf %s "${out%status*}" || printf %s "${out%%[!a]*}"
exit "${out##*status }"
"""


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls"


def incus(calls: Path, lost: int) -> Incus:
    program = calls.with_name("incus")
    program.write_text(FAKE)
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "CALLS": str(calls), "LOST": str(lost)}
    return Incus(project="p", image="", environment=environment)


@pytest.mark.parametrize("lost", [0, 1, 4])
@pytest.mark.parametrize("text", ["abc", "a\n\nb\n", "", "\n"])
def test_lost_output_is_asked_for_again(calls: Path, lost: int, text: str) -> None:
    """Also where a part of it arrives; a command that prints nothing is run once."""
    assert incus(calls, lost).query("web1", "printf", "%b", text) == text
    assert len(calls.read_text().splitlines()) == lost + 1


def test_output_that_is_lost_each_time(calls: Path) -> None:
    with pytest.raises(HarnessError, match="`incus exec web1` lost the output of echo 'a b' 5"):
        incus(calls, 9).query("web1", "echo", "a b")


def test_a_failure_is_not_repeated(calls: Path) -> None:
    with pytest.raises(HarnessError, match="exited with status 7"):
        incus(calls, 0).query("web1", "sh", "-c", "echo x; exit 7")
    assert len(calls.read_text().splitlines()) == 1
