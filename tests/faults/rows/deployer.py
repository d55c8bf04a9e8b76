"""The deployer is killed, or its state is lost or outdated (F11, F12, F25)."""

import json
import time
from collections.abc import Callable

from harness.command_result import CommandResult
from tests.faults import deployer_processes
from tests.faults.row import Outcome, Row
from tests.faults.rows.copying import COPYING
from tests.faults.scenario import EngineScenario, Scenario


def killed(moment: str, system: str = "slow") -> Callable[[Scenario], None]:
    """Kill the engine and its descendants while nix works, or when the host is in a state."""

    def inject(scenario: Scenario) -> None:
        assert isinstance(scenario, EngineScenario)
        with scenario.deploying(system) as engine:
            scenario.cancel_on_cleanup()
            match moment:
                case "evaluating":
                    deployer_processes.wait_for(engine.process.pid, "nix", "nix-command")
                case "copying":
                    scenario.shell.wait_until(COPYING)
                case _:
                    scenario.wait_for_state(*moment.split())
            scenario.mark_fault()
            engine.kill()

    return inject


def killed_at_random(scenario: Scenario) -> None:
    """Also between the commit and the state update: then the host is a release ahead of it."""
    assert isinstance(scenario, EngineScenario)
    with scenario.deploying("slow") as engine:
        scenario.cancel_on_cleanup()
        scenario.wait_for_state(
            "prepared", "activating", "checking", "awaiting-confirm", "committed"
        )
        scenario.sleep_random(0, 5)
        scenario.mark_fault()
        engine.kill()


def interrupted(scenario: Scenario) -> None:
    """One Ctrl-C: the activation in progress is finished, and nothing else is started."""
    assert isinstance(scenario, EngineScenario)
    with scenario.deploying("slow") as engine:
        scenario.wait_for_phase("activate")
        scenario.mark_fault()
        engine.process.send_signal(2)
        result = engine.wait()
    assert result.code, result.text
    assert "update canceled" in result.text


def interrupted_twice(scenario: Scenario) -> None:
    assert isinstance(scenario, EngineScenario)
    with scenario.deploying("slower") as engine:
        scenario.cancel_on_cleanup()
        scenario.wait_for_phase("activate")
        scenario.mark_fault()
        engine.process.send_signal(2)
        time.sleep(0.5)
        engine.process.send_signal(2)
        engine.wait()


def lost_state(scenario: Scenario) -> CommandResult:
    """The state is lost; the host already runs the release, and keeps its units."""
    assert isinstance(scenario, EngineScenario)
    workspace = scenario.host.workspace
    assert scenario.deploy().code == 0
    before = scenario.host.container.started()
    whole = workspace.pulumi("stack", "export").json
    whole["deployment"].pop("resources", None)
    _import(scenario, json.dumps(whole))
    again = workspace.up()
    assert scenario.host.container.started() == before, "units were restarted"
    return again


def older_state(scenario: Scenario) -> CommandResult:
    """The state from before the last deployment is restored."""
    assert isinstance(scenario, EngineScenario)
    workspace = scenario.host.workspace
    older = workspace.pulumi("stack", "export").json
    assert scenario.deploy().code == 0
    before = scenario.host.container.started()
    _import(scenario, json.dumps(older))
    again = workspace.up()
    assert scenario.host.container.started() == before, "units were restarted"
    return again


def destroyed(scenario: Scenario) -> None:
    """The stack is destroyed while its host is off: the host is not contacted, nor changed."""
    assert isinstance(scenario, EngineScenario)
    scenario.configure()
    scenario.shell.incus("stop", "--force")
    try:
        result = scenario.host.workspace.pulumi("destroy", "--yes", "--skip-preview")
    finally:
        scenario.shell.incus("start")
        scenario.shell.wait_until_booted()
    assert result.code == 0, result.text
    assert not scenario.host.recorded(), "the state still has the host"


def _import(scenario: EngineScenario, text: str) -> None:
    file = scenario.host.workspace.folder / "state.json"
    file.write_text(text)
    result = scenario.host.workspace.pulumi("stack", "import", "--file", str(file))
    assert result.code == 0, result.text


ROWS = (
    Row(
        id="F11a", expected=Outcome.OLD, inject=killed("evaluating"),
        what="the deployer is killed while it evaluates",
    ),
    Row(
        id="F11b", expected=Outcome.OLD, inject=killed("copying", "large"),
        what="the deployer is killed while it copies",
    ),
    Row(
        id="F11c", expected=Outcome.OLD, inject=killed("prepared activating"), quick=1,
        what="the deployer is killed while the host activates",
    ),
    Row(
        id="F11d", expected=Outcome.OLD, inject=killed("checking"),
        what="the deployer is killed while the host checks",
    ),
    Row(
        id="F11e", expected=Outcome.EITHER, inject=killed("awaiting-confirm"), times=3,
        what="the deployer is killed while the host awaits its confirmation",
    ),
    Row(
        id="F11f", expected=Outcome.NEW, inject=killed("committed"), quick=1,
        what="the deployer is killed after the commit, before it writes its state",
    ),
    Row(
        id="F11g", expected=Outcome.EITHER, inject=killed_at_random, times=10,
        what="the deployer is killed at a random moment",
    ),
    Row(
        id="F11h", expected=Outcome.NEW, inject=interrupted,
        what="one Ctrl-C during the activation",
    ),
    Row(
        id="F11i", expected=Outcome.OLD, inject=interrupted_twice,
        what="two Ctrl-C during the activation",
    ),
    Row(
        id="F25", expected=Outcome.OLD, inject=destroyed,
        what="the stack is destroyed while the host is off",
    ),
    Row(
        id="F12a", expected=Outcome.NEW, inject=lost_state,
        what="the state is lost; the host runs the release already",
    ),
    Row(
        id="F12b", expected=Outcome.NEW, inject=older_state,
        what="an older state is restored; the host runs the release already",
    ),
)  # fmt: skip
