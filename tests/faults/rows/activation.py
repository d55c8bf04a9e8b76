"""The activation is killed, frozen, cut off or rebooted (F2-F4, F8, F14, F20)."""

import contextlib
import re
import time

from harness.command_result import CommandResult
from harness.incus import HarnessError
from tests.faults.row import Driver, Outcome, Row
from tests.faults.scenario import Scenario

SWITCH = "bin/switch-to-configuration.*test"
RUNNER = "attempts/.*/runner run"


def kill_switch(scenario: Scenario) -> CommandResult:
    """Kill wrapper, script and their children at a random moment of a slow activation."""
    with scenario.deploying("slow") as deployment:
        scenario.kill_during_switch(1.2, "switch-to-configuration")
        return deployment.wait()


def kill_switch_only(scenario: Scenario) -> CommandResult:
    """Kill nothing but the program itself: its status is 137, as after a timeout."""
    with scenario.deploying("slow") as deployment:
        scenario.kill_during_switch(0.8, "switch-to-configuration.sh test")
        return deployment.wait()


def kill_runner(scenario: Scenario) -> CommandResult:
    with scenario.deploying("slow") as deployment:
        scenario.kill_during_switch(1.6, RUNNER)
        return deployment.wait()


def kill_unit(scenario: Scenario) -> CommandResult:
    """Kill the whole control group of the attempt at once."""
    with scenario.deploying("slow") as deployment:
        scenario.wait_for_phase("stop")
        scenario.sleep_random(0, 1.2)
        scenario.mark_fault()
        unit = "flakeup-activate-*.service"
        scenario.shell.succeeds(f"systemctl kill --signal=KILL --kill-whom=all '{unit}'")
        return deployment.wait()


def freeze_runner(scenario: Scenario) -> CommandResult:
    with scenario.deploying("slow") as deployment:
        scenario.wait_for_phase("activate")
        scenario.kill(RUNNER, "STOP")
        return deployment.wait()


def kill_sessions(scenario: Scenario) -> CommandResult:
    with scenario.deploying("slow") as deployment:
        scenario.wait_for_phase("stop")
        hits = 0
        for _ in range(3):
            scenario.sleep_random(0.1, 0.5)
            hits += scenario.shell.kill_sessions()
        assert hits, "there was no ssh session to kill"
        scenario.mark_fault()
        return deployment.wait()


def kill_sessions_committing(scenario: Scenario) -> CommandResult:
    """The commit is sent again, and waits for the one in progress."""
    with scenario.deploying("boot-slow") as deployment:
        scenario.wait_for_state("committing")
        scenario.sleep_random(0.5, 3)
        scenario.mark_fault()
        assert scenario.shell.kill_sessions(), "there was no ssh session to kill"
        return deployment.wait()


def restart_early(scenario: Scenario) -> CommandResult:
    with scenario.deploying("slow") as deployment:
        scenario.wait_for_phase("activate")
        scenario.mark_fault()
        scenario.shell.power_cycle()
        return deployment.wait()


def restart_somewhere(scenario: Scenario) -> CommandResult:
    with scenario.deploying("slow") as deployment:
        scenario.wait_for_state(
            "prepared", "activating", "checking", "awaiting-confirm", "committed"
        )
        scenario.sleep_random(0, 6)
        scenario.mark_fault()
        scenario.shell.power_cycle()
        return deployment.wait()


def restart_awaiting(scenario: Scenario) -> CommandResult:
    with scenario.deploying("plain", pause=3) as deployment:
        scenario.wait_for_state("awaiting-confirm")
        scenario.mark_fault()
        scenario.shell.power_cycle()
        return deployment.wait()


def restart_committing(scenario: Scenario) -> CommandResult:
    with scenario.deploying("plain") as deployment:
        scenario.wait_for_state("committing", "committed")
        scenario.sleep_random(0, 1.5)
        scenario.mark_fault()
        scenario.shell.power_cycle()
        return deployment.wait()


def restart_after(scenario: Scenario) -> CommandResult:
    result = scenario.deploy()
    scenario.shell.power_cycle()
    return result


def hang(scenario: Scenario) -> CommandResult:
    return scenario.deploy("hanging", activation={"timeout": "5s"})


def pause(scenario: Scenario) -> CommandResult:
    """Freeze the host for longer than an attempt may take, so that its timer has expired."""
    times = {"timeout": "5s", "checkDeadline": "3s", "confirm": "5s"}
    with scenario.deploying("slower", activation=times) as deployment:
        scenario.wait_for_phase("activate")
        scenario.mark_fault()
        thaws = time.monotonic() + 40
        with contextlib.suppress(HarnessError):  # seen once: frozen, but Incus never returned
            scenario.shell.incus("pause")
        time.sleep(max(0.0, thaws - time.monotonic()))
        scenario.shell.incus("resume")
        return deployment.wait()


def flood(scenario: Scenario) -> CommandResult:
    result = scenario.deploy("flooding")
    size = int(scenario.shell.output("stat -c %s /nix/var/flakeup/current/log"))
    assert size < (1 << 20) + 4096, f"the log has {size} bytes"  # and what the commit prints
    return result


def out_of_memory(scenario: Scenario) -> CommandResult:
    """Limit the unit's memory to a quarter of what the activation allocates."""
    with scenario.deploying("eating") as deployment:
        scenario.wait_for_phase("activate")
        scenario.mark_fault()
        scenario.shell.run(
            "for unit in $(systemctl list-units --plain --no-legend 'flakeup-activate-*' |"
            " cut -d' ' -f1); do systemctl set-property --runtime $unit MemoryMax=64M; done"
        )
        return deployment.wait()


def inspect_timers(scenario: Scenario) -> CommandResult:
    """The timers are at a point of PID 1's own clock: setting the clock does not move them."""
    show = "systemctl show -p TimersMonotonic -p TimersCalendar -p AccuracyUSec"
    with scenario.deploying("slow", pause=2) as deployment:
        for state, timer in (("activating", "revert"), ("awaiting-confirm", "unconfirmed")):
            scenario.wait_for_state(state)
            found = scenario.shell.output(f"{show} 'flakeup-{timer}-*.timer'")
            kinds = re.findall(r"On[A-Z]\w+", found)
            assert kinds == ["OnStartupUSec"], f"the timer while {state}: {found}"
            assert "AccuracyUSec=1s" in found, f"the timer while {state}: {found}"
        return deployment.wait()


ROLLED_BACK = "rolled.back|reverted"
ROWS = (
    Row(
        id="F2", expected=Outcome.OLD, inject=kill_switch, driver=Driver.PIPELINE, times=50,
        quick=2, within=15, what="switch-to-configuration is killed at a random moment",
    ),
    Row(
        id="F2b", expected=Outcome.EITHER, inject=kill_runner, driver=Driver.PIPELINE, times=25,
        quick=1, within=15, what="the runner is killed at a random moment",
    ),
    Row(
        id="F2c", expected=Outcome.OLD, inject=kill_unit, driver=Driver.PIPELINE, times=5,
        within=15, what="the whole unit of the attempt is killed",
    ),
    Row(
        id="F2d", expected=Outcome.OLD, inject=kill_switch, times=2, within=15,
        what="switch-to-configuration is killed, seen by the engine", message=ROLLED_BACK,
    ),
    Row(
        id="F2e", expected=Outcome.OLD, inject=kill_switch_only, within=15,
        message="the activation was killed",
        what="only the switch program is killed: that is not called a timeout",
    ),
    Row(
        id="F3", expected=Outcome.NEW, inject=kill_sessions, times=2,
        what="all ssh sessions are killed during the activation",
    ),
    Row(
        id="F3b", expected=Outcome.NEW, inject=kill_sessions_committing, times=2,
        what="all ssh sessions are killed during a slow commit",
    ),
    Row(
        id="F4a", expected=Outcome.OLD, inject=restart_early, quick=1,
        what="power cut during the activation", message="reboot|restart|boot",
    ),
    Row(
        id="F4b", expected=Outcome.OLD, inject=restart_awaiting, driver=Driver.PIPELINE, times=3,
        what="power cut between activation and confirmation",
    ),
    Row(
        id="F4c", expected=Outcome.EITHER, inject=restart_committing, driver=Driver.PIPELINE,
        times=10, torn=True, what="power cut during the commit",
    ),
    Row(
        id="F4d", expected=Outcome.NEW, inject=restart_after, what="power cut after the commit",
    ),
    Row(
        id="F4e", expected=Outcome.EITHER, inject=restart_somewhere, driver=Driver.PIPELINE,
        times=30, quick=1, torn=True, what="power cut at a random moment",
    ),
    Row(
        id="F8a", expected=Outcome.OLD, inject=hang, within=25,
        what="the activation hangs and ignores SIGTERM", message=ROLLED_BACK,
    ),
    Row(
        id="F8c", expected=Outcome.OLD, inject=pause, within=90,
        what="the host is frozen for 40 s, longer than an attempt may take",
    ),
    Row(
        id="F8d", expected=Outcome.OLD, inject=freeze_runner, within=90,
        what="the runner is stopped (SIGSTOP)",
    ),
    Row(
        id="F14", expected=Outcome.NEW, inject=inspect_timers, driver=Driver.PIPELINE,
        what="the clock jumps (the timers are inspected: they are monotonic)",
    ),
    Row(
        id="F20a", expected=Outcome.NEW, inject=flood,
        what="the activation prints 100 MB with control characters",
    ),
    Row(
        id="F20b", expected=Outcome.OLD, inject=out_of_memory, within=15,
        what="the activation runs out of memory and is killed",
    ),
)  # fmt: skip
