"""Waves (F15): a bad canary or later host, a host that is down, a killed deployer."""

from collections.abc import Callable

from harness.command_result import CommandResult
from tests.faults.fleet import FleetScenario
from tests.faults.row import Driver, Outcome, Row


def bad_canary(scenario: FleetScenario) -> CommandResult:
    first, *others = scenario.names
    scenario.old, scenario.untouched = (first,), tuple(others)
    return scenario.deploy({first: "unit-fails"})


def bad_later(scenario: FleetScenario) -> CommandResult:
    """One of a pair fails; even with --continue-on-error the later waves are not started."""
    first, second, third, *others = scenario.names
    scenario.new, scenario.old, scenario.untouched = (first, second), (third,), tuple(others)
    return scenario.deploy({third: "unit-fails"}, "--continue-on-error")


def bad_with_a_queue(scenario: FleetScenario) -> CommandResult:
    """With maxParallel 1, the first host of the wave fails and the waiting ones are not touched."""
    first, *others = scenario.names
    scenario.new = (first,)
    rollout = {"canary": 1, "maxParallel": 1}
    result = scenario.deploy(
        dict.fromkeys(others, "unit-fails"), "--continue-on-error", rollout=rollout
    )
    touched = [
        name
        for name in others
        if scenario.hosts[name].shell.snapshot().attempt != scenario.before[name].attempt
    ]
    assert len(touched) == 1, f"touched: {touched}"
    scenario.old = (touched[0],)
    return result


def away(scenario: FleetScenario) -> CommandResult:
    first, second, third, _, fifth, *others = scenario.names
    scenario.new, scenario.old, scenario.untouched = (first, second, third), (fifth,), tuple(others)
    # A failed copy would stop the rollout before it starts, so copy in advance.
    copies = (word for name in scenario.names for word in ("--target", f"**::{name}-copy"))
    copied = scenario.deploy({}, *copies)
    assert copied.code == 0, copied.text
    host = scenario.hosts[fifth]
    host.shell.incus("stop", "--force")

    def back() -> None:
        host.shell.incus("start")
        host.shell.wait_until_booted()

    scenario.cleanup.callback(back)
    return scenario.deploy({}, "--continue-on-error")


def killed(scenario: FleetScenario) -> None:
    """All hosts activate at once, and the deployer is killed meanwhile."""
    rollout = {"canary": 0}
    with scenario.deploying(dict.fromkeys(scenario.names, "slow"), rollout=rollout) as engine:
        scenario.cleanup.callback(scenario.workspace.cancel)
        name = scenario.random.choice(scenario.names)
        scenario.hosts[name].shell.wait_for_state(scenario.before[name].attempt, "activating")
        engine.kill()


def _row(
    name: str, what: str, inject: Callable[[FleetScenario], CommandResult | None], quick: int = 0
) -> Row:
    return Row(
        id=name, what=what, expected=Outcome.EACH, driver=Driver.FLEET, quick=quick, inject=inject
    )


ROWS = (
    _row("F15a", "a unit fails on the canary of a fleet", bad_canary, quick=1),
    _row("F15b", "a host of a later wave is off", away),
    _row("F15d", "a unit fails in the second wave, with --continue-on-error", bad_later),
    _row("F15e", "a unit fails on a host for which others wait", bad_with_a_queue),
    _row("F15f", "the deployer is killed while all hosts activate", killed),
)
