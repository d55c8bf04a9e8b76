"""The `command` plugin over gRPC, without an engine.

Runs against the stand-in, or against the binary that FLAKEUP_COMMAND_PLUGIN names.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

from harness.providers.command_driver import LOCAL, REMOTE, Plugin, is_stand_in, plugin_path
from harness.providers.plugin_driver import (
    UNKNOWN,
    Json,
    PluginError,
    failing,
    is_secret,
    reveal,
    secret,
    to_struct,
    urn,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.contract
own_only = pytest.mark.skipif(not is_stand_in(), reason="the released plugin has this defect")
THREE_WRONG = (
    "connection: An error occurred decoding 'CommandInputs.connection': 3 failures decoding:\n"
)
CONNECTION = {"host": "192.0.2.1"}


@pytest.fixture(scope="module")
def plugin() -> Iterator[Plugin]:
    with Plugin.start() as running:
        yield running


@pytest.fixture
def fresh() -> Iterator[Plugin]:
    """A plugin for one test: Cancel is permanent, and messages are counted."""
    with Plugin.start() as running:
        yield running


# Start, schema, unsupported types.


def test_it_reports_the_version_of_the_release(plugin: Plugin) -> None:
    assert plugin.call("GetPluginInfo", empty_pb2.Empty()).version == "1.2.1"


def test_schema_contains_both_commands(plugin: Plugin) -> None:
    schema = json.loads(plugin.call("GetSchema", provider_pb2.GetSchemaRequest()).schema)
    assert {LOCAL, REMOTE} <= schema["resources"].keys()
    remote = schema["resources"][REMOTE]
    assert remote["requiredInputs"] == ["connection"]
    assert remote["inputProperties"]["connection"]["secret"] is True
    assert remote["inputProperties"]["triggers"]["replaceOnChanges"] is True
    fields = schema["types"]["command:remote:Connection"]["properties"]
    assert [fields[name]["default"] for name in ("user", "port")] == ["root", 22]


def test_an_unknown_type_is_named_in_the_error(plugin: Plugin) -> None:
    with failing("remote:Nothing"):
        plugin.check("command:remote:Nothing", {})


@own_only
def test_the_error_for_an_unsupported_resource_names_the_remedy(plugin: Plugin) -> None:
    with failing("command:remote:CopyToRemote", "install the released plugin"):
        plugin.check("command:remote:CopyToRemote", {})
    with failing("command:local:run", "install the released plugin"):
        plugin.call("Invoke", provider_pb2.InvokeRequest(tok="command:local:run"))


# Check.


def test_check_adds_defaults_and_marks_secrets(plugin: Plugin) -> None:
    given = {"host": "h", "privateKey": "k", "proxy": {"host": "p", "password": "w"}}
    inputs = plugin.checked(REMOTE, {"connection": given, "create": "true"})
    assert is_secret(inputs["connection"])
    assert is_secret(inputs["connection"]["value"]["privateKey"])
    connection = reveal(inputs["connection"])
    expected = {"user": "root", "port": 22.0, "dialErrorLimit": 10.0, "perDialTimeout": 15.0}
    assert connection == {
        **expected,
        "host": "h",
        "privateKey": "k",
        "proxy": {**expected, "host": "p", "password": "w"},
    }
    # True if unset, but not added as a default: a diff would show it.
    assert "addPreviousOutputInEnv" not in inputs


def test_check_keeps_given_values(plugin: Plugin) -> None:
    given = {"host": "h", "user": "", "port": 0, "dialErrorLimit": 0, "perDialTimeout": 0}
    inputs = plugin.checked(REMOTE, {"connection": secret(given), "environment": {}})
    assert reveal(inputs["connection"]) == given
    assert inputs["environment"] == {}


def test_check_does_not_validate_commands(plugin: Plugin) -> None:
    inputs = {"connection": {"host": "-x y", "hostKey": "junk"}, "create": "\u0000'\""}
    assert plugin.check(REMOTE, inputs)[1] == []


def test_check_accepts_unknown_values(plugin: Plugin) -> None:
    inputs = {"create": UNKNOWN, "connection": {"host": UNKNOWN, "privateKey": secret(UNKNOWN)}}
    checked = plugin.checked(REMOTE, inputs)
    assert checked["create"] == UNKNOWN
    connection = reveal(checked["connection"])
    assert (connection["host"], connection["user"]) == (UNKNOWN, "root")
    assert reveal(plugin.checked(REMOTE, {"connection": UNKNOWN})["connection"]) == UNKNOWN


@pytest.mark.parametrize(
    ("kind", "inputs", "failure"),
    [
        (REMOTE, {}, "connection: Missing required field 'connection'"),
        (REMOTE, {"connection": {}}, "connection: An error occurred decoding"),
        (REMOTE, {"connection": secret({"port": "x", "proxy": {"host": 1}})}, THREE_WRONG),
        (LOCAL, {"creat": "x"}, "creat: Unrecognized field 'creat'"),
        (LOCAL, {"create": 1}, "create: Field 'create' on "),
        (LOCAL, {"environment": {"A": 1}}, "environment"),
        (LOCAL, {"interpreter": "sh"}, "interpreter: Field 'interpreter' on "),
    ],
)
def test_check_rejects_wrong_types(plugin: Plugin, kind: str, inputs: Json, failure: str) -> None:
    _, failures = plugin.check(kind, inputs)
    assert any(text.startswith(failure) for text in failures), failures


@own_only
@pytest.mark.parametrize("name", ["assetPaths", "archivePaths"])
def test_check_rejects_files(plugin: Plugin, name: str) -> None:
    _, failures = plugin.check(LOCAL, {"create": "true", name: ["*"]})
    assert len(failures) == 1
    assert "released pulumi-command plugin" in failures[0]


# Diff.


def _kinds(response: Json) -> dict[str, str]:
    kind = provider_pb2.PropertyDiff.Kind
    return {path: kind.Name(place.kind) for path, place in response.detailedDiff.items()}


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ({}, {}, {}),
        ({"create": "a"}, {"create": "b"}, {"create": "UPDATE"}),
        ({"create": "a"}, {"create": "a", "delete": "b"}, {"delete": "ADD"}),
        ({"stdin": "a"}, {}, {"stdin": "DELETE"}),
        ({}, {"logging": "none"}, {"logging": "ADD"}),
        ({}, {"addPreviousOutputInEnv": True}, {"addPreviousOutputInEnv": "ADD"}),
        ({"environment": {"A": "1", "B.C": "1"}}, {"environment": {"A": "2"}},
         {"environment.A": "UPDATE", 'environment["B.C"]': "DELETE"}),
        ({"interpreter": ["sh"]}, {"interpreter": ["sh", "-c"]}, {"interpreter[1]": "ADD"}),
        ({"create": "a"}, {"create": secret("a")}, {"create": "UPDATE"}),
        ({"create": "a"}, {"create": UNKNOWN}, {"create": "UPDATE"}),
        ({"triggers": [1, "x"]}, {"triggers": [1.0, "x"]}, {}),
        ({}, {"triggers": ["x"]}, {"triggers": "ADD_REPLACE"}),
        ({"triggers": ["x"]}, {}, {"triggers": "DELETE_REPLACE"}),
        # The SDK makes it a replacement: see the tests with an engine.
        ({"triggers": ["x"]}, {"triggers": ["y"]}, {"triggers[0]": "UPDATE"}),
    ],
)  # fmt: skip
def test_any_changed_input_is_an_update(plugin: Plugin, old: Json, new: Json, kinds: Json) -> None:
    response = plugin.diff(LOCAL, old, new)
    assert _kinds(response) == kinds
    some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
    assert response.changes == (some if kinds else none)
    assert set(response.diffs) == {re.split(r"[.\[]", path)[0] for path in kinds}
    replaced = {path for path, kind in kinds.items() if "REPLACE" in kind}
    assert set(response.replaces) == replaced
    assert not response.deleteBeforeReplace


def test_a_changed_connection_is_an_update(plugin: Plugin) -> None:
    new = {"host": "192.0.2.1", "dialErrorLimit": 60}
    response = plugin.diff(REMOTE, {"connection": CONNECTION}, {"connection": new})
    assert _kinds(response) == {"connection": "UPDATE"}
    same = plugin.diff(REMOTE, {"connection": CONNECTION}, {"connection": secret(CONNECTION)})
    assert _kinds(same) == {}


def test_ignored_changes_are_no_difference(plugin: Plugin) -> None:
    response = plugin.diff(LOCAL, {"create": "a"}, {"create": "b"}, ["create"])
    assert response.changes == provider_pb2.DiffResponse.DIFF_NONE


# Preview.


def test_preview_of_a_create_does_nothing(plugin: Plugin, tmp_path: Path) -> None:
    inputs = {"create": f"touch {tmp_path}/made; echo out"}
    _, state = plugin.create(LOCAL, inputs, preview=True)
    assert state == {**inputs, "stdout": UNKNOWN, "stderr": UNKNOWN}
    assert list(tmp_path.iterdir()) == []


def test_a_preview_does_not_connect(plugin: Plugin) -> None:
    inputs = {"connection": {"host": "127.0.0.1", "port": 1}, "create": "true"}
    started = time.monotonic()
    _, state = plugin.create(REMOTE, inputs, preview=True)
    plugin.update(REMOTE, {**state, "stdout": "", "stderr": ""}, inputs, preview=True)
    assert time.monotonic() - started < 5
    assert state["stdout"] == UNKNOWN
    assert is_secret(state["connection"])


def test_the_preview_of_an_update_knows_only_the_inputs(plugin: Plugin) -> None:
    state = {"create": "a", "stdout": "old", "stderr": ""}
    shown = plugin.update(LOCAL, state, {"create": "b"}, preview=True)
    assert shown == {"create": "b", "stdout": UNKNOWN, "stderr": UNKNOWN}
    unchanged = plugin.update(LOCAL, state, {"create": "a"}, preview=True)
    assert unchanged == state


# The life of a local command.


def test_create_runs_and_records_both_outputs(plugin: Plugin) -> None:
    inputs = {"create": "printf 'a\\nb\\n\\n'; printf 'e\\n' >&2"}
    identity, state = plugin.create(LOCAL, inputs, name="switch-web1")
    assert re.fullmatch(r"switch-web1[0-9a-f]{8}", identity)
    # Only one trailing newline is removed.
    assert state == {**inputs, "stdout": "a\nb\n", "stderr": "e"}


def test_create_without_a_command_does_nothing(plugin: Plugin) -> None:
    identity, state = plugin.create(LOCAL, {"update": "exit 1"})
    assert identity.startswith("it")
    assert state == {"update": "exit 1", "stdout": "", "stderr": ""}
    # It does not even connect.
    _, state = plugin.create(REMOTE, {"connection": {"host": "127.0.0.1", "port": 1}})
    assert state["stdout"] == ""


def test_a_failed_create_shows_all_output_and_records_nothing(plugin: Plugin) -> None:
    text = "echo out; echo 'err\t\"x\"' >&2; exit 3"
    with pytest.raises(PluginError) as caught:
        plugin.create(LOCAL, {"create": text})
    head = r'exit status 3: running "echo out; echo ' + "'err" + r"\t\"x\"" + "' >&2; exit 3"
    assert str(caught.value) in (
        f'{head}":\nout\nerr\t"x"\n',
        f'{head}":\nerr\t"x"\nout\n',  # two pipes: their order is undefined
    )


def test_update_runs_update_else_create_else_nothing(plugin: Plugin) -> None:
    state = {"create": "echo c", "stdout": "before", "stderr": "too"}
    new = plugin.update(LOCAL, state, {"create": "echo c", "update": "echo u"})
    assert (new["stdout"], new["stderr"]) == ("u", "")
    new = plugin.update(LOCAL, state, {"create": "echo c2"})
    assert new == {"create": "echo c2", "stdout": "c2", "stderr": ""}
    new = plugin.update(LOCAL, state, {"delete": "true"})
    assert new == {"delete": "true", "stdout": "before", "stderr": "too"}


def test_failed_update_is_an_error(plugin: Plugin) -> None:
    state = {"create": "a", "stdout": "", "stderr": ""}
    with failing('exit status 1: running "echo no; false":\nno\n'):
        plugin.update(LOCAL, state, {"update": "echo no; false"})


def test_ignored_changes_run_the_old_command(plugin: Plugin) -> None:
    state = {"create": "echo old", "stdout": "", "stderr": ""}
    new = plugin.update(LOCAL, state, {"create": "echo new"}, ignored=["create"])
    assert (new["create"], new["stdout"]) == ("echo old", "old")


def test_delete_runs_the_command_in_the_state(plugin: Plugin, tmp_path: Path) -> None:
    plugin.delete(LOCAL, {"create": "x", "stdout": "", "stderr": ""})
    text = f'echo "$PULUMI_COMMAND_STDOUT-$PULUMI_COMMAND_STDERR" > {tmp_path}/seen'
    plugin.delete(LOCAL, {"delete": text, "stdout": "o", "stderr": "e"})
    assert (tmp_path / "seen").read_text() == "o-e\n"
    with failing("exit status 4: running "):
        plugin.delete(LOCAL, {"delete": "exit 4", "stdout": "", "stderr": ""})


def test_read_returns_the_state(plugin: Plugin) -> None:
    state, inputs = (
        to_struct({"create": "x", "stdout": "y", "stderr": ""}),
        to_struct({"create": "x"}),
    )
    request = provider_pb2.ReadRequest(id="i", urn=urn(LOCAL), properties=state, inputs=inputs)
    response = plugin.call("Read", request)
    assert (response.id, response.properties, response.inputs) == ("i", state, inputs)


def test_previous_output_is_passed_on_unless_disabled(plugin: Plugin) -> None:
    show = 'echo "[$PULUMI_COMMAND_STDOUT][${PULUMI_COMMAND_STDERR-unset}]"'
    state = {"create": "x", "stdout": "o", "stderr": ""}
    assert plugin.update(LOCAL, state, {"create": show})["stdout"] == "[o][unset]"
    inputs = {"create": show, "addPreviousOutputInEnv": False}
    assert plugin.update(LOCAL, state, inputs)["stdout"] == "[][unset]"


def test_environment_directory_interpreter_and_stdin(plugin: Plugin, tmp_path: Path) -> None:
    inputs = {
        "create": "import os, sys; print(os.getcwd(), os.environ['GREETING'], sys.stdin.read())",
        "interpreter": ["python3", "-c"],
        "dir": str(tmp_path),
        "environment": {"GREETING": "hello"},
        "stdin": "given",
    }
    _, state = plugin.create(LOCAL, inputs)
    assert state["stdout"] == f"{tmp_path} hello given"


def test_without_stdin_a_read_ends_at_once(plugin: Plugin) -> None:
    assert plugin.create(LOCAL, {"create": "cat; echo end"})[1]["stdout"] == "end"


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"dir": "/nowhere/at/all"}, "chdir /nowhere/at/all: no such file or directory"),
        ({"interpreter": ["no-such-program"]},
         'exec: "no-such-program": executable file not found in $PATH'),
        ({"interpreter": ["/no/such"]}, "fork/exec /no/such: no such file or directory"),
    ],
)  # fmt: skip
def test_a_command_that_cannot_start_fails_with_the_reason(
    plugin: Plugin, inputs: Json, expected: str
) -> None:
    with failing(expected, ': running "true":\n'):
        plugin.create(LOCAL, {"create": "true", **inputs})


def test_a_killed_shell_is_an_error(plugin: Plugin) -> None:
    with failing("signal: killed: running "):
        plugin.create(LOCAL, {"create": "echo x; kill -9 $$"})


def test_secret_inputs_stay_secret_and_output_is_plain(plugin: Plugin) -> None:
    inputs = {"create": secret("echo hidden"), "environment": {"A": secret("b")}}
    _, state = plugin.create(LOCAL, inputs)
    assert state == {**inputs, "stdout": "hidden", "stderr": ""}


def test_output_that_is_not_utf8_is_replaced(plugin: Plugin) -> None:
    if not is_stand_in():
        pytest.skip("the released plugin cannot store such output")
    _, state = plugin.create(LOCAL, {"create": "printf 'a\\377b'"})
    assert state["stdout"] == "a\ufffdb"


def test_a_large_output_and_a_large_error_arrive_whole(plugin: Plugin) -> None:
    lines = "yes 01234567890123456789012345678901234 | head -n 100000"
    _, state = plugin.create(LOCAL, {"create": lines, "logging": "none"})
    assert len(state["stdout"]) == 36 * 100_000 - 1
    some = "yes 01234567890123456789012345678901234 | head -n 20000; exit 5"
    with pytest.raises(PluginError) as caught:
        plugin.create(LOCAL, {"create": some, "logging": "none"})
    assert len(str(caught.value)) > 36 * 20_000


# Messages while it runs.


@pytest.mark.parametrize(
    ("logging", "shown"),
    [
        (None, {"o1", "o2", "e1"}),
        ("stdoutAndStderr", {"o1", "o2", "e1"}),
        ("stdout", {"o1", "o2"}),
        ("stderr", {"e1"}),
        ("none", set()),
    ],
)
def test_logging_selects_the_output_that_is_shown(
    fresh: Plugin, logging: str | None, shown: set[str]
) -> None:
    inputs = {"create": "echo o1; sleep 0.1; echo e1 >&2; sleep 0.1; printf o2"}
    inputs |= {"logging": logging} if logging else {}
    _, state = fresh.create(LOCAL, inputs)
    assert (state["stdout"], state["stderr"]) == ("o1\no2", "e1")
    messages = fresh.engine.messages
    assert {message.text for message in messages} == shown
    # They are messages of the resource, and ephemeral.
    assert all(message.urn == urn(LOCAL) and message.ephemeral for message in messages)
    assert all(message.severity == "INFO" for message in messages)


def test_a_message_comes_while_the_command_runs(fresh: Plugin, tmp_path: Path) -> None:
    text = f"echo first; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(fresh.create, LOCAL, {"create": text})
        deadline = time.monotonic() + 10
        while "first" not in fresh.messages() and time.monotonic() < deadline:
            time.sleep(0.02)
        seen = fresh.messages()
        (tmp_path / "go").touch()
        running.result()
    assert seen == ["first"]


@own_only
def test_a_very_long_line_does_not_hang(fresh: Plugin) -> None:
    text = "head -c 300000 /dev/zero | tr '\\0' x; echo; echo end"
    _, state = fresh.create(LOCAL, {"create": text})
    assert len(state["stdout"]) == 300_004
    shown = fresh.messages()
    assert sum(map(len, shown)) == 300_003
    assert shown[-1] == "end"


# Ends.


def test_a_timeout_kills_the_shell(plugin: Plugin) -> None:
    started = time.monotonic()
    with failing('signal: killed: running "echo on; exec sleep 60":\non\n'):
        plugin.create(LOCAL, {"create": "echo on; exec sleep 60"}, timeout=5)
    assert time.monotonic() - started < 40


def test_cancel_kills_the_shell(fresh: Plugin, tmp_path: Path) -> None:
    text = f"touch {tmp_path}/on; exec sleep 30"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(fresh.create, LOCAL, {"create": text})
        _wait_for(tmp_path / "on")
        fresh.cancel()
        with failing("signal: killed: running "):
            running.result(10)
    # Nothing starts after that.
    with failing("context canceled"):
        fresh.create(LOCAL, {"create": f"touch {tmp_path}/later"})
    assert not (tmp_path / "later").exists()


@own_only
def test_cancel_neither_kills_nor_waits_for_children_of_the_shell(
    fresh: Plugin, tmp_path: Path
) -> None:
    child = f"while [ ! -e {tmp_path}/stop ]; do sleep 0.1; done; touch {tmp_path}/ended"
    text = f"sh -c '{child}' & touch {tmp_path}/on; wait"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(fresh.create, LOCAL, {"create": text})
        _wait_for(tmp_path / "on")
        fresh.cancel()
        with failing("signal: killed: running "):
            running.result(10)
    (tmp_path / "stop").touch()
    _wait_for(tmp_path / "ended")


def test_output_of_background_processes_is_waited_for(plugin: Plugin) -> None:
    _, state = plugin.create(LOCAL, {"create": "(sleep 0.5; echo late) & echo soon"})
    assert state["stdout"] == "soon\nlate"


def test_64_commands_run_at_once(plugin: Plugin) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(64) as pool:
        inputs = [{"create": f"sleep 2; echo {number}"} for number in range(64)]
        states = list(pool.map(lambda each: plugin.create(LOCAL, each)[1], inputs))
    assert [state["stdout"] for state in states] == [str(number) for number in range(64)]
    # One after another, they would take 128 s; the machine may be busy.
    assert time.monotonic() - started < 30


# The launchers.


@own_only
def test_the_plugin_logs_no_secrets(tmp_path: Path) -> None:
    with Plugin.start() as plugin:
        for text in ("echo sesame-open", "echo sesame-open; exit 1"):
            try:
                plugin.create(LOCAL, {"create": secret(text), "logging": "none"})
            except PluginError:
                continue
        plugin.stop()
        assert "sesame" not in plugin.stderr()
        assert "sesame" not in "".join(plugin.messages())
    assert list(tmp_path.iterdir()) == []


@own_only
def test_a_symlink_to_the_launcher_works(tmp_path: Path) -> None:
    link = tmp_path / "a 'folder'" / "resource-command-v1.2.1" / "pulumi-resource-command"
    link.parent.mkdir(parents=True)
    link.symlink_to(plugin_path())
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "FLAKEUP_PYTHON": _python()}
    process = subprocess.Popen(
        (str(link), "127.0.0.1:1"), cwd=tmp_path, env=environment, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
    finally:
        process.kill()
        process.communicate()


@own_only
def test_it_exits_when_the_engine_is_gone(tmp_path: Path) -> None:
    script = f"{plugin_path()} 127.0.0.1:1 >{tmp_path}/port & echo $! >{tmp_path}/id"
    script += f"; while [ ! -s {tmp_path}/port ]; do sleep 0.05; done"
    _run(("/bin/sh", "-c", script))
    identity = int((tmp_path / "id").read_text())
    deadline = time.monotonic() + 15
    while Path(f"/proc/{identity}/cmdline").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{identity}/cmdline").read_bytes() == b"":
            break  # a zombie that its new parent has not reaped yet
        time.sleep(0.1)
    else:
        assert not Path(f"/proc/{identity}/cmdline").exists()


def _python() -> str:
    return (
        os.environ.get("FLAKEUP_PYTHON")
        or subprocess.check_output(("sh", "-c", "command -v python3"), text=True).strip()
    )


def _run(argv: tuple[str, ...]) -> str:
    environment = {**os.environ, "FLAKEUP_PYTHON": _python()}
    return subprocess.run(
        argv, check=True, text=True, stdout=subprocess.PIPE, env=environment
    ).stdout


def _wait_for(path: Path, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)
