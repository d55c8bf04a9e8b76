"""Releases that do not evaluate or build, or whose tag has moved (F17, F21)."""

import subprocess

from harness.command_result import CommandResult
from tests.faults.row import Outcome, Row
from tests.faults.rows.systems import bad
from tests.faults.scenario import EngineScenario, Scenario


def moved_tag(scenario: Scenario) -> CommandResult:
    assert isinstance(scenario, EngineScenario)
    tag = f"{scenario.row.id}-{scenario.seed}-{scenario.host.name}".lower()
    repository = scenario.host.workspace.folder.parents[1] / "git" / "app"
    _git(repository, "update-ref", f"refs/tags/{tag}", "v1^{commit}")
    scenario.cleanup.callback(_git, repository, "update-ref", "-d", f"refs/tags/{tag}")
    assert scenario.deploy(appRef=tag).code == 0
    scenario.reset_baseline()
    scenario.configure(appRef=tag)
    _git(repository, "update-ref", f"refs/tags/{tag}", "v2^{commit}")
    return scenario.host.workspace.up()


def _git(repository: object, *words: str) -> None:
    subprocess.run(("git", "-C", str(repository), *words), check=True, timeout=30)


ROWS = (
    Row(
        id="F17a", expected=Outcome.OLD, inject=moved_tag, message="moved",
        what="the tag is moved after its deployment",
    ),
    Row(
        id="F21a", expected=Outcome.OLD, inject=bad("eval-fails"), message=r"does not evaluate",
        what="the flake does not evaluate",
    ),
    Row(
        id="F21b", expected=Outcome.OLD, inject=bad("build-fails"), quick=1,
        message=r"cannot build this host", what="the release does not build",
    ),
)  # fmt: skip
