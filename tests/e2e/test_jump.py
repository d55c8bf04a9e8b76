"""A host that only a bastion reaches: copy, switch, commit and rollback go through it."""

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import hosts as containers
from harness.command_result import Json
from harness.hosts import ContainerHost
from harness.incus import own_prefix
from harness.state import recorded
from tests.e2e.host_state import answers, profile, serving, system
from tests.e2e.stack import Backend, Workspace, host_config, wait_for

pytestmark = pytest.mark.e2e

PREFIX = own_prefix("flakeup-jump")
BASTION, INSIDE = "198.51.100.1", "198.51.100.2"
"""Addresses of a network that the deployer has no way into (RFC 5737)."""
SSHD_CONFIG = "/etc/ssh/sshd_config.d/inside.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A stack with one host, web2, whose sshd listens inside alone."""

    stack: Workspace
    bastion: ContainerHost
    web2: ContainerHost

    def jump(self, address: str = "", **changes: Json | str | int) -> Json:
        """The bastion as a jump; inside it has another address."""
        known = {"address": address or self.bastion.address, "hostKey": self.bastion.host_key}
        return {**known, "user": "deploy", **changes}

    def behind(self, *jumps: Json) -> Json:
        """The hosts of the config: web2 behind these jumps."""
        way = list(jumps) if len(jumps) > 1 else jumps[0]
        return {"web2": {**host_config(self.web2), "address": INSIDE, "proxyJump": way}}

    def logins(self) -> set[str]:
        """The addresses from which somebody has logged in to web2."""
        journal = self.web2.query("journalctl", "--boot", "--output=cat", "--no-pager")
        lines = [line for line in journal.splitlines() if line.startswith("Accepted publickey for")]
        return {line.split(" from ")[1].split(" ")[0] for line in lines}

    def up(self) -> dict[str, int]:
        """Run `pulumi up`, which must succeed."""
        result = self.stack.up()
        assert result.code == 0, result.text
        return result.summary()


@pytest.fixture(scope="module")
def site(place: Path, app_url: str) -> Iterator[Site]:
    keys = place / "jump-keys"
    containers.remove(PREFIX)
    try:
        made = containers.launch(PREFIX, ("bastion", "web2"), keys)
        _move_inside(made)
        stack = Workspace.create(place / "jump", Backend(state=place / "jump-state"), app_url)
        stack.init({"web2": made["web2"]}, (keys / "client").read_text())
        found = Site(stack=stack, bastion=made["bastion"], web2=made["web2"])
        stack.config["hosts"] = found.behind(found.jump())
        yield found
    finally:
        containers.remove(PREFIX)


def _move_inside(hosts: dict[str, ContainerHost]) -> None:
    """Join both hosts to a network of their own; web2's sshd leaves the other one."""
    for name, address in (("bastion", BASTION), ("web2", INSIDE)):
        hosts[name].exec("ip", "address", "add", f"{address}/30", "dev", "eth0")
    web2 = hosts["web2"]
    text = f"ListenAddress {INSIDE}\\n"
    web2.exec("sh", "-c", f"printf '{text}' >{SSHD_CONFIG} && systemctl restart ssh.service")
    wait_for(lambda: not _is_open(web2.address))


def _is_open(address: str) -> bool:
    """Whether an sshd greets us there; some networks accept any connection."""
    with contextlib.suppress(OSError), socket.create_connection((address, 22), 1) as connection:
        return connection.recv(4) == b"SSH-"
    return False


def test_a_host_behind_a_bastion(site: Site) -> None:
    stack, web2 = site.stack, site.web2
    assert not _is_open(INSIDE), "the deployer can reach the host itself"
    assert not _is_open(web2.address), "the deployer can reach the host itself"
    stack.write(appRef="v1")
    site.up()
    old = system(web2)
    assert answers({"web2": web2}) == serving("v1", "web2")

    stack.write(appRef="v2")
    named = stack.preview("--json").systems()
    assert named["web2"] != old
    site.up()
    assert named == {"web2": system(web2)} == {"web2": profile(web2)} == stack.recorded()
    assert answers({"web2": web2}) == serving("v2", "web2")
    before = web2.started()
    assert site.up().keys() == {"unchanged"}
    assert web2.started() == before

    stack.fleet(web2={"faults": {"unit-fails": ""}})
    failed = stack.up()
    assert failed.code != 0
    assert "rolled back to the previous system" in failed.text
    assert named == {"web2": system(web2)} == {"web2": profile(web2)}
    stack.fleet()
    site.up()
    assert site.up().keys() == {"unchanged"}
    assert named == {"web2": system(web2)}
    assert site.logins() == {BASTION}


def test_a_second_jump_changes_the_way_alone(site: Site) -> None:
    """The engine's own connection knows one jump: the commit goes by OpenSSH then."""
    stack, web2 = site.stack, site.web2
    stack.write(appRef="v2")
    site.up()
    before = (system(web2), web2.started())
    both = site.behind(site.jump(), site.jump(BASTION, user="root"))
    stack.write(appRef="v2", hosts=both)
    site.up()
    assert (system(web2), web2.started()) == before
    stack.write(appRef="v1", hosts=both)
    site.up()
    assert answers({"web2": web2}) == serving("v1", "web2")
    assert profile(web2) == system(web2) != before[0]
    assert site.up().keys() == {"unchanged"}
    assert site.logins() == {BASTION}
    state = json.dumps(stack.state())
    assert str(stack.folder) not in state
    stack.write(appRef="v1")
    site.up()
    assert recorded(stack.state()["resources"]) == {"web2": system(web2)}


def test_a_failure_names_the_jump(site: Site) -> None:
    stack = site.stack
    stack.write(appRef="v1")
    site.up()
    where = f"web2 (jump nobody@{site.bastion.address}, port 22)"
    stack.write(appRef="v2", hosts=site.behind(site.jump(user="nobody")))
    refused = f"the login was refused: {where}: nobody@{site.bastion.address}: Permission denied"
    assert refused in stack.preview().text
    failed = stack.up()
    assert failed.code != 0
    assert refused in failed.text
    assert answers({"web2": site.web2}) == serving("v1", "web2")
