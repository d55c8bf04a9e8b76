"""Somebody switches the host, or stages a system, by hand (F27)."""

import asyncio

from harness.command_result import CommandResult
from tests.faults.host_shell import PROFILE
from tests.faults.row import Driver, Outcome, Row
from tests.faults.scenario import PipelineScenario, Scenario

SHORT = {"confirm": "6s"}


def switched(scenario: Scenario) -> CommandResult:
    """At a random moment before the confirmation, which then comes too late."""
    system = choose_other(scenario)
    with scenario.deploying("plain", pause=5, activation=SHORT) as deployment:
        scenario.wait_for_state("awaiting-confirm")
        scenario.sleep_random(0, 2)
        scenario.mark_fault()
        scenario.shell.run(_by_hand(system, "switch"))
        result = deployment.wait()
    verify_superseded(scenario)
    return result


def staged(scenario: Scenario) -> CommandResult:
    """Only the boot default: it is what the host boots next, whatever the attempt did."""
    system = choose_other(scenario)
    with scenario.deploying("plain", pause=5, activation=SHORT) as deployment:
        scenario.wait_for_state("awaiting-confirm")
        scenario.mark_fault()
        scenario.shell.run(_by_hand(system, "boot"))
        scenario.wait_for_state("superseded", "rolled-back", "rollback-failed", "committed")
        result = deployment.wait()
    last = scenario.shell.snapshot()
    assert {last.profile, last.boot} == {system}, f"{last.profile}, {last.boot} are not {system}"
    verify_superseded(scenario)
    scenario.shell.power_cycle()
    return result


def staged_and_booted(scenario: Scenario) -> None:
    """Somebody makes NEW the boot default, and then the power is cut: it boots NEW.

    The deployer's confirmation and its abort come later: nobody has committed, and nothing was
    rolled back.
    """
    assert isinstance(scenario, PipelineScenario)
    attempt = scenario.leave_unconfirmed()
    scenario.shell.run(_by_hand(scenario.new(), "boot"))
    scenario.mark_fault()
    scenario.shell.power_cycle()
    reply = asyncio.run(attempt.abort("the deployer's check failed"))
    assert reply, "no answer"
    assert reply["state"] == "superseded", f"it runs NEW, and says {reply.fields}"


def boot_loader_behind(scenario: Scenario) -> CommandResult:
    """NEW is the profile and runs, but its boot loader was never installed."""
    assert isinstance(scenario, PipelineScenario)
    new = scenario.choose_new("plain")
    scenario.shell.run(
        f"nix-env --profile {PROFILE} --set {new} && {new}/bin/switch-to-configuration test"
    )
    return scenario.deploy()


def choose_other(scenario: Scenario) -> str:
    """A system that is neither OLD nor NEW, which somebody switches to: it is the expected end."""
    names = ("slow", "slower")
    systems = [scenario.host.prebuilt[name] for name in names]
    scenario.other = next(system for system in systems if system != scenario.old)
    return scenario.other


def _by_hand(system: str, action: str) -> str:
    """What `nixos-rebuild switch` and `nixos-rebuild boot` do."""
    switch = f"{system}/bin/switch-to-configuration {action}"
    return f"nix-env --profile {PROFILE} --set {system} && {switch}"


def verify_superseded(scenario: Scenario) -> None:
    """The attempt has ended, and its reason names the system that was left alone."""
    ended = "superseded", "rolled-back", "rollback-failed", "committed"
    scenario.wait_for_state(*ended)
    last = scenario.shell.snapshot()
    reason = scenario.shell.output("cat /nix/var/flakeup/current/reason")
    assert last.state == "superseded", f"the attempt ended {last.state}: {reason}"
    assert scenario.other in reason, f"{scenario.other} is not in the reason: {reason}"


ROWS = (
    Row(
        id="F27a", expected=Outcome.OTHER, inject=switched, driver=Driver.PIPELINE, times=6,
        quick=1, within=30,
        what="somebody switches to another system while the attempt awaits its confirmation",
    ),
    Row(
        id="F27b", expected=Outcome.OTHER, inject=staged, driver=Driver.PIPELINE, times=2,
        within=40, what="somebody makes another system the boot default, and the host is rebooted",
    ),
    Row(
        id="F27c", expected=Outcome.NEW, inject=staged_and_booted, driver=Driver.PIPELINE, times=2,
        within=30, what="somebody makes NEW the boot default, and the power is cut",
    ),
    Row(
        id="F27d", expected=Outcome.NEW, inject=boot_loader_behind, driver=Driver.PIPELINE,
        what="NEW runs and is the profile, but the boot loader still names OLD",
    ),
)  # fmt: skip
