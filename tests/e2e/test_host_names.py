"""Hosts named after their domain: in the flake, resources, files of ssh, waves and commands."""

import json

import pytest

from tests.e2e.host_state import Hosts, answers
from tests.e2e.stack import STACK, Workspace

pytestmark = pytest.mark.e2e

DOMAIN, OTHER = "web-1.example.com", "web+2.example.com"


def test_a_host_named_after_its_domain(workspace: Workspace, hosts: Hosts) -> None:
    """`canary`, `--target`, `{name}` in a check, the state, outputs, and a second run."""
    (workspace.folder / "flake" / "hosts.json").write_text(json.dumps({DOMAIN: {}, OTHER: {}}))
    configs = workspace.config["hosts"]
    activation = {
        **workspace.config["activation"],
        "checks": {
            "web": {"http": "http://{address}:8080/", "contains": "on {name}", "from": "deployer"}
        },
    }
    wanted = {
        "hosts": {DOMAIN: configs["web1"], OTHER: configs["web2"]},
        "activation": activation,
        "rollout": {"canary": DOMAIN},
    }
    workspace.write(appRef="v1", **wanted)
    result = workspace.up()
    assert result.code == 0, result.text
    assert answers(hosts) == {"web1": f"app v1 on {DOMAIN}", "web2": f"app v1 on {OTHER}"}
    known = workspace.folder / ".flakeup" / STACK / "ssh" / "known_hosts"
    assert sorted(line.split()[0] for line in known.read_text().splitlines()) == [OTHER, DOMAIN]

    again = workspace.up()
    assert again.code == 0, again.text
    assert not {op for op in again.text.split() if op in {"created", "updated", "deleted"}}

    workspace.write(appRef="v2", **wanted)
    only = workspace.up("--target", f"**::{DOMAIN}*", "--target", "**::build")
    assert only.code == 0, only.text
    assert answers(hosts)["web1"] == f"app v2 on {DOMAIN}"
    rest = workspace.up()
    assert rest.code == 0, rest.text
    assert answers(hosts) == {"web1": f"app v2 on {DOMAIN}", "web2": f"app v2 on {OTHER}"}
    assert set(workspace.outputs()["hosts"]) == {DOMAIN, OTHER}
