"""The way back is hindered: it goes on until OLD runs (F28), also with new attempts (F29)."""

import time
from collections.abc import Callable

from harness.command_result import CommandResult
from tests.faults.host_shell import SWITCH_LOCK, in_phase
from tests.faults.row import Driver, Outcome, Row
from tests.faults.rows.activation import ROLLED_BACK
from tests.faults.rows.systems import bad
from tests.faults.scenario import PipelineScenario, Scenario

GO = "/run/faults-go"
HELD = 34
"""Seconds: longer than the runner waits for NixOS's lock in one try."""
TRIED_AGAIN = 25.0
"""Seconds in which the rollback that goes on is tried again: 20 s after its third try."""
UNIT = "systemd-run -q --collect --unit=hinders"
STOP = "systemctl stop hinders"


def hindered(script: str, seconds: float = 0) -> Callable[[Scenario], None]:
    """Run a script while the host awaits a confirmation that never comes.

    The host ends the attempt by itself, within `seconds` more than usual: nobody helps it.
    """

    def inject(scenario: Scenario) -> None:
        assert isinstance(scenario, PipelineScenario)
        scenario.leave_unconfirmed(confirm="3s")
        scenario.mark_fault()
        scenario.on_cleanup(
            f"{STOP}; pkill -CONT -x systemd-logind; systemctl start dbus.socket dbus.service;"
            " timeout 5 loginctl list-users || systemctl restart systemd-logind"
        )
        scenario.shell.run(script)
        scenario.wait_for_state("rolled-back", seconds=20 + seconds)
        stopped = scenario.shell.snapshot().stopped
        assert not stopped, f"rolled back, but not running: {', '.join(stopped)}"
        assert scenario.shell.succeeds("timeout 10 loginctl list-users"), "logind does not answer"

    return inject


def lock_opened_before(scenario: Scenario) -> None:
    """An ordinary user has NixOS's lock file open, as reading it is enough for a lock."""
    _readable_lock(scenario)
    scenario.shell.run(
        f"rm -f {GO}; {UNIT} --uid=nobody sh -c"
        f" 'exec 9<{SWITCH_LOCK}; until test -e {GO}; do sleep 0.1; done; flock 9; sleep {HELD}'"
    )
    scenario.on_cleanup(f"rm -f {GO}")
    hindered(f"touch {GO}", HELD + 40)(scenario)


def lock_opened_meanwhile(scenario: Scenario) -> None:
    """The same, but the user only begins when NEW runs."""
    _readable_lock(scenario)
    hindered(f"{UNIT} --uid=nobody flock {SWITCH_LOCK} sleep {HELD}")(scenario)


def _readable_lock(scenario: Scenario) -> None:
    """As nixos-rebuild makes it."""
    scenario.shell.run(
        f"mkdir -p /run/nixos; touch {SWITCH_LOCK}; chmod 755 /run/nixos; chmod 644 {SWITCH_LOCK}"
    )


def lock_held_by_a_switch(scenario: Scenario) -> None:
    """Somebody's own switch takes long: it is still at its pre-switch checks."""
    switch = f"{scenario.host.prebuilt['long-check']}/bin/switch-to-configuration check"
    hindered(f"{UNIT} {switch}", HELD + 40)(scenario)


def kill_old_switch(scenario: Scenario) -> CommandResult:
    """OLD's activation is killed at a random moment: what it had stopped has to run in the end."""
    assert isinstance(scenario, PipelineScenario)
    _run_slow_system(scenario)
    return _kill_in_phase(scenario, "stop", 1.3, "switch-to-configuration")


def kill_old_switch_late(scenario: Scenario) -> CommandResult:
    """The same after its activation script: OLD runs, and what it had stopped does not."""
    return _kill_in_phase(scenario, "reload", 0.02, "switch-to-configuration")


def kill_way_back(scenario: Scenario) -> CommandResult:
    assert isinstance(scenario, PipelineScenario)
    _run_slow_system(scenario)
    return _kill_in_phase(scenario, "stop", 1.8, "attempts/.*/runner rollback")


def _kill_in_phase(scenario: Scenario, phase: str, seconds: float, pattern: str) -> CommandResult:
    """Kill what matches up to `seconds` after OLD's activation has entered a phase."""
    assert isinstance(scenario, PipelineScenario)
    with scenario.deploying("other-worker") as deployment:
        began = in_phase(phase, scenario.phases_before, scenario.old)
        scenario.kill_within(seconds, began, pattern)
        return deployment.wait()


def _run_slow_system(scenario: PipelineScenario) -> None:
    """Take a system as OLD whose activation lasts, so that there is something to kill."""
    slow = scenario.host.prebuilt["slow"]
    if scenario.old != slow:
        result = scenario.host.deploy(slow, scenario.old, 0)()
        assert result.code == 0, result.text
        scenario.reset_baseline()


def broken_again(scenario: Scenario) -> CommandResult:
    """The way back has failed, and the same release comes once more: it is no better."""
    _break_way_back(scenario)
    again = scenario.deploy("unit-fails")
    assert again.code, f"the broken release was deployed: {again.text}"
    return again


def fixed_then(scenario: Scenario) -> CommandResult:
    """The way back has failed, and a release that works comes next."""
    _break_way_back(scenario)
    return scenario.deploy("plain")


def deployed_by_hand_and_again(scenario: Scenario) -> CommandResult:
    """The way back has failed, somebody switches by hand, and the release is deployed once more.

    The rollback that goes on would take it for what it has to roll back.
    """
    assert isinstance(scenario, PipelineScenario)
    _stop_old_switch(scenario)
    scenario.leave_unconfirmed(confirm="3s")
    tries = "cat /nix/var/flakeup/current/tries /nix/var/flakeup/current/state | tr '\\n' ' '"
    scenario.shell.wait_until(f'[ "$({tries})" = "3 rollback-failed " ]')
    systems = (scenario.host.prebuilt[name] for name in ("slow", "slower"))
    other = next(system for system in systems if system != scenario.old)
    scenario.shell.run(f"{other}/bin/switch-to-configuration test")
    scenario.shell.run(f"umount {scenario.old}/bin/switch-to-configuration")
    scenario.mark_fault()
    result = scenario.host.deploy(scenario.new(), None, 0)()
    time.sleep(TRIED_AGAIN)
    return result


def _stop_old_switch(scenario: Scenario) -> None:
    switch = f"{scenario.old}/bin/switch-to-configuration"
    scenario.on_cleanup(f"! mountpoint -q {switch} || umount {switch}")
    scenario.shell.run(f"mount --bind /bin/false {switch}")


def _break_way_back(scenario: Scenario) -> None:
    """Deploy a broken release to a host whose OLD cannot be activated for now."""
    _stop_old_switch(scenario)
    result = scenario.deploy("unit-fails")
    assert result.code, result.text
    scenario.wait_for_state("rollback-failed")


ROWS = (
    Row(
        id="F28a", expected=Outcome.OLD, inject=lock_opened_before, driver=Driver.PIPELINE,
        within=90, what="an ordinary user of the host holds NixOS's lock during the rollback",
    ),
    Row(
        id="F28b", expected=Outcome.OLD, inject=lock_opened_meanwhile, driver=Driver.PIPELINE,
        within=20, what="the same, but the user opens the lock file after the activation",
    ),
    Row(
        id="F28c", expected=Outcome.OLD, inject=lock_held_by_a_switch, driver=Driver.PIPELINE,
        within=90, what="somebody's long switch holds NixOS's lock during the rollback",
    ),
    Row(
        id="F28d", expected=Outcome.OLD, inject=hindered("systemctl stop dbus.socket dbus.service"),
        driver=Driver.PIPELINE, times=2, within=30,
        what="D-Bus is stopped before the rollback",
    ),
    Row(
        id="F28e", expected=Outcome.OLD, inject=hindered("pkill -STOP -x systemd-logind", 60),
        driver=Driver.PIPELINE, within=70, what="logind does not answer during the rollback",
    ),
    Row(
        id="F28f", expected=Outcome.OLD, inject=bad("dbus-stopped"), within=40, message=ROLLED_BACK,
        what="NEW stops D-Bus before its activation script",
    ),
    Row(
        id="F28g", expected=Outcome.OLD, inject=bad("dbus-stopped-late"), within=40,
        message=ROLLED_BACK, what="NEW's activation script stops D-Bus",
    ),
    Row(
        id="F28h", expected=Outcome.OLD, inject=bad("logind-frozen"), within=60,
        message="exited with status 11: rolled back", what="NEW freezes logind",
    ),
    Row(
        id="F28i", expected=Outcome.OLD, inject=bad("logind-stopped"), within=60,
        message=ROLLED_BACK, what="NEW masks and stops logind",
    ),
    Row(
        id="F28j", expected=Outcome.OLD, inject=kill_old_switch, driver=Driver.PIPELINE, times=10,
        quick=1, within=30, what="OLD's switch is killed at a random moment of the rollback",
    ),
    Row(
        id="F28k", expected=Outcome.OLD, inject=kill_old_switch_late, driver=Driver.PIPELINE,
        times=2, within=30, what="OLD's switch is killed before it starts what it had stopped",
    ),
    Row(
        id="F28l", expected=Outcome.OLD, inject=kill_way_back, driver=Driver.PIPELINE, times=8,
        within=30, what="the runner is killed at a random moment of the rollback",
    ),
    Row(
        id="F29a", expected=Outcome.OLD, inject=broken_again, driver=Driver.PIPELINE,
        what="the rollback has failed, and the same broken release is deployed again",
    ),
    Row(
        id="F29b", expected=Outcome.NEW, inject=fixed_then, driver=Driver.PIPELINE,
        what="the rollback has failed, and a release that works is deployed",
    ),
    Row(
        id="F29c", expected=Outcome.NEW, inject=deployed_by_hand_and_again, driver=Driver.PIPELINE,
        what="the rollback has failed, somebody switches by hand, and it is deployed again",
    ),
)  # fmt: skip
