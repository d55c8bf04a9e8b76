"""The deployer dies, or has forgotten what it did (F11, F12, F25)."""

import json
import time
from collections.abc import Callable

from harness.command_result import CommandResult
from tests.faults import local
from tests.faults.row import Ending, Row
from tests.faults.rows.copying import COPYING
from tests.faults.scene import EngineScene, Scene

GROUP = "deployer"


def killed(moment: str, system: str = "slow") -> Callable[[Scene], None]:
    """KILL the engine and all it has started, when the host is in a state (or nix is at work)."""

    def play(scene: Scene) -> None:
        assert isinstance(scene, EngineScene)
        with scene.going(system) as engine:
            scene.cancel()
            match moment:
                case "evaluating":
                    local.wait_for(engine.process.pid, "nix", "nix-command")
                case "copying":
                    scene.grip.until(COPYING)
                case _:
                    scene.at_state(*moment.split())
            scene.mark()
            engine.kill()

    return play


def killed_somewhere(scene: Scene) -> None:
    """Also between the commit and the state: then the host is one release ahead of the state."""
    assert isinstance(scene, EngineScene)
    with scene.going("slow") as engine:
        scene.cancel()
        scene.at_state("prepared", "activating", "checking", "awaiting-confirm", "committed")
        scene.wait(0, 5)
        scene.mark()
        engine.kill()


def interrupted(scene: Scene) -> None:
    """One Ctrl-C: the host whose activation is under way is finished, and nothing else begins."""
    assert isinstance(scene, EngineScene)
    with scene.going("slow") as engine:
        scene.at_phase("activate")
        scene.mark()
        engine.process.send_signal(2)
        result = engine.end()
    assert result.code, result.text
    assert "update canceled" in result.text


def interrupted_twice(scene: Scene) -> None:
    assert isinstance(scene, EngineScene)
    with scene.going("slower") as engine:
        scene.cancel()
        scene.at_phase("activate")
        scene.mark()
        engine.process.send_signal(2)
        time.sleep(0.5)
        engine.process.send_signal(2)
        engine.end()


def forgotten(scene: Scene) -> CommandResult:
    """The state is lost; the host has what is wanted, and keeps its units."""
    assert isinstance(scene, EngineScene)
    workspace = scene.site.workspace
    assert scene.deploy().code == 0
    before = scene.site.host.started()
    whole = workspace.pulumi("stack", "export").json
    whole["deployment"].pop("resources", None)
    _import(scene, json.dumps(whole))
    again = workspace.up()
    assert scene.site.host.started() == before, "units were restarted"
    return again


def older_state(scene: Scene) -> CommandResult:
    """The state of before the last deployment is put back."""
    assert isinstance(scene, EngineScene)
    workspace = scene.site.workspace
    older = workspace.pulumi("stack", "export").json
    assert scene.deploy().code == 0
    before = scene.site.host.started()
    _import(scene, json.dumps(older))
    again = workspace.up()
    assert scene.site.host.started() == before, "units were restarted"
    return again


def destroyed(scene: Scene) -> None:
    """The stack goes while its host is off: nothing is asked of the host, and it stays as it is."""
    assert isinstance(scene, EngineScene)
    scene.configure()
    scene.grip.incus("stop", "--force")
    try:
        result = scene.site.workspace.pulumi("destroy", "--yes", "--skip-preview")
    finally:
        scene.grip.incus("start")
        scene.grip.started()
    assert result.code == 0, result.text
    assert not scene.site.recorded(), "the state still has the host"


def _import(scene: EngineScene, text: str) -> None:
    file = scene.site.workspace.folder / "state.json"
    file.write_text(text)
    result = scene.site.workspace.pulumi("stack", "import", "--file", str(file))
    assert result.code == 0, result.text


ROWS = (
    Row(
        id="F11a", group=GROUP, expected=Ending.OLD, play=killed("evaluating"),
        what="the deployer is killed while it evaluates",
    ),
    Row(
        id="F11b", group=GROUP, expected=Ending.OLD, play=killed("copying", "large"),
        what="the deployer is killed while it copies",
    ),
    Row(
        id="F11c", group=GROUP, expected=Ending.OLD, play=killed("prepared activating"), quick=1,
        what="the deployer is killed while the host activates",
    ),
    Row(
        id="F11d", group=GROUP, expected=Ending.OLD, play=killed("checking"),
        what="the deployer is killed while the host checks",
    ),
    Row(
        id="F11e", group=GROUP, expected=Ending.EITHER, play=killed("awaiting-confirm"), times=3,
        what="the deployer is killed when it could confirm",
    ),
    Row(
        id="F11f", group=GROUP, expected=Ending.NEW, play=killed("committed"), quick=1,
        what="the deployer is killed after the commit, before it has written its state",
    ),
    Row(
        id="F11g", group=GROUP, expected=Ending.EITHER, play=killed_somewhere, times=10,
        what="the deployer is killed at a random moment",
    ),
    Row(
        id="F11h", group=GROUP, expected=Ending.NEW, play=interrupted,
        what="one Ctrl-C during the activation",
    ),
    Row(
        id="F11i", group=GROUP, expected=Ending.OLD, play=interrupted_twice,
        what="two Ctrl-C during the activation",
    ),
    Row(
        id="F25", group=GROUP, expected=Ending.OLD, play=destroyed,
        what="the stack is destroyed while the host is switched off",
    ),
    Row(
        id="F12a", group=GROUP, expected=Ending.NEW, play=forgotten,
        what="the state is lost; the host has what is wanted",
    ),
    Row(
        id="F12b", group=GROUP, expected=Ending.NEW, play=older_state,
        what="an older state is restored; the host has what is wanted",
    ),
)  # fmt: skip
