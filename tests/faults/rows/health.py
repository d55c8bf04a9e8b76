"""Health checks of the config that find NEW bad, on the host and from the deployer (F8b, F9c)."""

from collections.abc import Callable

from harness.command_result import CommandResult, Json
from tests.faults.row import Ending, Row
from tests.faults.scene import Scene

GROUP = "health"
QUICK = {"period": "1s", "timeout": "2s", "retries": 1}
VERSION = {"contains": "app {appRef} ", **QUICK}


def checked(system: str, **check: object) -> Callable[[Scene], CommandResult]:
    """Deploy a system whose host is asked for one thing."""

    def play(scene: Scene) -> CommandResult:
        checks: Json = {"asked": {**QUICK, **check}}
        return scene.deploy(system, times={"checks": checks})

    return play


def _row(
    name: str, what: str, play: Callable[[Scene], CommandResult], says: str, quick: int = 0
) -> Row:
    return Row(
        id=name, group=GROUP, what=what, expected=Ending.OLD, play=play, says=says, quick=quick,
        within=20,
    )  # fmt: skip


ROWS = (
    Row(
        id="H4", group=GROUP, expected=Ending.NEW, what="nothing at all, with checks of the config",
        play=checked("plain", http="http://localhost:8080/", **VERSION),
    ),
    _row(
        "F8b", "a check on the host never ends", checked("plain", command="sleep infinity"),
        r"check asked: the command did not end within 2 s",
    ),
    _row(
        "F8b2", "a port takes connections, and never answers the deployer's check",
        # Tried again: the first connection may come before the service listens.
        checked(
            "silent", http="http://{address}:8081/", timeout="1s", retries=3, **{"from": "deployer"}
        ),
        r"check asked: no answer in 1 s",
    ),
    _row(
        "F9c", "the app answers, and is the wrong version",
        checked("wrong-version", http="http://localhost:8080/", **VERSION),
        r"check asked: the body does not contain 'app v1 ': 'app v0 on", quick=1,
    ),
    _row(
        "F9c2", "the same, seen by the deployer's check",
        checked("wrong-version", http="http://{address}:8080/", **VERSION, **{"from": "deployer"}),
        r"check asked: the body does not contain 'app v1 ': 'app v0 on",
    ),
)  # fmt: skip
