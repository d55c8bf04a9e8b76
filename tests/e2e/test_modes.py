"""One host over time: mode boot, manual switches, generations, history."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.command_result import CommandResult
from harness.hosts import ContainerHost
from harness.incus import HarnessError
from tests.e2e.host_state import (
    Hosts,
    answers,
    attempts,
    boot_default,
    commit,
    profile,
    profiles,
    serving,
    system,
    systems,
)
from tests.e2e.stack import Workspace, wait_for

pytestmark = pytest.mark.e2e

ALL = {"unchanged": 10}
PROFILES = "/nix/var/nix/profiles"
BOOT = {"activation": {"mode": "boot"}}


def test_a_release_for_the_next_boot(workspace: Workspace, hosts: Hosts) -> None:
    host = hosts["web1"]
    old, units = system(host), host.started()
    workspace.write(appRef="v1", hosts=workspace.hosts(web1={"appRef": "v2", **BOOT}))
    preview = workspace.preview()
    assert (
        "mode boot: it becomes the boot default untested, and runs after the next boot"
        in preview.diagnostics()
    )
    assert "units changed: app-worker.service, app@.service" in preview.diagnostics()
    assert "if active" not in preview.diagnostics()
    result = workspace.up()
    assert result.code == 0, result.text
    new = workspace.recorded()["web1"]
    assert new != old
    assert (system(host), profile(host), boot_default(host)) == (old, new, new)
    assert host.started() == units
    assert workspace.outputs()["hosts"]["web1"]["outcome"] == "committed, for the next start"
    assert workspace.up().summary() == ALL
    assert host.started() == units
    assert_clean(workspace.preview("--expect-no-changes"))

    restart(host)
    assert (system(host), profile(host)) == (new, new)
    assert host.http() == "app v2 on web1"
    assert_clean(workspace.preview("--expect-no-changes"))


def test_releases_before_the_next_boot(workspace: Workspace, hosts: Hosts) -> None:
    """The state has the boot default: a host that still runs the system before has not drifted."""
    host = hosts["web1"]
    old, units = system(host), host.started()
    made: list[str] = []
    for version in ("v2", "v3"):
        workspace.write(appRef="v1", hosts=workspace.hosts(web1={"appRef": version, **BOOT}))
        if made:
            assert "drifted" not in workspace.preview().text
        result = workspace.up()
        assert result.code == 0, result.text
        made.append(workspace.recorded()["web1"])
        assert (system(host), profile(host), boot_default(host)) == (old, made[-1], made[-1])
    assert len({old, *made}) == 3
    assert host.started() == units


def test_a_manual_switch_is_reported_and_repaired(workspace: Workspace, hosts: Hosts) -> None:
    by_hand = system(hosts["web1"])
    workspace.write(appRef="v2")
    assert workspace.up().code == 0
    release, units = systems(hosts), hosts["web2"].started()
    with switched_by_hand(hosts["web1"], by_hand):
        named = workspace.preview()
        assert named.code == 0, named.text
        assert f"drifted: it runs {by_hand}, but {release['web1']} was deployed;" in named.text
        repaired = workspace.pulumi(*repair(named), "--yes", "--skip-preview")
        assert repaired.code == 0, repaired.text
        assert systems(hosts) == profiles(hosts) == workspace.recorded() == release
        assert answers(hosts) == serving("v2", "web1", "web2")
        assert hosts["web2"].started() == units
        assert_clean(workspace.preview("--expect-no-changes"))


def test_a_release_does_not_overwrite_a_manual_switch(workspace: Workspace, hosts: Hosts) -> None:
    host = hosts["web1"]
    by_hand = system(host)
    workspace.write(appRef="v2")
    assert workspace.up().code == 0
    old = system(host)
    with switched_by_hand(host, by_hand):
        workspace.fleet(web1={"extraText": "the next release"})
        named = workspace.preview()
        assert f"drifted: it runs {by_hand}, but {old} was deployed;" in named.text
        refused = workspace.up()
        assert refused.code != 0
        (error,) = refused.errors()
        assert f"not deployed: web1: it runs {by_hand}, and the last deployment was {old}" in error
        assert (system(host), workspace.recorded()["web1"]) == (by_hand, old)

        repaired = workspace.pulumi(*repair(named), "--yes", "--skip-preview")
        assert repaired.code == 0, repaired.text
        assert answers(hosts) == serving("v2", "web1", "web2")
        assert systems(hosts) == profiles(hosts) == workspace.recorded()
        assert_clean(workspace.preview("--expect-no-changes"))


def test_keep_generations(workspace: Workspace, hosts: Hosts) -> None:
    host = hosts["web1"]
    restart(host)
    booted = system(host)
    made = []
    for number in range(4):
        workspace.fleet(web1={"extraText": f"generation {number}"})
        workspace.write(
            appRef="v1", hosts=workspace.hosts(web1={"activation": {"keepGenerations": 2}})
        )
        assert workspace.up().code == 0
        made.append(system(host))
    assert len(set(made)) == 4
    assert set(generations(host)) == {booted, *made[-2:]}
    assert (profile(host), boot_default(host)) == (made[-1], made[-1])


def test_a_host_records_its_attempts(workspace: Workspace, hosts: Hosts, app: Path) -> None:
    host = hosts["web1"]
    old = system(host)
    workspace.fleet(web1={"faults": {"activate-fails": "1"}})
    workspace.write(appRef="v2")
    assert workspace.up().code != 0
    workspace.fleet()
    result = workspace.up()
    assert result.code == 0, result.text

    failed, mended = attempts(host)[-2:]
    assert (failed["state"], mended["state"]) == ("rolled-back", "committed")
    assert (failed["reason"], mended["reason"]) == ("the activation exited with status 2", "")
    assert (failed["old"], mended["old"]) == (old, old)
    assert mended["new"] == system(host) != failed["new"]
    assert failed["id"] < mended["id"]
    for attempt in (failed, mended):
        assert re.fullmatch(r"\S+@\S+ \(pid \d+\)", attempt["by"])
        assert f"appRef v2, appRev {commit(app, 'v2')}, flake ./flake, " in attempt["release"]
        assert int(attempt["ended"]) > 0


# --- what is done by hand ------------------------------------------------------------------


@contextmanager
def switched_by_hand(host: ContainerHost, toplevel: str) -> Iterator[None]:
    """A host that was manually switched to another system; switched back afterwards."""
    before = system(host)
    switch(host, toplevel)
    try:
        yield
    finally:
        if system(host) == toplevel:
            switch(host, before)


def switch(host: ContainerHost, toplevel: str) -> None:
    """What `nixos-rebuild switch` does on a host."""
    host.exec("nix-env", "--profile", f"{PROFILES}/system", "--set", toplevel)
    host.exec(f"{toplevel}/bin/switch-to-configuration", "switch")


def repair(result: CommandResult) -> list[str]:
    """The arguments of `pulumi` in the remedy that a preview prints for a drifted host."""
    found = re.search(r"repair: pulumi (up --replace '\S+')$", result.text, re.MULTILINE)
    assert found, result.text
    return shlex.split(found[1])


def restart(host: ContainerHost) -> None:
    """Reboot a host, and wait until it runs a system and accepts connections."""
    host.incus.call("restart", "--force", host.instance)
    wait_for(lambda: is_up(host), 120)


def is_up(host: ContainerHost) -> bool:
    try:
        host.exec("systemctl", "is-active", "ssh.service")
        return host.http(timeout=1).startswith("app ")
    except HarnessError:
        return False


def generations(host: ContainerHost) -> list[str]:
    """The systems of a host's generations, oldest first."""
    links = host.query("find", PROFILES, "-name", "system-*-link").split()
    ordered = sorted(links, key=lambda link: int(link.split("-")[-2]))
    return [host.query("readlink", "-f", link).strip() for link in ordered]


def assert_clean(result: CommandResult) -> None:
    """Nothing changes, and nothing is reported."""
    assert result.code == 0, result.text
    assert result.summary() == ALL
    assert "drifted" not in result.text
    assert "warning" not in result.text
