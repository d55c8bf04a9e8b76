"""File systems that NEW mounts, or that do not let programs run (F30)."""

from harness.command_result import CommandResult
from tests.faults.row import Outcome, Row
from tests.faults.rows.systems import bad
from tests.faults.scenario import Scenario

EXEC = "mount -o remount,exec /run"
NOEXEC = "mount -o remount,noexec /run"


def noexec_before(scenario: Scenario) -> CommandResult:
    scenario.shell.run(NOEXEC)
    scenario.on_cleanup(EXEC)
    return scenario.deploy()


def noexec_meanwhile(scenario: Scenario) -> CommandResult:
    with scenario.deploying("slow") as deployment:
        scenario.wait_for_phase("activate")
        scenario.on_cleanup(EXEC)
        scenario.shell.run(NOEXEC)
        return deployment.wait()


ROWS = (
    Row(
        id="F9m", expected=Outcome.OLD, inject=bad("mounting"), within=20,
        message=r"broken\.service", what="NEW mounts a file system over /var/lib, and a unit fails",
    ),
    Row(
        id="F30a", expected=Outcome.NEW, inject=noexec_before,
        what="/run is mounted with noexec",
    ),
    Row(
        id="F30b", expected=Outcome.NEW, inject=noexec_meanwhile,
        what="NEW mounts /run with noexec",
    ),
)  # fmt: skip
