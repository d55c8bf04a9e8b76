"""Broken systems: units, scripts and boot loaders that fail (F9, F13, F7c)."""

import re
from collections.abc import Callable

from harness.command_result import CommandResult
from tests.faults.row import Driver, Outcome, Row
from tests.faults.run import diagnostics_of
from tests.faults.scenario import EngineScenario, Scenario

SETTLE = {"settle": "4s"}
LONG = {"settle": "8s"}


def bad(name: str, **how: object) -> Callable[[Scenario], CommandResult]:
    """Deploy a system that is broken itself."""

    def inject(scenario: Scenario) -> CommandResult:
        return scenario.deploy(name, **how)

    return inject


def failed_before(system: str) -> Callable[[Scenario], CommandResult]:
    """A unit that is not part of the release was failing before, and fails again."""

    def inject(scenario: Scenario) -> CommandResult:
        _fail_before(scenario)
        return scenario.deploy(system)

    return inject


def warned(system: str, warning: str) -> Callable[[Scenario], CommandResult]:
    """The switch ends with 4, but no unit has newly failed: what it says is passed on."""

    def inject(scenario: Scenario) -> CommandResult:
        result = scenario.deploy(system)
        assert re.search(warning, result.text), f"{warning!r} is not in {diagnostics_of(result)}"
        return result

    return inject


def _fail_before(scenario: Scenario) -> None:
    place = "/run/systemd/system/unrelated.service"
    unit = "[Service]\\nType=exec\\nRestart=always\\nRestartSec=5\\nExecStart=/bin/false\\n"
    scenario.shell.run(f"printf '{unit}' >{place}; systemctl daemon-reload")
    scenario.on_cleanup(f"systemctl stop unrelated; rm {place}; systemctl daemon-reload")
    scenario.shell.run("systemctl start --no-block unrelated")
    scenario.shell.wait_until('[ "$(systemctl is-active unrelated)" != active ]')


def pausing_before(scenario: Scenario) -> CommandResult:
    """A service of somebody else works for a second, and again in ten minutes."""
    place = "/run/systemd/system/unrelated.service"
    unit = "[Service]\\nType=exec\\nRestart=always\\nRestartSec=600\\nExecStart=/bin/sleep 3\\n"
    scenario.shell.run(
        f"printf '{unit}' >{place}; systemctl daemon-reload; systemctl start unrelated"
    )
    scenario.on_cleanup(f"systemctl stop unrelated; rm {place}; systemctl daemon-reload")
    return scenario.deploy(activation=SETTLE)


def fails_by_permission(scenario: Scenario) -> CommandResult:
    return _job_fails(scenario, ["fetch*.service"])


def fails_by_permission_of_another(scenario: Scenario) -> CommandResult:
    return _job_fails(scenario, ["backup.service"])


def _job_fails(scenario: Scenario, may_fail: list[str]) -> CommandResult:
    """A job that a timer of the host starts fails once while the units settle."""
    scenario.on_cleanup("systemctl reset-failed fetch.service")
    with scenario.deploying(activation={**SETTLE, "mayFail": may_fail}) as deployment:
        scenario.wait_for_state("checking")
        scenario.mark_fault()
        scenario.shell.run("systemd-run -q --unit=fetch.service --no-block /bin/false")
        return deployment.wait()


def restarting_before(scenario: Scenario) -> CommandResult:
    """A service that is not part of the release keeps restarting, before and after."""
    place = "/run/systemd/system/unrelated.service"
    unit = (
        "[Unit]\\nStartLimitIntervalSec=0\\n[Service]\\nType=exec\\nRestart=always\\n"
        "RestartSec=1\\nExecStart=/bin/timeout 1 /bin/sleep infinity\\n"
    )
    scenario.shell.run(
        f"printf '{unit}' >{place}; systemctl daemon-reload; systemctl start unrelated"
    )
    scenario.on_cleanup(f"systemctl stop unrelated; rm {place}; systemctl daemon-reload")
    scenario.shell.wait_until('[ "$(systemctl show -P NRestarts unrelated)" -ge 2 ]')
    return scenario.deploy(activation=LONG)


def read_only_boot(scenario: Scenario) -> CommandResult:
    """/boot is read-only, for NEW and for OLD."""
    boot = "mount --bind /boot /boot && mount -o remount,bind,ro /boot"
    with scenario.deploying("slow") as deployment:
        scenario.wait_for_phase("activate")
        scenario.shell.run(boot)
        scenario.on_cleanup("umount /boot")
        return deployment.wait()


def old_fails_too(scenario: Scenario) -> CommandResult:
    """A unit of OLD can no longer be started during the rollback."""
    assert isinstance(scenario, EngineScenario)
    assert scenario.deploy("sick").code == 0
    scenario.reset_baseline()
    scenario.shell.run("touch /run/sick")
    scenario.on_cleanup("rm -f /run/sick; systemctl start sick.service")
    return scenario.deploy("activate-fails")


ROWS = (
    Row(
        id="F7c", expected=Outcome.OLD, inject=bad("unbootable"), quick=1, within=20,
        what="the boot loader cannot be written at the commit",
    ),
    Row(
        id="F7d", expected=Outcome.OLD, inject=bad("unbootable"), driver=Driver.PIPELINE, times=5,
        within=20, what="the same, without the engine",
    ),
    Row(
        id="F7g", expected=Outcome.OLD, inject=read_only_boot, within=20,
        message="boot loader could not be restored",
        what="the boot loader can be written neither by NEW nor by OLD",
    ),
    Row(
        id="F8e", expected=Outcome.OLD, inject=bad("boot-hangs"), within=45,
        what="the boot loader hangs at the commit and ignores SIGTERM",
    ),
    Row(
        id="F9a", expected=Outcome.OLD, inject=bad("unit-fails"), times=3, quick=1, within=15,
        message=r"broken\.service.*cannot read its configuration", what="a unit fails at once",
    ),
    Row(
        id="F9a2", expected=Outcome.OLD, inject=bad("unit-fails"), driver=Driver.PIPELINE, times=15,
        within=15, what="the same, without the engine",
    ),
    Row(
        id="F9b", expected=Outcome.OLD, inject=bad("unit-fails-late", activation=SETTLE), within=20,
        message=r"breaks-later\.service",
        what="a unit fails 2 s after its start, while the host settles for 4 s",
    ),
    Row(
        id="F9b2", expected=Outcome.OLD, driver=Driver.PIPELINE, times=3,
        inject=bad("unit-fails-late", activation=SETTLE), within=20,
        what="the same, without the engine",
    ),
    Row(
        id="F9e", expected=Outcome.NEW, inject=failed_before("plain"),
        what="a unit was failing before",
    ),
    Row(
        id="F9o", expected=Outcome.OLD, inject=failed_before("snippet-fails"), within=20,
        message="setupSecrets",
        what="a unit was failing before, and a part of the activation script fails",
    ),
    Row(
        id="F9o2", expected=Outcome.OLD, inject=failed_before("activate-fails"), times=5,
        driver=Driver.PIPELINE, within=20,
        what="a unit was failing before, and the activation script fails",
    ),
    Row(
        id="F9p", expected=Outcome.NEW, inject=bad("pausing", activation=SETTLE),
        what="a unit works for a second, and systemd starts it again ten minutes later",
    ),
    Row(
        id="F9p2", expected=Outcome.NEW, inject=pausing_before,
        what="the same of a unit that is not part of the release, and was there before",
    ),
    Row(
        id="F9u", expected=Outcome.NEW, inject=fails_by_permission,
        what="a job that may fail does, while the units settle",
    ),
    Row(
        id="F9v", expected=Outcome.OLD, inject=fails_by_permission_of_another, within=25,
        message=r"fetch\.service",
        what="another job fails while the units settle, which may not",
    ),
    Row(
        id="F9q", expected=Outcome.NEW,
        inject=warned("restarts-unknown", r"Failed to start nosuch\.service"),
        what="the activation script requests a restart of a unit that does not exist",
    ),
    Row(
        id="F9r", expected=Outcome.NEW,
        inject=warned("reload-refused", r"Failed to reload steady\.service"),
        what="the activation script requests a reload that systemd refuses",
    ),
    Row(
        id="F9s", expected=Outcome.NEW,
        inject=warned("user-fails", "user activation for deploy failed"),
        what="the activation of a user's units fails",
    ),
    Row(
        id="F9f", expected=Outcome.OLD, inject=bad("rebooting"), message="needs a reboot",
        what="another init interface, which requires a reboot",
    ),
    Row(
        id="F9g", expected=Outcome.OLD, inject=bad("looping"), within=20,
        message=r"looping\.service", what="a unit that systemd keeps restarting",
    ),
    Row(
        id="F9j", expected=Outcome.OLD, inject=bad("dying", activation=LONG), within=25,
        message=r"dying\.service",
        what="a unit that exits after 2 s and is restarted, so that it never fails",
    ),
    Row(
        id="F9k", expected=Outcome.NEW, inject=restarting_before,
        what="a unit that kept restarting before, too",
    ),
    Row(
        id="F9l", expected=Outcome.OLD, inject=bad("hanging-check"), within=90,
        message="did not finish within 60 s", what="the pre-switch checks hang",
    ),
    Row(
        id="F9n", expected=Outcome.OLD, inject=bad("tool-less"), within=30,
        message=r"broken\.service", what="all tools of NEW fail, and so does a unit",
    ),
    Row(
        id="F9h", expected=Outcome.OLD, inject=bad("activate-fails"), within=15,
        message="read-only file system", what="the activation script fails",
    ),
    Row(
        id="F9h2", expected=Outcome.OLD, inject=bad("activate-fails"), driver=Driver.PIPELINE,
        times=15, quick=1, within=15, what="the same, without the engine",
    ),
    Row(
        id="F9i", expected=Outcome.OLD, inject=bad("unchecked"), message="not safe",
        what="the pre-switch checks refuse",
    ),
    Row(
        id="F9t", expected=Outcome.OLD, inject=bad("inhibited"),
        message=r"bus-program : first -> second.*mode: boot",
        what="the pre-switch checks refuse at length: the message begins with the cause",
    ),
    Row(
        id="F13a", expected=Outcome.OLD, inject=old_fails_too, within=20,
        what="a unit of OLD does not start again during the rollback",
    ),
)  # fmt: skip
