"""The resources of a fleet: names, inputs and what must never be among them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi.runtime
import pytest

from tests.program.record import KEY, system

SECRET = pulumi.runtime.rpc._special_secret_sig
Graph = dict[str, dict[str, Any]]
"""`type` and `inputs` of each resource, by name."""


@pytest.fixture(scope="module")
def graph() -> Graph:
    command = (sys.executable, "-W", "ignore", "-m", "tests.program.record")
    printed = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    recorded: Graph = json.loads(printed)
    return recorded


def test_the_tree_holds_one_row_for_each_thing_a_person_waits_for(graph: Graph) -> None:
    assert sorted((args["type"], name) for name, args in graph.items()) == [
        ("command:local:Command", "build"),
        ("command:local:Command", "web1-copy"),
        ("command:local:Command", "web2-copy"),
        ("command:remote:Command", "web1-switch"),
        ("command:remote:Command", "web2-switch"),
        ("flakeup:index:Fleet", "fleet"),
        ("flakeup:index:NixosHost", "web1"),
        ("flakeup:index:NixosHost", "web2"),
        ("pulumi:index:Stash", "release"),
    ]


def test_a_host_costs_at_most_four_resources(graph: Graph) -> None:
    for host in ("web1", "web2"):
        assert sum(name.startswith(host) for name in graph) <= 4


def test_switch_is_one_short_line_with_the_store_path(graph: Graph) -> None:
    for host, prefix in (("web1", ""), ("web2", "sudo -n ")):
        inputs = graph[f"{host}-switch"]["inputs"]
        assert inputs["create"] == f"{prefix}/run/flakeup/switch {system(host).out.path}"


def test_nothing_replaces_and_nothing_is_deleted_on_a_host(graph: Graph) -> None:
    for args in graph.values():
        assert "triggers" not in args["inputs"]
        assert "delete" not in args["inputs"]


def test_every_connection_is_pinned(graph: Graph) -> None:
    for host in ("web1", "web2"):
        connection = _plain(graph[f"{host}-switch"]["inputs"]["connection"])
        assert connection["hostKey"].startswith("ssh-ed25519 ")
        assert connection["dialErrorLimit"] == 20
        options = graph[f"{host}-copy"]["inputs"]["environment"]["NIX_SSHOPTS"]
        assert "StrictHostKeyChecking=yes" in options
        assert "UserKnownHostsFile=.flakeup/dev/ssh/known_hosts" in options


def test_no_input_depends_on_the_machine_that_runs_the_program(graph: Graph) -> None:
    for name, args in graph.items():
        text = json.dumps(_plain(args["inputs"]))
        assert "/somewhere" not in text, name
        assert str(Path.cwd()) not in text, name
        assert f"{Path.home()}/" not in text, name


def test_the_key_is_in_no_input_but_as_a_secret(graph: Graph) -> None:
    for name, args in graph.items():
        assert "poison" not in json.dumps(_without_secrets(args["inputs"])), name
    # The control: the key is there, so that looking for it can fail.
    assert _plain(graph["web1-switch"]["inputs"]["connection"])["privateKey"] == KEY


def test_components_carry_no_release(graph: Graph) -> None:
    for name in ("fleet", "web1", "web2"):
        assert graph[name]["inputs"] == {}


def test_no_command_prints_by_itself_or_passes_output_on(graph: Graph) -> None:
    commands = [args for args in graph.values() if args["type"].startswith("command:")]
    assert len(commands) == 5
    for args in commands:
        assert args["inputs"]["logging"] == "none"
        assert args["inputs"]["addPreviousOutputInEnv"] is False


def _plain(value: Any) -> Any:
    """The value with its secrets opened."""
    if isinstance(value, dict):
        if SECRET in value.get(pulumi.runtime.rpc._special_sig_key, ""):
            return _plain(value["value"])
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        if pulumi.runtime.rpc._special_sig_key in value:
            return "[secret]"
        return {key: _without_secrets(inner) for key, inner in value.items()}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value
