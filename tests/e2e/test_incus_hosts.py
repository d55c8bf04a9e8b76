"""Existing hosts in Incus: releases, and manual changes."""

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.hosts import ContainerHost
from tests.e2e.host_state import answers, profiles, serving, started, system, systems
from tests.e2e.incus_stack import LISTING, PREFIX, UNCHANGED, VOLUME, IncusEnvironment, env, two

if TYPE_CHECKING:
    from harness.command_result import Json

__all__ = ["env", "two"]
pytestmark = pytest.mark.e2e
STRANGER = f"{PREFIX}-web3"


def test_a_second_up_changes_nothing(two: IncusEnvironment) -> None:
    hosts = two.hosts()
    assert answers(hosts) == serving("v1", *hosts)
    before = (two.uuids(), started(hosts))
    two.expect_no_change()
    assert (two.uuids(), started(hosts)) == before


def test_a_release_is_a_copy_and_a_switch(two: IncusEnvironment) -> None:
    hosts, before = two.hosts(), (two.uuids(), two.images())
    old = systems(hosts)
    two.stack.write(appRef="v2")
    preview = two.stack.preview()
    assert two.proxy.requests("recursion=2") == [f"{LISTING}&project={two.incus.project}"]
    named = two.stack.preview("--json").systems()
    for name in hosts:
        assert f"{name}: {old[name]} → {named[name]}" in preview.text
    two.proxy.reset()
    assert two.up().summary() == {"updated": 6, "unchanged": 10}
    assert two.proxy.changes() == []
    assert systems(hosts) == profiles(hosts) == two.stack.recorded() == named
    assert answers(hosts) == serving("v2", *hosts)
    assert (two.uuids(), two.images()) == before


def test_deleted_and_stopped_resources_are_restored(two: IncusEnvironment) -> None:
    before, (image,) = two.uuids(), two.images()
    addresses = {name: host.address for name, host in two.hosts().items()}
    two.hosts()["web1"].exec("sh", "-c", "echo kept >/srv/data/file")
    two.by_hand("delete", "--force", f"{PREFIX}-web1")
    two.by_hand("stop", "--force", f"{PREFIX}-web2")
    two.by_hand("image", "delete", image)
    preview = two.stack.preview("--json")
    steps = {step["urn"].rpartition("::")[2]: step["op"] for step in preview.json["steps"]}
    assert steps["web2-instance"] == "update"
    assert steps["base-image-flakeup"] == "update"
    assert preview.systems().keys() == {"web1"}

    two.up()
    hosts = two.hosts()
    assert answers(hosts) == serving("v1", *hosts)
    assert systems(hosts) == profiles(hosts) == two.stack.recorded()
    assert {name: host.address for name, host in hosts.items()} == addresses
    assert hosts["web1"].query("cat", "/srv/data/file") == "kept\n"
    after = two.uuids()
    assert (after["web2"], after["web1"] != before["web1"]) == (before["web2"], True)
    assert two.images().keys() == {image}
    two.expect_no_change()


def test_a_changed_host_key_is_refused_until_a_refresh(two: IncusEnvironment) -> None:
    host = two.hosts()["web1"]
    key = "/etc/ssh/ssh_host_ed25519_key"
    renew = f"rm {key}*; ssh-keygen -q -t ed25519 -N '' -f {key}; systemctl restart ssh"
    pinned = fingerprint(host, key)
    two.by_hand("exec", host.instance, "-T", "--", "sh", "-c", renew)
    offered = fingerprint(host, key)
    two.stack.write(appRef="v2")
    result = two.stack.up()
    assert result.code != 0
    (error,) = result.errors()
    assert error == (
        'before hook "web1-copy" failed: host key mismatch: '
        f"web1 (root@{host.address}, port 22): pinned {pinned}, offered {offered}. "
        "find out why it changed; then `pulumi refresh` reads it again through Incus"
    )
    assert answers(two.hosts()) == serving("v1", "web1", "web2"), "no other host is deployed"
    refreshed = two.stack.pulumi("refresh", "--yes", "--skip-preview")
    assert refreshed.code == 0, refreshed.text
    two.up()
    assert answers(two.hosts()) == serving("v2", "web1", "web2")


def fingerprint(host: ContainerHost, key: str) -> str:
    return host.query("ssh-keygen", "-lf", f"{key}.pub").split()[1]


def test_a_taken_name_affects_no_other_host_and_can_be_imported(
    two: IncusEnvironment,
) -> None:
    """Another instance has the name: the command in the message imports it."""
    two.incus.call("launch", f"local:{two.incus.image}", STRANGER)
    try:
        third: Json = {"target": "incus", "incus": {"name": STRANGER}}
        two.stack.write(appRef="v2", hosts={**two.stack.hosts(), "web3": third})
        result = two.stack.up("--continue-on-error")
        assert result.code != 0
        assert "Traceback" not in result.text
        (error,) = result.errors()
        project = two.incus.project
        assert error.startswith(
            f"name taken: {STRANGER} (local, project {project}): an instance that is not part of "
            "this stack has that name. choose another `name`, or import the instance: "
        )
        hosts = two.hosts()
        assert answers(hosts) == serving("v2", *hosts)
        assert two.stack.recorded() == systems(hosts)

        command = re.search("`(pulumi import [^`]+)`", error)
        assert command
        uuid = two.uuids()["web3"]
        taken = two.stack.pulumi(*shlex.split(command[1])[1:], "--yes")
        assert taken.code == 0, taken.text
        authorize_key(two, STRANGER)
        two.up()
        assert two.hosts("web3")["web3"].http() == "app v2 on web3"
        assert two.uuids()["web3"] == uuid

        two.stack.write(appRef="v2")
        kept = two.uuids()
        two.up()
        assert "web3" not in two.instances()
        assert two.uuids() == {name: kept[name] for name in ("web1", "web2")}
    finally:
        two.incus.attempt("delete", "--force", STRANGER)


def authorize_key(env: IncusEnvironment, instance: str) -> None:
    """Authorize the stack's key, as a user does on an existing machine."""
    key = env.stack.folder.parents[1] / "keys" / "client.pub"
    place = f"{instance}/root/.ssh/authorized_keys"
    words = ("--create-dirs", "--mode", "0600", "--uid", "0", "--gid", "0")
    env.incus.call("file", "push", str(key), place, *words)


def test_a_disabled_host_is_left_alone_and_another_is_renamed(two: IncusEnvironment) -> None:
    """web1 is disabled and was stopped by hand; web2 gets another name."""
    host, before = two.hosts()["web2"], two.uuids()
    old, moved = system(host), f"{PREFIX}-moved"
    two.by_hand("stop", "--force", f"{PREFIX}-web1")
    two.stack.write(
        appRef="v1",
        hosts=two.stack.hosts(web1={"enabled": False}, web2=two.incus_config("web2", name=moved)),
    )
    preview = two.stack.preview("--json")
    steps = {step["urn"].rpartition("::")[2]: step["op"] for step in preview.json["steps"]}
    assert steps["web2-instance"] == "update"
    assert "web1-instance" not in steps
    two.up()
    assert two.instances()["web1"]["status"] == "Stopped"
    assert two.volumes() == [VOLUME]
    renamed = two.hosts("moved")["moved"]
    assert two.uuids() == {"web1": before["web1"], "moved": before["web2"]}
    assert (renamed.address, renamed.host_key) == (host.address, host.host_key)
    assert system(renamed) == old
    two.stack.write(appRef="v1")
    two.up()
    assert two.uuids() == before
    assert answers(two.hosts()) == serving("v1", "web1", "web2")


def test_a_new_image_recreates_roots_by_policy(two: IncusEnvironment) -> None:
    """web1 is rebuilt from it and web2 replaced: both are deployed to like new hosts."""
    before, old = two.uuids(), two.hosts()
    (image,) = two.images()
    base = two.stack.folder / "flake" / "base.json"
    text = base.read_text()
    try:
        authorize_another_key(base)
        two.up()
        (new,) = two.images()
        assert new != image
        assert two.uuids() == before, "`ignore` keeps the roots"
        policies = {
            "web1": two.incus_config("web1", onImageChange="rebuild"),
            "web2": two.incus_config("web2", onImageChange="replace"),
        }
        two.stack.write(appRef="v1", hosts=two.stack.hosts(**policies))
        assert two.stack.preview("--json").systems() == systems(old)
        result = two.stack.preview()
        assert result.text.count("its root disk is recreated first") == 2
        two.up()
        hosts = two.hosts()
        assert answers(hosts) == serving("v1", *hosts)
        assert systems(hosts) == profiles(hosts) == two.stack.recorded()
        after = two.uuids()
        assert (after["web1"], after["web2"] != before["web2"]) == (before["web1"], True)
        assert {name: host.address for name, host in hosts.items()} == {
            name: host.address for name, host in old.items()
        }
        assert all(hosts[name].host_key != old[name].host_key for name in hosts)
        assert two.images().keys() == {new}, "the old image is deleted with its last reference"
        two.expect_no_change()
    finally:
        base.write_text(text)


def authorize_another_key(base: Path) -> None:
    """Change the image: add a key."""
    result = json.loads(base.read_text())
    result["authorizedKeys"].append(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII37QsfaC6TZC04ULDxkqO8IB9/KJvwLWbiP2ORl634Q"
    )
    base.write_text(json.dumps(result))


def test_a_preview_without_incus_uses_the_state(two: IncusEnvironment) -> None:
    two.stack.write(appRef="v2")
    with two.proxy.down():
        result = two.stack.preview()
    assert result.code == 0, result.text
    assert result.summary() == {"update": 6, "unchanged": 10}
    away = f"cannot reach Incus: local ({two.proxy.path}): [Errno 2] No such file or directory. "
    told = [line for line in result.diagnostics().splitlines() if away in line]
    assert [line.strip().startswith("warning: ") for line in told].count(True) == 1
    assert [line.strip().startswith(away) for line in told].count(True) == 2, "one for each host"


def test_a_preview_of_fifty_hosts_lists_once(two: IncusEnvironment) -> None:
    fifty: Json = {
        f"h{number}": {"target": "incus", "attr": "web1", "incus": {"name": f"{PREFIX}-h{number}"}}
        for number in range(50)
    }
    two.stack.write(appRef="v1", hosts={**two.stack.hosts(), **fifty})
    result = two.stack.preview()
    assert result.code == 0, result.text
    assert result.summary() == {"create": 200, **UNCHANGED}
    assert sorted(two.proxy.requests()) == two.listing_requests
