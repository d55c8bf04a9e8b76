"""No fault: a guard must not roll a good release back (H)."""

from components.pipeline.config.activation import ACTIVATION
from harness.command_result import CommandResult, Json
from tests.faults.row import Driver, Outcome, Row
from tests.faults.scenario import Scenario

DEFAULTS: Json = {
    name: ACTIVATION[name].default
    for name in ("timeout", "settle", "checkDeadline", "confirm", "commit")
}
"""Not `FAST_ACTIVATION`, whose timeouts are too short for a host without a free core."""


def healthy(scenario: Scenario) -> CommandResult:
    return scenario.deploy()


def under_load(scenario: Scenario) -> CommandResult:
    scenario.shell.run(
        "for n in 1 2 3 4; do systemd-run -q --collect --unit=load-$n"
        " sh -c 'while :; do :; done'; done"
    )
    scenario.on_cleanup("systemctl stop load-1 load-2 load-3 load-4")
    return scenario.deploy(activation=DEFAULTS)


ROWS = (
    Row(
        id="H1", expected=Outcome.NEW, inject=healthy, times=3, what="no fault",
    ),
    Row(
        id="H2", expected=Outcome.NEW, inject=healthy, driver=Driver.PIPELINE, times=180, quick=2,
        what="no fault, without the engine",
    ),
    Row(
        id="H3", expected=Outcome.NEW, inject=under_load, driver=Driver.PIPELINE, times=20,
        within=180, what="four busy loops on the host, with the default timeouts",
    ),
)  # fmt: skip
