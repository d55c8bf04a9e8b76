"""A failure that something else covers is found all the same."""

import re
from typing import Final

import pytest

from components.pipeline.activation import runner
from components.pipeline.evaluate.attribute import EvaluatedAttr
from tests.e2e.host_faults import CURRENT, Systems, failing, is_on, replaced, sh
from tests.e2e.runner_hosts import RunnerHost, failure, unit_that_failed_before

pytestmark = pytest.mark.e2e


async def test_a_failed_script_next_to_a_failed_unit(web1: RunnerHost, systems: Systems) -> None:
    """The failed unit turns the status of the failed script, 2, into 4."""
    async with unit_that_failed_before(web1):
        message = await failure(web1.attempt(systems["crashing"], systems["old"]))
        code = web1.container.query("cat", "/nix/var/flakeup/current/code").strip()
    assert code == "4"
    assert message.startswith(
        "not deployed: web1: the activation script failed: Failed to run activate script"
    )
    assert await is_on(web1, systems["old"])


def activate(system: EvaluatedAttr) -> str:
    return f"{system.out_path.path}/activate"


async def test_a_failed_script_whose_last_line_has_no_end(
    web1: RunnerHost, systems: Systems
) -> None:
    """The program's own line is then joined to it."""
    text = '$original "$@"; printf "no room for the secrets" >&2; exit 1'
    async with unit_that_failed_before(web1):
        with replaced(web1, activate(systems["new"]), text):
            message = await failure(web1.attempt(systems["new"], systems["old"]))
    assert "the activation script failed" in message
    assert await is_on(web1, systems["old"])


async def test_a_failed_script_whose_output_is_lost(web1: RunnerHost, systems: Systems) -> None:
    """As on a full disk: that its unit fails, too, is all that is known."""
    kept = re.search(rb"^LOG_KEPT=(\d+)", runner.text(), re.MULTILINE)
    assert kept
    async with unit_that_failed_before(web1):
        with failing(web1, "head", f"-c?{kept[1].decode()}", "cat >/dev/null; exit 1"):
            message = await failure(web1.attempt(systems["crashing"], systems["old"]))
    assert "units failed, and no space was left for what the activation printed" in message
    assert await is_on(web1, systems["old"])


@pytest.mark.parametrize("action", ["check", "test"])
async def test_a_refusal_without_its_line_end(
    web1: RunnerHost, systems: Systems, action: str
) -> None:
    text = f'[ "$2" != {action} ] || {{ printf "no line end" >&2; exit 1; }}'
    with replaced(web1, f"{systems['new'].out_path.path}/pre-switch-checks", text):
        message = await failure(web1.attempt(systems["new"], systems["old"]))
    assert "refused: its pre-switch checks failed: no line end" in message
    assert await is_on(web1, systems["old"])


REFUSALS: Final = {
    "needs a reboot": '$original "$@"; exit 100',
    "checks": '$original "$@"; echo "Pre-switch checks failed"; exit 1',
}


@pytest.mark.parametrize("end", REFUSALS)
async def test_a_refusal_that_has_changed_something(
    web1: RunnerHost, systems: Systems, end: str
) -> None:
    """These statuses say that nothing was changed; the host says what it runs."""
    program = f"{systems['new'].out_path.path}/bin/switch-to-configuration"
    text = f'[ "$1" != test ] || {{ {REFUSALS[end]}; }}; exec $original "$@"'
    with replaced(web1, program, text):
        message = await failure(web1.attempt(systems["new"], systems["old"]))
    assert "rolled back to the previous system" in message
    assert await is_on(web1, systems["old"])


async def test_a_commit_that_can_write_nothing_says_so(web1: RunnerHost, systems: Systems) -> None:
    await web1.attempt(systems["new"], systems["old"]).run()
    sh(web1, f"cd {CURRENT}; mkdir state.tmp; mv log kept; mkdir log")
    try:
        code, reply = await web1.commit(systems["new"])
    finally:
        sh(web1, f"cd {CURRENT}; rmdir state.tmp log; mv kept log")
    assert code == 31
    assert reply["reason"].startswith("no space left for the attempt's files")
