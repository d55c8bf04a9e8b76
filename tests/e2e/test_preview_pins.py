"""A branch moves, or a folder is edited, between the preview of an `up` and its update."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.host_state import Hosts, answers, commit, serving, systems
from tests.e2e.stack import STACK, Workspace

pytestmark = pytest.mark.e2e

BRANCH = "rolling"
GIT = """\
#!/bin/sh
case " $* " in *" ls-remote "*) echo asked >>{folder}/asked ;; esac
{git} "$@"
status=$?
case " $* " in *" ls-remote "*) . {folder}/then ;; esac
exit $status
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The app's git server: what runs ask it, and what happens after each answer."""

    folder: Path
    """With a `git` for the runs."""

    def asked(self) -> int:
        return len((self.folder / "asked").read_text().splitlines())

    def then(self, *argv: str) -> None:
        """Have a command run after each answer."""
        (self.folder / "then").write_text(shlex.join(argv) + "\n")


@pytest.fixture
def server(workspace: Workspace, app: Path, tmp_path: Path) -> Iterator[Server]:
    """The server with a branch at v1, which moves to v2 when a run has asked for it."""
    git = shutil.which("git") or ""
    subprocess.run((git, "-C", app, "branch", "--force", BRANCH, "v1"), check=True)
    made = Server(folder=tmp_path)
    made.then(git, "-C", str(app), "branch", "--quiet", "--force", BRANCH, "v2")
    command = tmp_path / "bin" / "git"
    command.parent.mkdir()
    command.write_text(GIT.format(git=git, folder=tmp_path))
    command.chmod(0o755)
    workspace.prefix = ("env", f"PATH={command.parent}:{workspace.environment['PATH']}")
    workspace.write(appRef=BRANCH)
    yield made
    workspace.prefix = ()
    subprocess.run((git, "-C", app, "branch", "--quiet", "-D", BRANCH), check=True)


def test_the_update_deploys_the_branch_of_its_preview(
    workspace: Workspace, hosts: Hosts, app: Path, server: Server
) -> None:
    before = systems(hosts)
    result = workspace.pulumi("up", "--yes")
    assert result.code == 0, result.text
    assert commit(app, BRANCH) == commit(app, "v2"), "it has moved"
    assert server.asked() == 1
    assert workspace.outputs()["release"]["appRev"] == commit(app, "v1")
    assert systems(hosts) == before

    following = workspace.pulumi("up", "--yes")
    assert following.code == 0, following.text
    assert server.asked() == 2
    assert answers(hosts) == serving("v2", "web1", "web2")


def test_an_update_without_a_preview_asks(
    workspace: Workspace, hosts: Hosts, server: Server
) -> None:
    """The preview of another `pulumi` may be days old."""
    assert workspace.preview().code == 0
    result = workspace.up()
    assert result.code == 0, result.text
    assert server.asked() == 2
    assert answers(hosts) == serving("v2", "web1", "web2")


def test_the_update_deploys_the_folder_of_its_preview(
    workspace: Workspace, hosts: Hosts, server: Server
) -> None:
    file = workspace.folder / "flake" / "hosts.json"
    edited = {name: {"extraText": "edited"} for name in json.loads(file.read_text())}
    (server.folder / "edited").write_text(json.dumps(edited))
    server.then("cp", str(server.folder / "edited"), str(file))
    before = systems(hosts)
    result = workspace.pulumi("up", "--yes")
    assert result.code == 0, result.text
    assert json.loads(file.read_text()) == edited, "it was edited meanwhile"
    assert systems(hosts) == before

    following = workspace.pulumi("up", "--yes")
    assert following.code == 0, following.text
    assert systems(hosts) != before
    assert workspace.recorded() == systems(hosts)


def test_records_of_previews_go(workspace: Workspace) -> None:
    for _ in range(2):
        assert workspace.preview().code == 0
    assert len(list((workspace.folder / ".flakeup" / STACK).glob("preview-*"))) == 1
