"""Releases that come to no host: they do not evaluate or build, or their tag moved (F17, F21)."""

import subprocess

from harness.command_result import CommandResult
from tests.faults.row import Ending, Row
from tests.faults.rows.systems import bad
from tests.faults.scene import EngineScene, Scene

GROUP = "release"


def moved_tag(scene: Scene) -> CommandResult:
    assert isinstance(scene, EngineScene)
    tag = f"{scene.row.id}-{scene.seed}-{scene.site.host.name}".lower()
    repository = scene.site.workspace.folder.parents[1] / "git" / "app"
    _git(repository, "update-ref", f"refs/tags/{tag}", "v1^{commit}")
    scene.undo.callback(_git, repository, "update-ref", "-d", f"refs/tags/{tag}")
    assert scene.deploy(appRef=tag).code == 0
    scene.become_old()
    scene.configure(appRef=tag)
    _git(repository, "update-ref", f"refs/tags/{tag}", "v2^{commit}")
    return scene.site.workspace.up()


def _git(repository: object, *words: str) -> None:
    subprocess.run(("git", "-C", str(repository), *words), check=True, timeout=30)


ROWS = (
    Row(
        id="F17a", group=GROUP, expected=Ending.OLD, play=moved_tag, says="moved",
        what="the tag is moved after it was deployed",
    ),
    Row(
        id="F21a", group=GROUP, expected=Ending.OLD, play=bad("eval-fails"),
        says=r"does not evaluate", what="the flake does not evaluate",
    ),
    Row(
        id="F21b", group=GROUP, expected=Ending.OLD, play=bad("build-fails"), quick=1,
        says=r"cannot build this host", what="the release does not build",
    ),
)  # fmt: skip
