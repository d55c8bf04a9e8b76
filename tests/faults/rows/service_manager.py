"""PID 1 is re-executed, reloaded, isolated or restarted during an attempt (F16)."""

import asyncio
import time
from collections.abc import Callable

from harness.command_result import CommandResult
from tests.faults.host_shell import HostShell
from tests.faults.row import Driver, Outcome, Row
from tests.faults.rows.activation import RUNNER
from tests.faults.scenario import PipelineScenario, Scenario

BOUNDED = {"timeout": "5s", "checkDeadline": "3s"}
"""The timer of the activation expires after these and 5 s."""
SOON = 10.0
"""Seconds in which a host that was rebooted has to say how its attempt ended."""


def reexec(scenario: Scenario) -> CommandResult:
    with scenario.deploying("slow") as deployment:
        scenario.wait_for_phase("activate")
        scenario.shell.run("systemctl daemon-reexec; systemctl daemon-reload")
        return deployment.wait()


def unconfirmed(script: str) -> Callable[[Scenario], None]:
    """Run a script while the attempt awaits a confirmation that never comes.

    Only the host itself can end the attempt.
    """

    def inject(scenario: Scenario) -> None:
        assert isinstance(scenario, PipelineScenario)
        scenario.leave_unconfirmed()
        scenario.mark_fault()
        scenario.shell.run(script)

    return inject


def repeatedly(verb: str) -> Callable[[Scenario], None]:
    """The same with a verb of systemctl, again and again until the host is rolled back."""

    def inject(scenario: Scenario) -> None:
        assert isinstance(scenario, PipelineScenario)
        scenario.leave_unconfirmed()
        scenario.mark_fault()
        _repeat(scenario, verb)
        scenario.wait_for_state("rolled-back", seconds=35)  # while it goes on

    return inject


def reload_while_stuck(scenario: Scenario) -> CommandResult:
    """The runner is stopped (SIGSTOP), so only its timer can end the attempt."""
    with scenario.deploying("slow", activation=BOUNDED) as deployment:
        scenario.wait_for_phase("activate")
        scenario.kill(RUNNER, "STOP")
        _repeat(scenario, "daemon-reload")
        return deployment.wait()


def slow_state(scenario: Scenario) -> CommandResult:
    """The confirmation's timer fires while the state that it belongs to is being written."""
    current = "/nix/var/flakeup/current/state.tmp"
    slow = f"! grep -qs awaiting-confirm {current} || sleep 6"
    scenario.on_cleanup("umount /usr/bin/sync")
    scenario.shell.run(
        "cp /usr/bin/sync /run/sync-itself; printf '%s\\n' '#!/bin/sh'"
        f" 'case $* in *state.tmp*) {slow} ;; esac' 'exec /run/sync-itself \"$@\"'"
        " >/run/sync-slow; chmod 755 /run/sync-slow; mount --bind /run/sync-slow /usr/bin/sync"
    )
    return scenario.deploy("plain", pause=4, activation={"confirm": "2s"})


def _repeat(scenario: Scenario, verb: str) -> None:
    """Call systemctl every 0.5 to 1 s, as tools that write units do."""
    pause = scenario.random.uniform(0.5, 1)
    scenario.notes.append(f"{verb} every {pause:.2f} s")
    # PID 1 may be between two executions.
    scenario.on_cleanup(
        "for i in $(seq 50); do systemctl stop repeating 2>/dev/null && break; sleep 0.2; done"
    )
    scenario.shell.run(
        "systemd-run -q --unit=repeating --collect"
        f" sh -c 'while :; do systemctl {verb}; sleep {pause:.2f}; done'"
    )


def init_in_the_store(scenario: Scenario) -> None:
    """In a container of NixOS, /sbin/init leads into the system; which file, depends on its initrd.

    What the container boots is OLD until the commit, whatever NEW's activation makes of it.
    """
    assert isinstance(scenario, PipelineScenario)
    wanted = f"{scenario.old}/init"
    scenario.on_cleanup("ln -sfn ../lib/systemd/systemd /sbin/init")
    scenario.shell.run(f"ln -sfn {wanted} /sbin/init")
    scenario.leave_unconfirmed("prepare-root")
    found = scenario.shell.output("readlink /sbin/init")
    assert found == wanted, f"while NEW is not confirmed, /sbin/init is {found}, not {wanted}"
    scenario.mark_fault()
    scenario.shell.power_cycle()


def rebooted(reboot: Callable[[HostShell], None]) -> Callable[[Scenario], CommandResult]:
    """The host is rebooted, and the deployer aborts: it is told at once that the host runs OLD."""

    def inject(scenario: Scenario) -> CommandResult:
        assert isinstance(scenario, PipelineScenario)
        attempt = scenario.leave_unconfirmed(confirm="60s")
        scenario.mark_fault()
        reboot(scenario.shell)
        if reboot is HostShell.soft_reboot:  # what comes up and the rollback share NixOS's lock
            scenario.wait_for_state("rolled-back", seconds=20)
        began = time.monotonic()
        reply = asyncio.run(attempt.abort("the deployer's check failed"))
        seconds = time.monotonic() - began
        assert reply, f"no answer in {seconds:.1f} s"
        assert reply["state"] == "rolled-back", f"after {seconds:.1f} s: {reply.fields}"
        assert seconds < SOON, f"told after {seconds:.1f} s"
        return CommandResult(code=1, text=reply["reason"], seconds=seconds)

    return inject


ROWS = (
    Row(
        id="F16", expected=Outcome.NEW, inject=reexec,
        what="systemd is re-executed and reloaded during the activation",
    ),
    Row(
        id="F16b", expected=Outcome.OLD,
        inject=unconfirmed("systemctl daemon-reexec; systemctl daemon-reload"),
        driver=Driver.PIPELINE, within=40,
        what="systemd is re-executed while the attempt awaits a confirmation that never comes",
    ),
    Row(
        id="F16c", expected=Outcome.OLD, inject=unconfirmed("systemctl isolate multi-user.target"),
        driver=Driver.PIPELINE, times=2, within=40,
        what="`systemctl isolate` while the attempt awaits a confirmation that never comes",
    ),
    Row(
        id="F16d", expected=Outcome.OLD, inject=repeatedly("daemon-reload"), times=5, quick=1,
        driver=Driver.PIPELINE, within=40,
        what="systemd is reloaded all the time, and the confirmation never comes",
    ),
    Row(
        id="F16e", expected=Outcome.OLD, inject=repeatedly("daemon-reexec"), times=2,
        driver=Driver.PIPELINE, within=40,
        what="systemd is re-executed all the time, and the confirmation never comes",
    ),
    Row(
        id="F16f", expected=Outcome.OLD, inject=reload_while_stuck, times=3,
        driver=Driver.PIPELINE, within=24,
        what="systemd is reloaded all the time, and the runner is stopped (SIGSTOP)",
    ),
    Row(
        id="F16g", expected=Outcome.OLD, inject=rebooted(HostShell.soft_reboot), times=2,
        driver=Driver.PIPELINE, within=25, message="reboot|restart",
        what="`systemctl soft-reboot` while the attempt awaits its confirmation, then an abort",
    ),
    Row(
        id="F16h", expected=Outcome.OLD, inject=slow_state, times=2, driver=Driver.PIPELINE,
        within=25, what="the disk is slow: the time to confirm is over before the state says so",
    ),
    Row(
        id="F4j", expected=Outcome.OLD, inject=init_in_the_store, driver=Driver.PIPELINE,
        within=25, what="/sbin/init leads into the system, to another file in NEW; power cut",
    ),
    Row(
        id="F4i", expected=Outcome.OLD, inject=rebooted(HostShell.power_cycle), times=2,
        driver=Driver.PIPELINE, within=25, message="reboot",
        what="power cut while the attempt awaits its confirmation, then an abort",
    ),
)  # fmt: skip
