"""Concurrent deployers (F10), deadlines (F26), and commits at the wrong moment (C)."""

import asyncio
import time

from components.pipeline.activation import protocol
from harness.command_result import CommandResult
from tests.faults.host_shell import SWITCH_LOCK
from tests.faults.pipeline_driver import Deployment
from tests.faults.row import Driver, Outcome, Row
from tests.faults.scenario import PipelineScenario, Scenario


def two_deployers(scenario: Scenario) -> CommandResult:
    """They deploy different systems; one of them wins, and the other is told who has the host."""
    assert isinstance(scenario, PipelineScenario)
    rival_new = _rival(scenario)
    with scenario.deploying("plain") as mine:
        scenario.sleep_random(0, 0.4)
        rival = Deployment(run=scenario.host.deploy(rival_new, scenario.old, 0)).start()
        result, other = mine.wait(), rival.wait()
    assert (result.code == 0) != (other.code == 0), (
        f"both succeeded or failed: {result.text} // {other.text}"
    )
    loser, winner = (result, other) if other.code == 0 else (other, result)
    assert "being deployed by" in loser.text or "it runs" in loser.text, loser.text
    if winner is other:
        scenario.set_new(rival_new)
    _only_one_switched(scenario)
    return winner


def start_during_a_start(scenario: Scenario) -> CommandResult:
    """The second deployer starts while the first one's pre-switch checks run, and is refused."""
    assert isinstance(scenario, PipelineScenario)
    with scenario.deploying("slow-check") as mine:
        scenario.wait_for_state("prepared")
        rival = Deployment(run=scenario.host.deploy(_rival(scenario), scenario.old, 0)).start()
        result, other = mine.wait(), rival.wait()
    assert other.code, f"both succeeded or failed: {result.text} // {other.text}"
    assert "being deployed by faults" in other.text, f"the second was told: {other.text}"
    _only_one_switched(scenario)
    return result


def _rival(scenario: Scenario) -> str:
    return next(
        scenario.host.prebuilt[name] for name in ("slow", "slower") if _is_other(scenario, name)
    )


def _is_other(scenario: Scenario, name: str) -> bool:
    return scenario.host.prebuilt[name] != scenario.old


def _only_one_switched(scenario: Scenario) -> None:
    """Check that all phases are of NEW: the other system was never activated."""
    phases = scenario.shell.phases_after(scenario.phases_before)
    assert {system for _, _, system in phases} == {scenario.new()}, f"phases: {phases}"


def manual_switch(scenario: Scenario) -> CommandResult:
    """A manual switch holds NixOS's lock."""
    scenario.shell.run(
        "mkdir -p /run/nixos; systemd-run -q --unit=manual-switch --collect"
        f" flock {SWITCH_LOCK} sleep 60"
    )
    scenario.on_cleanup("systemctl stop manual-switch")
    scenario.shell.wait_until(f"! flock -n {SWITCH_LOCK} true")
    return scenario.deploy()


def drifted(scenario: Scenario) -> CommandResult:
    """Somebody has switched to another system manually; cleanup switches back."""
    other = scenario.host.prebuilt["other"]
    scenario.shell.run(f"{other}/bin/switch-to-configuration test")
    scenario.on_cleanup(f"{scenario.old}/bin/switch-to-configuration test")
    return scenario.deploy()


def commit_at_the_deadline(scenario: Scenario) -> CommandResult:
    """The confirmation arrives around its deadline."""
    pause = scenario.random.uniform(2.2, 3.6)
    scenario.notes.append(f"confirmed after {pause:.2f} of 3 s")
    return scenario.deploy("plain", pause=pause, activation={"confirm": "3s"})


def commit_after_the_deadline(scenario: Scenario) -> CommandResult:
    return scenario.deploy("plain", pause=6, activation={"confirm": "3s"})


def never_confirmed(scenario: Scenario) -> None:
    """The deployer never comes back: only the host's timer can end the attempt."""
    assert isinstance(scenario, PipelineScenario)
    scenario.leave_unconfirmed(confirm="3s")
    scenario.mark_fault()


def second_commit(scenario: Scenario) -> CommandResult:
    result = scenario.deploy()
    assert result.code == 0, result.text
    code, reply = _call_runner(scenario, scenario.new())
    assert (code, reply) == (0, "unchanged"), (code, reply)
    return result


def two_commits_at_once(scenario: Scenario) -> CommandResult:
    assert isinstance(scenario, PipelineScenario)
    new, driver = scenario.choose_new("plain"), scenario.host.driver

    async def both() -> list[int]:
        await driver.attempt(new, scenario.old).run()
        pair = await asyncio.gather(driver.commit(new), driver.commit(new))
        return [code for code, _ in pair]

    began = time.monotonic()
    codes = asyncio.run(both())
    assert codes == [0, 0], codes
    return CommandResult(code=0, text="", seconds=time.monotonic() - began)


def commit_of_nothing(scenario: Scenario) -> None:
    """Commit a system that no attempt has prepared."""
    assert isinstance(scenario, PipelineScenario)
    code, _ = _call_runner(scenario, scenario.choose_new("plain"))
    assert code == 31, code


def commit_of_another(scenario: Scenario) -> CommandResult:
    assert isinstance(scenario, PipelineScenario)
    with scenario.deploying("plain", pause=4) as deployment:
        scenario.wait_for_state("awaiting-confirm")
        code, _ = _call_runner(scenario, scenario.host.prebuilt["slower"])
        assert code == 31, code
        return deployment.wait()


def commit_after_another_version(scenario: Scenario) -> CommandResult:
    """Another version of flakeup has published its runner since: the attempt's own one commits."""
    with scenario.deploying("plain", pause=4) as deployment:
        scenario.wait_for_state("awaiting-confirm")
        scenario.shell.run(
            "cd /run/flakeup && runner=$(readlink -f switch) && rm switch &&"
            " sed 's/^commit() {.*/commit() { exit 1/' $runner >switch && chmod 700 switch"
            " && ! cmp -s $runner switch"
        )
        return deployment.wait()


def abort_after_the_commit(scenario: Scenario) -> CommandResult:
    assert isinstance(scenario, PipelineScenario)
    result = scenario.deploy()
    assert result.code == 0, result.text
    driver = scenario.host.driver
    last = driver.attempt(scenario.new(), scenario.old)
    last.id = scenario.shell.snapshot().attempt
    reply = asyncio.run(last.abort("too late"))
    assert reply, "no answer"
    assert reply.event == "refused", reply
    return result


def abort_instead(scenario: Scenario) -> CommandResult:
    assert isinstance(scenario, PipelineScenario)
    new, driver = scenario.choose_new("plain"), scenario.host.driver

    async def abort() -> str:
        one = driver.attempt(new, scenario.old)
        await one.run()
        reply = await one.abort("$(reboot) 'x' \"y\"")
        return reply["state"] if reply else "no answer"

    began = time.monotonic()
    state = asyncio.run(abort())
    assert state == "rolled-back", state
    return CommandResult(code=1, text=state, seconds=time.monotonic() - began)


def _call_runner(scenario: Scenario, *words: str) -> tuple[int, str]:
    """Call the runner after publishing it, as a host without deployments has none."""
    code, reply = asyncio.run(scenario.host.driver.call_runner(*protocol.publish_argv(*words)))
    return code, reply["outcome"] or reply.event if reply else ""


ROWS = (
    Row(
        id="F10d", expected=Outcome.NEW, inject=start_during_a_start, driver=Driver.PIPELINE,
        times=3, what="a second deployer starts while the first one's pre-switch checks run",
    ),
    Row(
        id="F10a", expected=Outcome.NEW, inject=two_deployers, driver=Driver.PIPELINE, times=20,
        quick=1, what="two deployers at once, with different systems",
    ),
    Row(
        id="F10b", expected=Outcome.OLD, inject=manual_switch, quick=1,
        message="another switch|lock", what="a manual switch is in progress",
    ),
    Row(
        id="F10c", expected=Outcome.OLD, inject=drifted, message="it runs .* to deploy this",
        what="the host was switched manually since",
    ),
    Row(
        id="F26", expected=Outcome.EITHER, inject=commit_at_the_deadline, driver=Driver.PIPELINE,
        times=100, quick=1, within=30, what="the confirmation arrives around its deadline",
    ),
    Row(
        id="C1", expected=Outcome.OLD, inject=commit_after_the_deadline, driver=Driver.PIPELINE,
        times=3, quick=1, within=15, what="the confirmation arrives after its deadline",
    ),
    Row(
        id="C2", expected=Outcome.NEW, inject=second_commit, driver=Driver.PIPELINE, times=2,
        what="the confirmation is sent twice",
    ),
    Row(
        id="C3", expected=Outcome.NEW, inject=two_commits_at_once, driver=Driver.PIPELINE, times=5,
        what="two confirmations at once",
    ),
    Row(
        id="C4", expected=Outcome.OLD, inject=commit_of_nothing, driver=Driver.PIPELINE,
        what="a confirmation without an attempt",
    ),
    Row(
        id="C5", expected=Outcome.NEW, inject=commit_of_another, driver=Driver.PIPELINE,
        what="a confirmation of another system, then the right one",
    ),
    Row(
        id="C9", expected=Outcome.NEW, inject=commit_after_another_version, driver=Driver.PIPELINE,
        what="another version of flakeup publishes its runner before the confirmation",
    ),
    Row(
        id="C6", expected=Outcome.NEW, inject=abort_after_the_commit, driver=Driver.PIPELINE,
        what="an abort after the commit",
    ),
    Row(
        id="C8", expected=Outcome.OLD, inject=never_confirmed, driver=Driver.PIPELINE, times=3,
        quick=1, within=15, what="no confirmation comes",
    ),
    Row(
        id="C7", expected=Outcome.OLD, inject=abort_instead, driver=Driver.PIPELINE, times=3,
        within=15, what="an abort instead of the confirmation",
    ),
)  # fmt: skip
