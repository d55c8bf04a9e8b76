"""Health checks of the config that fail, on the host and from the deployer (F8b, F9c)."""

from collections.abc import Callable

from harness.command_result import CommandResult, Json
from tests.faults.row import Outcome, Row
from tests.faults.scenario import Scenario

QUICK = {"period": "1s", "timeout": "2s", "retries": 1}
VERSION = {"contains": "app {appRef} ", **QUICK}


def checked(system: str, **check: object) -> Callable[[Scenario], CommandResult]:
    """Deploy a system with one health check."""

    def inject(scenario: Scenario) -> CommandResult:
        checks: Json = {"asked": {**QUICK, **check}}
        return scenario.deploy(system, activation={"checks": checks})

    return inject


def _row(
    name: str, what: str, inject: Callable[[Scenario], CommandResult], message: str, quick: int = 0
) -> Row:
    return Row(
        id=name, what=what, expected=Outcome.OLD, inject=inject, message=message, quick=quick,
        within=20,
    )  # fmt: skip


ROWS = (
    Row(
        id="H4", expected=Outcome.NEW, what="no fault, with health checks in the config",
        inject=checked("plain", http="http://localhost:8080/", **VERSION),
    ),
    _row(
        "F8b", "a check on the host never ends", checked("plain", command="sleep infinity"),
        r"check asked: the command did not finish within 2 s",
    ),
    _row(
        "F8b2", "a port accepts connections, but never answers the deployer's check",
        # With retries, as the first connection may come before the service listens.
        checked(
            "silent", http="http://{address}:8081/", timeout="1s", retries=3, **{"from": "deployer"}
        ),
        r"check asked: no response in 1 s",
    ),
    _row(
        "F9c", "the app answers, but has the wrong version",
        checked("wrong-version", http="http://localhost:8080/", **VERSION),
        r"check asked: the body does not contain 'app v1 ': 'app v0 on", quick=1,
    ),
    _row(
        "F9c2", "the same, seen by the deployer's check",
        checked("wrong-version", http="http://{address}:8080/", **VERSION, **{"from": "deployer"}),
        r"check asked: the body does not contain 'app v1 ': 'app v0 on",
    ),
)  # fmt: skip
