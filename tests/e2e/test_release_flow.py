"""The main job: one ref in, the same systems in the preview and on the hosts, and a rollback."""

from pathlib import Path

import pytest

from harness.command_result import TOPLEVEL
from tests.e2e.host_state import (
    WORKER,
    Hosts,
    answers,
    commit,
    profiles,
    serving,
    started,
    system,
    systems,
    worker_starts,
)
from tests.e2e.stack import Workspace

pytestmark = pytest.mark.e2e

ALL = {"unchanged": 10}
"""Stack, its provider, release, fleet, build, and for each of two hosts: itself, copy, switch."""


def test_a_release_and_its_rollback(workspace: Workspace, hosts: Hosts, app: Path) -> None:
    before, units, starts = systems(hosts), started(hosts), worker_starts(hosts["web1"])
    assert answers(hosts) == serving("v1", "web1", "web2")

    workspace.config_set("appRef", "v2")
    named = workspace.preview("--json").systems()
    assert systems(hosts) == before, "a preview has changed a host"
    assert named.keys() == hosts.keys()
    assert not set(named.values()) & set(before.values())

    up = workspace.up()
    assert up.code == 0, up.text
    assert up.summary() == {"updated": 6, "unchanged": 4}
    assert systems(hosts) == named
    assert profiles(hosts) == named
    assert workspace.recorded() == named
    assert answers(hosts) == serving("v2", "web1", "web2")
    after = started(hosts)
    for name in hosts:
        changed = {unit for unit in units[name] if after[name].get(unit) != units[name][unit]}
        assert changed == {WORKER}
    assert worker_starts(hosts["web1"]) == starts + 1

    assert workspace.outputs() == {
        "release": {"appRef": "v2", "appRev": commit(app, "v2"), "flakeRev": None},
        "hosts": {name: {"toplevel": path, "outcome": "committed"} for name, path in named.items()},
    }

    again = workspace.up()
    assert (again.code, again.summary()) == (0, ALL)
    assert started(hosts) == after
    assert "Diagnostics" not in again.text or "activated" not in again.diagnostics()

    workspace.config_set("appRef", "v1")
    back = workspace.up()
    assert back.code == 0, back.text
    assert systems(hosts) == before
    assert answers(hosts) == serving("v1", "web1", "web2")


def test_a_preview_shows_changes_per_host(workspace: Workspace, hosts: Hosts) -> None:
    workspace.write(appRef="v2")
    result = workspace.preview()
    assert result.code == 0, result.text
    assert result.summary() == {"update": 6, "unchanged": 4}
    for name, host in hosts.items():
        _, _, block = result.diagnostics().partition(f"flakeup:index:NixosHost ({name}):\n")
        lines = [line.strip() for line in block.split("\n\n")[0].splitlines()]
        head, *rest = lines
        old, arrow, new = head.removeprefix(f"{name}: ").split(" ")
        assert (old, arrow) == (system(host), "→")
        assert TOPLEVEL.fullmatch(new)
        assert rest == [
            "packages: app: 1 → 2",
            "restarts if active: app-worker.service",
            "changed, not restarted: app@.service",
            "reboot: no",
        ]
    assert "error" not in result.text
    assert "warning" not in result.text


def test_a_host_may_be_ahead_of_the_others(workspace: Workspace, hosts: Hosts) -> None:
    units = hosts["web2"].started()
    workspace.write(appRef="v1", hosts=workspace.hosts(web1={"appRef": "v2"}))
    result = workspace.up()
    assert result.code == 0, result.text
    assert answers(hosts) == serving("v2", "web1") | serving("v1", "web2")
    assert hosts["web2"].started() == units
    assert workspace.outputs()["release"]["appRef"] == "v1"


def test_target_deploys_one_host(workspace: Workspace, hosts: Hosts) -> None:
    before, units = system(hosts["web2"]), hosts["web2"].started()
    workspace.write(appRef="v2")
    result = workspace.up("--target", "**::web1*")
    assert result.code == 0, result.text
    assert answers(hosts) == serving("v2", "web1") | serving("v1", "web2")
    assert (system(hosts["web2"]), hosts["web2"].started()) == (before, units)
    assert workspace.recorded()["web2"] == before

    rest = workspace.up()
    assert rest.code == 0, rest.text
    assert answers(hosts) == serving("v2", "web1", "web2")
