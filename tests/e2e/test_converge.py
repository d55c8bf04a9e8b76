"""An interrupted `up`, finished later by another user from another clone."""

import re
from pathlib import Path

import pytest

from tests.e2e.host_state import Hosts, answers, serving, system, systems
from tests.e2e.stack import Workspace

pytestmark = pytest.mark.e2e

EMPTY_STORE = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    # Build users are shared by all stores of a machine: taking one ends its processes.
    """
    export NIX_CONFIG='build-users-group ='
    mount -t tmpfs tmpfs /nix && mkdir -p /nix/store && exec "$@"
    """,
    "sh",
)
"""A machine with an empty store."""


@pytest.fixture
def elsewhere(workspace: Workspace, tmp_path: Path) -> Workspace:
    """Another clone in another folder, for another user, on a machine with an empty store."""
    made = workspace.clone(tmp_path)
    made.prefix = EMPTY_STORE
    return made


def test_a_preview_from_another_clone_shows_no_change(elsewhere: Workspace) -> None:
    result = elsewhere.preview("--expect-no-changes", "--diff")
    assert result.code == 0, result.text
    assert result.summary() == {"unchanged": 10}


def test_an_unreachable_host_is_deployed_from_another_clone(
    workspace: Workspace, elsewhere: Workspace, hosts: Hosts
) -> None:
    """web2 has its copy, and is unreachable in its wave; a failed copy would stop web1 too."""
    old, away, waves = systems(hosts), hosts["web2"], {"canary": "web1"}
    # The engine knows the waves before it is given targets: it keeps what it knew of the rest.
    workspace.write(appRef="v1", rollout=waves)
    assert workspace.up().code == 0
    for clone in (workspace, elsewhere):
        clone.fleet(**{name: {"extraText": "away"} for name in hosts})
        clone.write(appRef="v2", rollout=waves)
    copied = workspace.up("--target", "**::web1-copy", "--target", "**::web2-copy")
    assert copied.code == 0, copied.text
    away.exec("systemctl", "stop", "ssh.socket", "ssh.service")
    try:
        failed = workspace.up("--continue-on-error")
    finally:
        away.exec("systemctl", "start", "ssh.service")
    assert failed.code != 0
    assert answers(hosts) == serving("v2", "web1") | serving("v1", "web2")
    assert "the rollout stopped: committed: web1; failed: web2" in failed.diagnostics()
    recorded = workspace.recorded()
    assert recorded == {"web1": system(hosts["web1"]), "web2": old["web2"]}
    away.exec("nix-store", "--delete", elsewhere.preview("--json").systems()["web2"])

    units = hosts["web1"].started()
    result = elsewhere.up()
    assert result.code == 0, result.text
    done = re.search(r"Command (build|web2-copy) (created|updated)", result.text)
    assert not done, "the state has both done"
    assert answers(hosts) == serving("v2", "web1", "web2")
    assert hosts["web1"].started() == units


def test_an_up_killed_after_its_build_is_finished_from_another_clone(
    workspace: Workspace, elsewhere: Workspace, hosts: Hosts
) -> None:
    slow = {name: {"activationSeconds": 2, "extraText": "killed"} for name in hosts}
    for clone in (workspace, elsewhere):
        clone.fleet(**slow)
        clone.write(appRef="v2")
    with workspace.running("up", "--yes", "--skip-preview") as engine:
        engine.read_until(r"Command build (created|updated)")
        engine.kill()
    locked = elsewhere.up()
    assert locked.code != 0
    assert "pulumi cancel" in locked.text

    assert elsewhere.pulumi("cancel", "--yes").code == 0
    result = elsewhere.up()
    assert result.code == 0, result.text
    assert answers(hosts) == serving("v2", "web1", "web2")
    assert elsewhere.recorded() == systems(hosts)
    assert elsewhere.up().summary() == {"unchanged": 10}


def test_a_path_collected_on_the_host_is_copied_again(workspace: Workspace, hosts: Hosts) -> None:
    host = hosts["web1"]
    workspace.fleet(web1={"extraText": "lost", "payloadPaths": 1, "payloadMegabytes": 1})
    copied = workspace.up("--target", "**::web1-copy")
    assert copied.code == 0, copied.text
    (new,) = workspace.preview("--json").systems().values()
    assert system(host) != new
    host.exec("nix-store", "--delete", new)

    result = workspace.up()
    assert result.code == 0, result.text
    assert "web1-copy" not in result.text, "the state has it done"
    assert system(host) == new
