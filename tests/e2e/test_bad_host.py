"""Failures on a host: it is back on OLD, the others are not delayed, and `up` continues."""

import re

import pytest

from harness.hosts import ContainerHost
from tests.e2e.host_state import Hosts, answers, profile, profiles, serving, system, systems
from tests.e2e.stack import Workspace, host_config

pytestmark = pytest.mark.e2e

CONTROL = re.compile(r"[^\S\n ]|[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""Characters that move the cursor, change colours or end lines."""


def test_a_failed_activation_fails_up_and_ends_on_old(workspace: Workspace, hosts: Hosts) -> None:
    old = systems(hosts)
    workspace.fleet(web2={"faults": {"activate-fails": "1"}})
    workspace.write(appRef="v2")
    result = workspace.up()
    assert result.code != 0
    (error,) = result.errors()
    first, *log, remedy = error.splitlines()
    assert first == (
        'before hook "web2-switch" failed: not deployed: web2: the activation exited with status 2:'
        " rolled back to the previous system"
    )
    assert "cannot create the directory /var/lib/app: read-only file system" in log
    assert remedy == (f"it runs {old['web2']} now; fix the release, then run `pulumi up` again")
    assert system(hosts["web2"]) == profile(hosts["web2"]) == old["web2"]
    assert answers(hosts) == serving("v2", "web1") | serving("v1", "web2")
    assert workspace.recorded() == {"web1": system(hosts["web1"]), "web2": old["web2"]}
    assert workspace.preview("--json").systems().keys() == {"web2"}

    workspace.fleet()
    mended = workspace.up()
    assert mended.code == 0, mended.text
    assert answers(hosts) == serving("v2", "web1", "web2")
    assert profiles(hosts) == systems(hosts)


def test_the_other_hosts_finish_after_a_failure(workspace: Workspace, hosts: Hosts) -> None:
    """The program must survive the failure of a resource."""
    workspace.fleet(web1={"activationSeconds": 2}, web2={"faults": {"check-fails": "no line end"}})
    workspace.write(appRef="v2")
    result = workspace.up("--continue-on-error")
    assert result.code != 0
    assert "Traceback" not in result.text
    (error,) = result.errors()
    assert error == (
        'before hook "web2-switch" failed: not deployed: web2: refused:'
        " its pre-switch checks failed:"
        " there are changes to critical components of the system; switching into it is not safe"
        " no line end; to deploy it for the next start, set activation.mode: boot."
        " nothing was changed"
    )
    assert answers(hosts) == serving("v2", "web1") | serving("v1", "web2")
    assert workspace.outputs()["hosts"]["web2"]["outcome"] == "failed"


def test_output_of_a_host_cannot_move_the_cursor(workspace: Workspace, hosts: Hosts) -> None:
    workspace.fleet(web2={"faults": {"activate-floods": "2", "activate-fails": "1"}})
    workspace.write(appRef="v2")
    result = workspace.up("--target", "**::web2*", "--target", "**::build")
    assert result.code != 0
    assert "a very long line of output" in result.text
    assert CONTROL.findall(result.text) == []
    assert system(hosts["web2"]) == profile(hosts["web2"])


@pytest.fixture
def narrow(third: ContainerHost) -> ContainerHost:
    """A host whose store has no space for a system."""
    third.exec("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/nix/store")
    return third


def test_a_full_store(workspace: Workspace, narrow: ContainerHost) -> None:
    everybody = {**workspace.hosts(), "web3": host_config(narrow)}
    workspace.write(appRef="v1", hosts=everybody)
    result = workspace.up()
    assert result.code != 0
    (error,) = result.errors()
    assert error.startswith('before hook "web3-copy" failed: the copy failed: web3')
    assert "No space left on device" in error
    summary = "the rollout stopped: untouched: web1, web2; not copied: web3"
    assert summary in result.diagnostics()
    assert error.endswith(
        "make room on the host (`nix-collect-garbage -d`), then run `pulumi up` again"
    )

    narrow.exec("mount", "-o", "remount,size=200m", "/nix/store")
    mended = workspace.up()
    assert mended.code == 0, mended.text
    assert narrow.http() == "app v1 on web3"

    workspace.write(appRef="v1")
    assert workspace.up().code == 0, "a host that left the config is forgotten, not touched"
    assert narrow.http() == "app v1 on web3"
