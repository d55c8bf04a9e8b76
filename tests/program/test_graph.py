"""The resources of a fleet: names, inputs and what must never be among them."""

import json
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime
import pytest

from tests.program.conftest import KEY, Recorder, make_fleet, system

SECRET = pulumi.runtime.rpc._special_secret_sig


@pytest.fixture
def graph(recorded: Recorder) -> Recorder:
    pulumi.runtime.test(make_fleet)()  # type: ignore[no-untyped-call]
    return recorded


def test_the_tree_holds_one_row_for_each_thing_a_person_waits_for(graph: Recorder) -> None:
    assert sorted((args.typ, name) for name, args in graph.resources.items()) == [
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


def test_a_host_costs_at_most_four_resources(graph: Recorder) -> None:
    for host in ("web1", "web2"):
        assert sum(name.startswith(host) for name in graph.resources) <= 4


def test_switch_is_one_short_line_with_the_store_path(graph: Recorder) -> None:
    for host, prefix in (("web1", ""), ("web2", "sudo -n ")):
        inputs = graph.resources[f"{host}-switch"].inputs
        assert inputs["create"] == f"{prefix}/run/flakeup/switch {system(host).out.path}"


def test_nothing_replaces_and_nothing_is_deleted_on_a_host(graph: Recorder) -> None:
    for args in graph.resources.values():
        assert "triggers" not in args.inputs
        assert "delete" not in args.inputs


def test_every_connection_is_pinned(graph: Recorder) -> None:
    for host in ("web1", "web2"):
        connection = _plain(graph.resources[f"{host}-switch"].inputs["connection"])
        assert connection["hostKey"].startswith("ssh-ed25519 ")
        assert connection["dialErrorLimit"] == 20
        options = graph.resources[f"{host}-copy"].inputs["environment"]["NIX_SSHOPTS"]
        assert "StrictHostKeyChecking=yes" in options
        assert "UserKnownHostsFile=.flakeup/dev/ssh/known_hosts" in options


def test_no_input_depends_on_the_machine_that_runs_the_program(graph: Recorder) -> None:
    for name, args in graph.resources.items():
        text = json.dumps(_plain(args.inputs))
        assert "/somewhere" not in text, name
        assert str(Path.cwd()) not in text, name
        assert f"{Path.home()}/" not in text, name


def test_the_key_is_in_no_input_but_as_a_secret(graph: Recorder) -> None:
    for name, args in graph.resources.items():
        assert "poison" not in json.dumps(_without_secrets(args.inputs)), name
    # The control: the key is there, so that looking for it can fail.
    assert _plain(graph.resources["web1-switch"].inputs["connection"])["privateKey"] == KEY


def test_components_carry_no_release(graph: Recorder) -> None:
    for name in ("fleet", "web1", "web2"):
        assert graph.resources[name].inputs == {}


def test_no_command_prints_by_itself_or_passes_output_on(graph: Recorder) -> None:
    commands = [args for args in graph.resources.values() if args.typ.startswith("command:")]
    assert len(commands) == 5
    for args in commands:
        assert args.inputs["logging"] == "none"
        assert args.inputs["addPreviousOutputInEnv"] is False


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
